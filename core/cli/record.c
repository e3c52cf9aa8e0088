/* weir record: asked over the control socket of the gateway that runs. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/verbs.h"
#include "process/process.h"

enum { PATIENCE_MS = 60000, SECONDS = 60, SECONDS_MAX = 24 * 3600 };

const char cli_record_details[] =
    "Writes what policies see of the next requests, and what comes of them, to a new file that\n"
    "`weir plugin replay` runs through two builds of a plugin. Returns when it is over: each "
    "worker\n"
    "ends with N requests, or all of them when the time is over. Secrets are replaced by tokens,\n"
    "client addresses by others; look at the file before it leaves the machine all the same.\n"
    "\n"
    "  -o FILE          the file; it must not be there yet\n"
    "  --count N        requests of each worker (default 100)\n"
    "  --seconds N      the longest that it takes (default 60)\n"
    "  --plugin NAME    only requests that pass a policy of that plugin\n"
    "  --route NAME     only requests of that route\n"
    "  --bodies         JSON and form bodies as well, else their sizes alone\n"
    "  --body-bytes N   how much of each (default 16384)\n"
    "  --redact NAME    one more header, argument or field that holds secrets; may be repeated\n"
    "  --stop           end the recording that is under way\n" PREFIX_DETAILS;

struct record_words {
    const char *file, *prefix, *seconds;
    bool stop;
    struct buf question;
};

/* NULL: wrong usage. The value of an option that was found in argv[*at]. */
static const char *value_of(int argc, char **argv, int *at, const char *name)
{
    struct span word = span_text(argv[*at]);
    size_t size = strlen(name);
    if (!span_starts_with(word, span_of(name, size)))
        return NULL;
    if (word.size > size && word.data[size] == '=')
        return word.data + size + 1;
    return word.size == size && *at + 1 < argc ? argv[++*at] : NULL;
}

static bool is_word(const char *text)
{
    return text[0] != '\0' && text[strcspn(text, " \n")] == '\0';
}

static bool take_option(struct record_words *words, int argc, char **argv, int *at)
{
    static const struct {
        const char *option, *key;
    } options[] = {
        {"--count", "count"},           {"--seconds", "seconds"}, {"--plugin", "plugin"},
        {"--body-bytes", "body_bytes"}, {"--route", "route"},     {"--redact", "redact"},
    };
    const char *value = value_of(argc, argv, at, "-o");
    if (value != NULL)
        return (words->file = value)[0] != '\0';
    if ((value = value_of(argc, argv, at, "--prefix")) != NULL)
        return (words->prefix = value)[0] != '\0';
    if (strcmp(argv[*at], "--bodies") == 0) {
        buf_text(&words->question, "bodies ");
        return true;
    }
    if (strcmp(argv[*at], "--stop") == 0)
        return words->stop = true;
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        value = value_of(argc, argv, at, options[i].option);
        if (value == NULL)
            continue;
        if (i == 1)
            words->seconds = value;
        buf_printf(&words->question, "%s=%s ", options[i].key, value);
        return is_word(value);
    }
    return false;
}

/* The gateway works in another directory. */
static bool add_path(struct buf *question, const char *file)
{
    char folder[4096];
    if (strchr(file, '\n') != NULL || (file[0] != '/' && getcwd(folder, sizeof(folder)) == NULL))
        return false;
    if (file[0] == '/')
        buf_printf(question, "file=%s", file);
    else
        buf_printf(question, "file=%s/%s", folder, file);
    return true;
}

static int ask(struct record_words *words)
{
    uint64_t seconds = SECONDS;
    const char *prefix = words->prefix != NULL ? words->prefix : getenv("WEIR_PREFIX");
    if (prefix == NULL || prefix[0] == '\0')
        prefix = process_default_prefix();
    if (words->stop)
        return cli_ask(prefix, "record stop", PATIENCE_MS);
    if (words->seconds != NULL)
        (void)text_to_u64(span_text(words->seconds), &seconds);
    if (seconds > SECONDS_MAX)
        seconds = SECONDS_MAX;
    if (!add_path(&words->question, words->file))
        return cli_usage("record", "no path of a file: '%s'", words->file);
    buf_byte(&words->question, '\0');
    if (words->question.failed) {
        (void)fprintf(stderr, "weir: out of memory\n");
        return CLI_FAILED;
    }
    return cli_ask(prefix, words->question.data, (uint32_t)seconds * 1000 + PATIENCE_MS);
}

int cli_record(int argc, char **argv)
{
    struct record_words words = {0};
    int code = CLI_OK;
    buf_text(&words.question, "record ");
    for (int i = 1; i < argc && code == CLI_OK; i++)
        if (!take_option(&words, argc, argv, &i))
            code = cli_usage("record", "unexpected '%s'", argv[i]);
    if (code == CLI_OK && !words.stop && words.file == NULL)
        code = cli_usage("record", "-o FILE is missing");
    if (code == CLI_OK)
        code = ask(&words);
    buf_free(&words.question);
    return code;
}
