/* weir plugin swap | rollback, and the running part of `weir plugin list`: asked over the control
 * socket of the gateway that runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "cli/verbs.h"
#include "process/process.h"

/* The steps of a swap have up to 30 s each and more with a large configuration; then the watch. */
enum { SWAP_MS = 300000, LIST_MS = 5000, DAY_MS = 24 * 3600 * 1000 };

struct swap_words {
    const char *plugin, *file, *canary, *watch, *prefix;
    bool wait;
};

static const char swap_usage[] =
    "usage: weir plugin swap NAME [FILE] [--canary N|N%] [--watch SECONDS] [--wait]\n"
    "                        [--prefix DIRECTORY]\n";

static bool take_option(struct swap_words *words, int argc, char **argv, int *at)
{
    const struct {
        struct span name;
        const char **value;
    } options[] = {
        {SPAN("--canary"), &words->canary},
        {SPAN("--watch"), &words->watch},
        {SPAN("--prefix"), &words->prefix},
    };
    struct span word = span_text(argv[*at]);
    if (span_equal(word, SPAN("--wait"))) {
        words->wait = true;
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        struct span name = options[i].name;
        if (!span_starts_with(word, name))
            continue;
        if (word.size > name.size && word.data[name.size] == '=') {
            *options[i].value = word.data + name.size + 1;
            return true;
        }
        if (word.size == name.size && *at + 1 < argc) {
            *options[i].value = argv[++*at];
            return true;
        }
    }
    return false;
}

static bool read_words(struct swap_words *words, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] == '-') {
            if (!take_option(words, argc, argv, &i))
                return false;
        } else if (words->plugin == NULL) {
            words->plugin = argv[i];
        } else if (words->file == NULL) {
            words->file = argv[i];
        } else {
            return false;
        }
    }
    return words->plugin != NULL;
}

static const char *prefix_of(const struct swap_words *words)
{
    const char *given = words->prefix != NULL ? words->prefix : getenv("WEIR_PREFIX");
    return given != NULL && given[0] != '\0' ? given : process_default_prefix();
}

/* A question is one line of words. */
static bool is_word(const char *text)
{
    return text == NULL || text[strcspn(text, " \n")] == '\0';
}

static int ask(const struct swap_words *words, struct buf *question)
{
    buf_byte(question, '\0');
    if (question->failed) {
        (void)fprintf(stderr, "weir: out of memory\n");
        return CLI_FAILED;
    }
    double watch = words->watch == NULL ? 0 : strtod(words->watch, NULL);
    double ms = watch > 0 && watch * 2000 < DAY_MS ? watch * 2000 : watch > 0 ? DAY_MS : 0;
    if (words->wait || words->canary != NULL)
        ms += 60000; /* the gateway's own swap_watch, when --watch says nothing */
    return cli_ask(prefix_of(words), question->data, SWAP_MS + (uint32_t)ms);
}

int cli_plugin_swap(int argc, char **argv)
{
    struct swap_words words = {0};
    if (!read_words(&words, argc, argv) || !is_word(words.plugin) || !is_word(words.canary) ||
        !is_word(words.watch)) {
        (void)fputs(swap_usage, stderr);
        return CLI_USAGE;
    }
    AUTO_BUF question = BUF_INIT;
    buf_printf(&question, "swap %s", words.plugin);
    if (words.canary != NULL)
        buf_printf(&question, " canary=%s", words.canary);
    if (words.watch != NULL)
        buf_printf(&question, " watch=%s", words.watch);
    if (words.wait)
        buf_text(&question, " wait");
    if (words.file != NULL) {
        /* The gateway works in another directory. */
        char *path = realpath(words.file, NULL);
        if (path == NULL || strchr(path, '\n') != NULL) {
            (void)fprintf(stderr, "weir: %s: %s\n", words.file,
                          path == NULL ? strerrordesc_np(errno) : "a line break in its path");
            free(path);
            return CLI_FAILED;
        }
        buf_printf(&question, " file=%s", path);
        free(path);
    }
    return ask(&words, &question);
}

int cli_plugin_rollback(int argc, char **argv)
{
    struct swap_words words = {0};
    if (!read_words(&words, argc, argv) || words.file != NULL || words.canary != NULL ||
        words.watch != NULL || words.wait || !is_word(words.plugin)) {
        (void)fprintf(stderr, "usage: weir plugin rollback NAME [--prefix DIRECTORY]\n");
        return CLI_USAGE;
    }
    AUTO_BUF question = BUF_INIT;
    buf_printf(&question, "rollback %s", words.plugin);
    return ask(&words, &question);
}

bool cli_plugin_running(const char *prefix, bool wanted)
{
    AUTO_BUF answer = BUF_INIT;
    enum weir_err err = process_ask(prefix, "plugins", LIST_MS, &answer);
    struct span text = buf_view(&answer), line;
    bool good = err == WEIR_OK && span_split(&text, '\n', &line) && span_equal(line, SPAN("ok"));
    if (good)
        (void)printf("\nin use by the gateway on %s:\n%.*s", prefix, SPAN_ARG(text));
    else if (wanted)
        (void)fprintf(stderr, "weir: no gateway answers on %s\n", prefix);
    return good || !wanted;
}
