#include "built.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "TESTKIT_BUILT_FOLDER" /* told to the processes of the tests by environment */

#ifdef __SANITIZE_ADDRESS__
#define SANITIZE "-fsanitize=address"
#else
#define SANITIZE ""
#endif

static const struct {
    const char *name, *source, *flags; /* `flags` begin in the source tree */
} sources[] = {
    {"ask", "plugin-tests/testkit/plugins/ask.c", "sdk/redis/redis.c -lhiredis"},
    {"tenant-quota", "sdk/examples/tenant-quota/tenant-quota.c", ""},
    {"probe", "plugin-tests/testkit/plugins/probe.c", ""},
    {"shout", "plugin-tests/testkit/plugins/shout.c", ""},
    {"peers", "core/tests/e2e/abi/peers.c", ""},
    {"steps", "plugin-tests/testkit/plugins/steps.c", SANITIZE},
    {"steps-two", "plugin-tests/testkit/plugins/steps.c", "-DBUILD='\"two\"'"},
};

static void build(const char *tree, const char *folder, size_t index)
{
    char command[2048];
    int size =
        snprintf(command, sizeof(command),
                 "cd '%s' && cc -std=gnu11 -O1 -Wall -Wextra -Werror -fPIC -shared "
                 "-fvisibility=hidden -Wl,-z,defs -Isdk/include -o '%s/%s.so' '%s' %s",
                 tree, folder, sources[index].name, sources[index].source, sources[index].flags);
    if (size < 0 || (size_t)size >= sizeof(command) || system(command) != 0)
        (void)fprintf(stderr, "%s\n", command);
}

/* Once, before the tests run in processes of their own. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    (void)tests;
    char folder[] = "/tmp/testkit-built-XXXXXX";
    const char *tree = getenv("WEIR_SOURCE_DIR");
    if (tree == NULL || mkdtemp(folder) == NULL || setenv(FOLDER, folder, 1) != 0)
        return;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        build(tree, folder, i);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    const char *folder = getenv(FOLDER);
    if (folder == NULL)
        return;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%s.so", folder, sources[i].name);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

struct kit *try_built(const char *yaml)
{
    const char *folder = getenv(FOLDER);
    cr_assert_not_null(folder, "WEIR_SOURCE_DIR says where the SDK is");
    return kit_open_folder(yaml, folder);
}

struct kit *open_built(const char *yaml)
{
    struct kit *kit = try_built(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    return kit;
}

const char *yaml_with(const char *plugins)
{
    static char text[2048];
    int size =
        snprintf(text, sizeof(text),
                 "_format_version: '3.0'\n"
                 "services: [{name: s, url: 'http://t.test', routes: [{name: r, paths: [/]}]}]\n"
                 "plugins: %s\n",
                 plugins);
    cr_assert(size > 0 && (size_t)size < sizeof(text));
    return text;
}

bool was_logged(struct kit *kit, const char *text)
{
    return strstr(kit_log_lines(kit), text) != NULL;
}
