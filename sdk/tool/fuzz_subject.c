#include "fuzz_subject.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weir_testkit.h>

enum { YAML_LIMIT = 1 << 20, IMAGE_LIMIT = 64 << 20 };

/* Asked at the end by LeakSanitizer, when it is in this process: what a plugin leaks is the
 * business of `fuzz`, which has said so. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void); /* NOLINT: its name */
static bool has_subject;
int __lsan_is_turned_off(void)
{
    return has_subject;
}

static char *made_up_yaml(const char *name)
{
    char *yaml = NULL;
    int size =
        asprintf(&yaml,
                 "_format_version: '3.0'\n"
                 "services: [{name: s, host: target.test, routes: [{name: r, paths: [/]}]}]\n"
                 "plugins: [{name: %s}]\n",
                 name);
    return size < 0 ? NULL : yaml;
}

static bool take_file(struct subject *subject, const char *verb, const char *file)
{
    char absolute[PATH_MAX];
    if (realpath(file, absolute) == NULL) {
        (void)tool_fail(verb, "%s: %s", file, strerror(errno));
        return false;
    }
    const char *slash = strrchr(absolute, '/');
    const char *base = slash == NULL ? absolute : slash + 1;
    size_t size = strlen(base);
    if (size < 4 || strcmp(base + size - 3, ".so") != 0 || size - 3 >= sizeof(subject->name)) {
        (void)tool_fail(verb, "%s: a plugin's file is called NAME.so", file);
        return false;
    }
    memcpy(subject->name, base, size - 3);
    (void)snprintf(subject->image, sizeof(subject->image), "%s", absolute);
    return true;
}

static bool take_project(struct subject *subject, bool sanitized)
{
    struct project project;
    if (!project_open(NULL, sanitized, &project) || !project_build(&project))
        return false;
    (void)snprintf(subject->name, sizeof(subject->name), "%s", project.name);
    (void)snprintf(subject->image, sizeof(subject->image), "%s", project.image);
    (void)snprintf(subject->config, sizeof(subject->config), "%s", project.config);
    return true;
}

int subject_open(struct subject *subject, const char *verb, const char *file, const char *config,
                 bool sanitized)
{
    has_subject = true;
    *subject = (struct subject){0};
    if (file == NULL ? !take_project(subject, sanitized) : !take_file(subject, verb, file))
        return TOOL_FAILED;
    if (config != NULL)
        (void)snprintf(subject->config, sizeof(subject->config), "%s", config);
    subject->yaml = subject->config[0] == '\0' ? made_up_yaml(subject->name)
                                               : tool_read_file(subject->config, YAML_LIMIT, NULL);
    if (subject->yaml == NULL)
        return tool_fail(verb, "%s: %s", subject->config, strerror(errno));
    return TOOL_OK;
}

/* ---- the folder */

static bool write_image(const struct subject *subject)
{
    char path[sizeof(subject->folder) + sizeof(subject->name) + 8];
    char beside[sizeof(path) + 8];
    size_t size = 0;
    char *bytes = tool_read_file(subject->image, IMAGE_LIMIT, &size);
    if (bytes == NULL)
        return false;
    (void)snprintf(path, sizeof(path), "%s/%s.so", subject->folder, subject->name);
    (void)snprintf(beside, sizeof(beside), "%s.new", path);
    FILE *file = fopen(beside, "wbe");
    bool good = file != NULL && fwrite(bytes, 1, size, file) == size;
    for (unsigned i = 0; good && i < subject->swaps; i++) /* behind the end nobody reads */
        good = fputc('+', file) != EOF;
    good = (file == NULL || fclose(file) == 0) && good && rename(beside, path) == 0;
    free(bytes);
    return good;
}

bool subject_place(struct subject *subject)
{
    char plugins[4096] = "";
    const char *parent = getenv("TMPDIR");
    int size = snprintf(subject->folder, sizeof(subject->folder), "%s/weir-plugin-XXXXXX",
                        parent != NULL && strlen(parent) < 32 ? parent : "/tmp");
    if (size < 0 || mkdtemp(subject->folder) == NULL || !write_image(subject)) {
        (void)fprintf(stderr, "weir plugin: cannot put %s into %s: %s\n", subject->image,
                      subject->folder, strerror(errno));
        return false;
    }
    const char *others = getenv("WEIR_PLUGIN_DIR");
    if (others == NULL && tool_beside("/lib/weir/plugins", plugins, sizeof(plugins)))
        others = plugins;
    (void)snprintf(subject->search, sizeof(subject->search), "%s%s%.4096s", subject->folder,
                   others == NULL ? "" : ":", others == NULL ? "" : others);
    return true;
}

bool subject_swap(struct subject *subject)
{
    subject->swaps++;
    return write_image(subject);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    (void)remove(path);
    return 0;
}

void subject_remove_folder(struct subject *subject)
{
    if (subject->folder[0] == '\0')
        return;
    (void)nftw(subject->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    subject->folder[0] = '\0';
}

void subject_close(struct subject *subject)
{
    subject_remove_folder(subject);
    free(subject->yaml);
    subject->yaml = NULL;
}

struct kit *subject_kit(const struct subject *subject)
{
    return kit_open_folder(subject->yaml, subject->search);
}

/* ---- what it was built with */

/* The name is read as text: the linker's own would do more than look. */
const char *subject_sanitizer(const struct subject *subject)
{
    static char name[64];
    size_t size = 0;
    char *bytes = tool_read_file(subject->image, IMAGE_LIMIT, &size);
    const char *found = bytes == NULL ? NULL : memmem(bytes, size, "libasan.so.", 11);
    if (found != NULL)
        (void)snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1, found);
    free(bytes);
    return found == NULL ? NULL : name;
}
