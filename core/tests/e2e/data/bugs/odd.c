/* Smaller mistakes, one for each word of `what`. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

typedef struct {
    weir_str what;
    weir_header_id id;
} policy;
typedef struct {
    int64_t pieces;
} per_request;

static const char *const words[] = {
    "unknown verdict",
    "wait without a token",
    "done without an answer",
    "answers twice",
    "answer thrown away",
    "missing capability",
    "no check of malloc",
    "pieces",
    "descriptor left",
    "undeclared thread",
    NULL,
};

static const weir_field fields[] = {
    WEIR_ENUM(policy, what, .choices = words, .flags = WEIR_REQUIRED, .help = "which mistake"),
};

static bool is(const policy *mine, const char *word)
{
    return mine->what.size == strlen(word) && memcmp(mine->what.data, word, mine->what.size) == 0;
}

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((policy *)self)->id = weir_header_intern(WEIR_LIT("X-Pieces"));
    return 0;
}

static void *run(void *arg)
{
    return arg;
}

static int start(void *self)
{
    pthread_t thread;
    if (!is(self, "undeclared thread"))
        return 0;
    return pthread_create(&thread, NULL, run, NULL) || pthread_join(thread, NULL) ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    int64_t value = 0;
    (void)context;
    if (is(self, "unknown verdict"))
        return 7;
    if (is(self, "wait without a token"))
        return WEIR_WAIT;
    if (is(self, "done without an answer"))
        return WEIR_DONE;
    if (is(self, "answers twice") || is(self, "answer thrown away"))
        (void)weir_respond_error(request, 403, WEIR_LIT("no"));
    if (is(self, "answers twice"))
        return weir_respond_error(request, 403, WEIR_LIT("no!")) ? WEIR_FAIL : WEIR_DONE;
    if (is(self, "missing capability"))
        (void)weir_dict_get((weir_dict *)self, WEIR_LIT("a"), &value, sizeof(value));
    if (is(self, "descriptor left"))
        (void)!dup(STDOUT_FILENO);
    if (is(self, "no check of malloc")) {
        volatile char *text = malloc(16);
        text[0] = '\0';
        free((char *)text);
    }
    return WEIR_NEXT;
}

/* What it says of a body depends on where the network cut it. */
static weir_verdict on_body(weir_request *request, void *self, void *context, weir_str chunk,
                            bool last)
{
    (void)self, (void)last;
    ((per_request *)context)->pieces++;
    return weir_body_emit(request, WEIR_SIDE_REQUEST, chunk) ? WEIR_FAIL : WEIR_NEXT;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    if (!is(mine, "pieces"))
        return WEIR_NEXT;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, mine->id,
                                  ((per_request *)context)->pieces)
               ? WEIR_FAIL
               : WEIR_NEXT;
}

WEIR_PLUGIN("odd", "1.0.0", WEIR_CAP_BODY, .priority = 100, WEIR_SELF(policy),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .request_body_need = WEIR_BODY_STREAM,
            .configure = configure, .start = start, .access = on_access, .request_body = on_body,
            .response_headers = on_response);
