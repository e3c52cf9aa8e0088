/* weir reload, weir stop: asked over the control socket of the gateway that runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/verbs.h"
#include "process/process.h"

/* A reload may wait for another one, and each has three steps of up to 30 s. */
enum { RELOAD_MS = 300000, STOP_MS = 24 * 3600 * 1000 };

const char cli_reload_details[] =
    "The new configuration is tried in a process of its own, then taken by every worker or by "
    "none.\n"
    "Connections stay open, requests under way end with the configuration they began with.\n"
    "A refused one changes nothing; the answer is what `weir check` says, with exit code 3.\n"
    "\n" PREFIX_DETAILS;
const char cli_stop_details[] =
    "Requests under way have the time of the setting drain_timeout to end.\n"
    "\n" PREFIX_DETAILS;
const char cli_health_details[] =
    "Each line has the worker's state, process, number of its configuration and requests.\n"
    "\n" PREFIX_DETAILS;

const char *cli_prefix(int argc, char **argv)
{
    const char *prefix = getenv("WEIR_PREFIX");
    for (int i = 1; i < argc; i++) {
        struct span word = span_text(argv[i]);
        if (span_equal(word, SPAN("--prefix")) && i + 1 < argc) {
            prefix = argv[++i];
        } else if (span_starts_with(word, SPAN("--prefix="))) {
            prefix = argv[i] + sizeof("--prefix=") - 1;
        } else {
            (void)cli_usage(argv[0], "unexpected '%s'", argv[i]);
            return NULL;
        }
    }
    return prefix != NULL && prefix[0] != '\0' ? prefix : process_default_prefix();
}

/* "ok" or "failed CODE". */
static bool read_code(struct span line, int *out_code)
{
    uint64_t code = 0;
    if (span_equal(line, SPAN("ok"))) {
        *out_code = CLI_OK;
        return true;
    }
    if (!span_starts_with(line, SPAN("failed ")) || !text_to_u64(span_from(line, 7), &code) ||
        code == 0 || code > 255)
        return false;
    *out_code = (int)code;
    return true;
}

static void complain(const char *prefix, enum weir_err err)
{
    if (err == WEIR_ERR_REFUSED)
        (void)fprintf(stderr, "weir: nobody listens on %s/weir.sock: no gateway runs there\n",
                      prefix);
    else
        (void)fprintf(stderr, "weir: %s/weir.sock: %s\n", prefix,
                      err == WEIR_ERR_SYSTEM ? strerrordesc_np(errno) : weir_err_text(err));
}

int cli_ask_for(const char *prefix, const char *question, uint32_t timeout_ms,
                struct buf *out_answer, struct span *out_text)
{
    enum weir_err err = process_ask(prefix, question, timeout_ms, out_answer);
    if (err != WEIR_OK) {
        complain(prefix, err);
        return CLI_FAILED;
    }
    struct span text = buf_view(out_answer);
    size_t end = span_find(text, '\n');
    int code = CLI_FAILED;
    if (!read_code(span_first(text, end), &code)) {
        (void)fprintf(stderr, "weir: %s/weir.sock: an answer that is none of weir's\n", prefix);
        return CLI_FAILED;
    }
    *out_text = span_from(text, end + 1);
    if (code != CLI_OK)
        (void)fprintf(stderr, "%.*s", SPAN_ARG(*out_text));
    return code;
}

int cli_ask(const char *prefix, const char *question, uint32_t timeout_ms)
{
    AUTO_BUF answer = BUF_INIT;
    struct span text;
    int code = cli_ask_for(prefix, question, timeout_ms, &answer, &text);
    if (code == CLI_OK)
        (void)fprintf(stdout, "%.*s", SPAN_ARG(text));
    return code;
}

int cli_reload(int argc, char **argv)
{
    const char *prefix = cli_prefix(argc, argv);
    return prefix == NULL ? CLI_USAGE : cli_ask(prefix, "reload", RELOAD_MS);
}

int cli_stop(int argc, char **argv)
{
    const char *prefix = cli_prefix(argc, argv);
    return prefix == NULL ? CLI_USAGE : cli_ask(prefix, "stop", STOP_MS);
}
