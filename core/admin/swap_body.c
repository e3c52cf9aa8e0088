#include "admin/swap_body.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum { WATCH_SECONDS_MAX = 24 * 3600, CANARY_TEXT = 5 };

struct words {
    struct swap_body *swap;
    char canary[CANARY_TEXT]; /* "": all at once */
    double watch_s;           /* < 0: as usual */
    bool wait;
    const char *file; /* of the document; NULL: the one in plugin_path */
};

static bool refuse(struct swap_body *swap, unsigned status, const char *why)
{
    swap->status = status;
    (void)snprintf(swap->why, sizeof(swap->why), "%s", why);
    return false;
}

/* ---- the file */

/* `file` and `folder` as realpath() has them. */
static bool is_below(const char *file, const char *folder)
{
    size_t size = strlen(folder);
    while (size > 0 && folder[size - 1] == '/')
        size--;
    return strncmp(file, folder, size) == 0 && file[size] == '/';
}

static bool is_in_plugin_path(const struct swap_body *swap, const char *file)
{
    struct span rest = span_text(swap->plugin_path), folder;
    while (span_split(&rest, ':', &folder)) {
        char name[PATH_MAX], real[PATH_MAX];
        int size = snprintf(name, sizeof(name), "%.*s", SPAN_ARG(folder));
        if (size > 0 && (size_t)size < sizeof(name) && realpath(name, real) != NULL &&
            is_below(file, real))
            return true;
    }
    return false;
}

/* Links are followed first: one in plugin_path does not lead out of it. */
static bool find_real(const struct swap_body *swap, const char *file, char out[PATH_MAX])
{
    struct span rest = span_text(swap->plugin_path), folder;
    if (file[0] == '/')
        return realpath(file, out) != NULL && is_in_plugin_path(swap, out);
    while (span_split(&rest, ':', &folder)) {
        char name[PATH_MAX];
        int size = snprintf(name, sizeof(name), "%.*s/%s", SPAN_ARG(folder), file);
        if (size > 0 && (size_t)size < sizeof(name) && realpath(name, out) != NULL &&
            is_in_plugin_path(swap, out))
            return true;
    }
    return false;
}

static bool has_control_byte(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

/* One sentence for all that is not there and all that is elsewhere: who asks over HTTP does not
 * learn which files this machine has. */
static bool put_file(struct swap_body *swap, const char *file)
{
    char real[PATH_MAX];
    if (has_control_byte(file))
        return refuse(swap, 400, "file: expected a path without control characters");
    if (!find_real(swap, file, real) || has_control_byte(real))
        return refuse(swap, 403,
                      "file: expected one that lies in a folder of plugin_path; others are swapped "
                      "on the machine itself, with `weir plugin swap`");
    buf_printf(&swap->question, " file=%s", real);
    return true;
}

/* ---- the document */

static bool read_file(struct words *words, const cJSON *item)
{
    words->file = cJSON_GetStringValue(item);
    return words->file != NULL && words->file[0] != '\0';
}

/* "2" or "25%"; what it means is the master's to say. */
static bool is_canary(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < CANARY_TEXT - 1 &&
           (text[digits] == '\0' || strcmp(text + digits, "%") == 0);
}

static bool read_canary(struct words *words, const cJSON *item)
{
    char number[32] = "";
    const char *text = cJSON_GetStringValue(item);
    if (cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= 999)
        (void)snprintf(number, sizeof(number), "%g", item->valuedouble);
    if (text == NULL)
        text = number;
    if (!is_canary(text))
        return false;
    (void)snprintf(words->canary, sizeof(words->canary), "%.4s", text);
    return true;
}

static bool read_watch(struct words *words, const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > WATCH_SECONDS_MAX)
        return false;
    words->watch_s = item->valuedouble;
    return true;
}

static bool read_wait(struct words *words, const cJSON *item)
{
    words->wait = cJSON_IsTrue(item);
    return cJSON_IsBool(item);
}

static const struct word {
    const char *key, *expected;
    bool (*read)(struct words *words, const cJSON *item);
} known[] = {
    {"file", "expected a path as text", read_file},
    {"canary", "expected a number of workers or a percentage as text, \"25%\"", read_canary},
    {"watch", "expected seconds, at most a day", read_watch},
    {"wait", "expected true or false", read_wait},
};

static bool read_item(struct words *words, const cJSON *item)
{
    struct swap_body *swap = words->swap;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].key, item->string) != 0)
            continue;
        if (cJSON_IsNull(item) || known[i].read(words, item))
            return true;
        (void)snprintf(swap->why, sizeof(swap->why), "%s: %s", known[i].key, known[i].expected);
        swap->status = 400;
        return false;
    }
    (void)snprintf(swap->why, sizeof(swap->why),
                   "%.64s: expected file, canary, watch or wait in its place", item->string);
    swap->status = 400;
    return false;
}

static bool read_items(struct words *words, const cJSON *root)
{
    const cJSON *item;
    if (!cJSON_IsObject(root))
        return refuse(words->swap, 400, "expected a JSON object: {\"file\": …}");
    cJSON_ArrayForEach(item, root)
    {
        if (!read_item(words, item))
            return false;
    }
    return true;
}

static bool put_words(struct words *words)
{
    struct swap_body *swap = words->swap;
    buf_printf(&swap->question, "swap %.*s", SPAN_ARG(swap->plugin));
    if (words->canary[0] != '\0')
        buf_printf(&swap->question, " canary=%s", words->canary);
    if (words->watch_s >= 0)
        buf_printf(&swap->question, " watch=%.3f", words->watch_s);
    if (words->wait)
        buf_text(&swap->question, " wait");
    swap->watch_ms = words->watch_s < 0 ? swap->usual_watch_ms : (uint32_t)(words->watch_s * 1000);
    /* A canary is watched before the others follow, and who waits for it all twice. */
    if (words->canary[0] == '\0' && !words->wait)
        swap->watch_ms = 0;
    return words->file == NULL || put_file(swap, words->file);
}

bool swap_body_read(struct swap_body *swap, struct span body)
{
    struct words words = {.swap = swap, .watch_s = -1};
    const char *end = NULL;
    body = span_trim(body);
    if (body.size == 0)
        return put_words(&words);
    cJSON *root = cJSON_ParseWithLengthOpts(body.data, body.size, &end, false);
    if (root == NULL)
        return refuse(swap, 400, "the body is no JSON");
    bool good = end == body.data + body.size ? read_items(&words, root)
                                             : refuse(swap, 400, "the body is no JSON");
    good = good && put_words(&words);
    cJSON_Delete(root);
    return good;
}
