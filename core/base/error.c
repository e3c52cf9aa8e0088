#include "base/error.h"

static const struct {
    int status;
    const char *text;
} errors[] = {
#define X(name, status, text) {status, text},
    WEIR_ERRORS(X)
#undef X
};

int weir_err_status(enum weir_err err)
{
    CHECK_THAT(err < WEIR_ERR_COUNT);
    return errors[err].status;
}

const char *weir_err_text(enum weir_err err)
{
    CHECK_THAT(err < WEIR_ERR_COUNT);
    return errors[err].text;
}
