/* weir plugin replay OLD.so NEW.so FILE. */
#include "replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin_host/elf_lint.h"
#include "tool.h"

enum { IMAGE_MAX = 256 << 20 };

struct replay_order {
    const char *old_image, *new_image, *file;
    bool all, json;
};

static bool read_order(struct replay_order *order, int argc, char **argv)
{
    const char **const words[] = {&order->old_image, &order->new_image, &order->file};
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--all") == 0) {
            order->all = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            order->json = true;
        } else if (argv[i][0] == '-' || count == COUNT_OF(words)) {
            (void)tool_usage("replay", "what is '%.80s'?", argv[i]);
            return false;
        } else {
            *words[count++] = argv[i];
        }
    }
    if (count < COUNT_OF(words))
        (void)tool_usage("replay", "two builds and the file of a recording are needed");
    return count == COUNT_OF(words);
}

/* What the manifest of the build says. */
static bool read_name(const char *image, char *out, size_t size)
{
    AUTO_BUF bytes = BUF_INIT;
    struct elf_facts facts;
    char why[256];
    enum weir_err err = buf_read_file(&bytes, image, IMAGE_MAX);
    if (err != WEIR_OK) {
        (void)tool_fail("replay", "cannot read %s: %s", image,
                        err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
        return false;
    }
    if (elf_lint(buf_view(&bytes), &facts, why, sizeof(why)) != WEIR_OK) {
        (void)tool_fail("replay", "%s: %s", image, why);
        return false;
    }
    (void)snprintf(out, size, "%.*s", SPAN_ARG(facts.name));
    return true;
}

static const char *other_plugins(void)
{
    static char path[4096];
    const char *given = getenv("WEIR_PLUGIN_DIR");
    if (given == NULL)
        given = getenv("WEIR_PLUGIN_PATH");
    if (given != NULL)
        return given;
    return tool_beside("/lib/weir/plugins", path, sizeof(path)) ? path : "";
}

static size_t count_skipped(const struct run *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->count; i++)
        count += run->outcomes[i].skipped;
    return count;
}

static void summarise(const struct replay_order *order, const struct report *report,
                      const struct run *run)
{
    size_t skipped = count_skipped(run);
    if (order->json) {
        (void)printf("{\"requests\": %zu, \"skipped\": %zu, \"differences\": %zu, \"different\": "
                     "%zu, \"from_recorded\": %zu}\n",
                     run->count, skipped, report->differences, report->requests,
                     report->from_recorded);
        return;
    }
    (void)printf("%zu requests", run->count);
    if (skipped > 0)
        (void)printf(" (%zu tunnels left out)", skipped);
    if (report->differences == 0)
        (void)printf(": no difference");
    else
        (void)printf(": %zu differences, in %zu requests", report->differences, report->requests);
    if (order->all)
        (void)printf("; %zu from what was recorded", report->from_recorded);
    (void)printf("\n");
}

static int replay(const struct replay_order *order, const struct traffic *traffic,
                  const char *plugin)
{
    struct run runs[2] = {{0}};
    const char *const images[] = {order->old_image, order->new_image};
    struct report report = {.json = order->json};
    int code = TOOL_OK;
    for (size_t i = 0; i < COUNT_OF(images) && code == TOOL_OK; i++)
        code = run_recording(traffic, plugin, images[i], other_plugins(), &runs[i]);
    if (code == TOOL_FAILED) {
        code = TOOL_USAGE;
    } else if (code == TOOL_OK) {
        compare_runs(traffic, &runs[0], &runs[1], &report);
        if (order->all)
            compare_recorded(traffic, &runs[1], &report);
        summarise(order, &report, &runs[1]);
        code = report.differences == 0 ? TOOL_OK : TOOL_FAILED;
    }
    run_free(&runs[0]);
    run_free(&runs[1]);
    return code;
}

/* Else two builds of anything would be the same. */
static bool is_used(const struct traffic *traffic, const char *plugin)
{
    char quoted[80];
    struct span text = span_text(traffic->configuration);
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", plugin);
    if (span_search(text, span_text(quoted)) < text.size)
        return true;
    (void)tool_fail("replay", "the recorded configuration does not use the plugin '%s'", plugin);
    return false;
}

/* 1 says that there is a difference; what cannot be done is 2. */
int tool_replay(int argc, char **argv)
{
    struct replay_order order = {0};
    struct traffic traffic;
    char old_name[64], new_name[64];
    if (!read_order(&order, argc, argv))
        return TOOL_USAGE;
    if (!read_name(order.old_image, old_name, sizeof(old_name)) ||
        !read_name(order.new_image, new_name, sizeof(new_name)))
        return TOOL_USAGE;
    if (strcmp(old_name, new_name) != 0) {
        (void)tool_fail("replay", "%s is plugin '%s', %s is plugin '%s'", order.old_image, old_name,
                        order.new_image, new_name);
        return TOOL_USAGE;
    }
    int code = traffic_open(&traffic, order.file);
    if (code == TOOL_OK && is_used(&traffic, new_name))
        code = replay(&order, &traffic, new_name);
    else
        code = TOOL_USAGE;
    traffic_close(&traffic);
    return code;
}
