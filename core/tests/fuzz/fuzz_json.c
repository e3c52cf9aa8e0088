/* Any bytes as JSON, as a form and as a multipart body, with edits. Beyond "no crash": what was
 * parsed and not edited prints as itself, what was edited parses again and has what the edit said.
 * The first byte chooses the edit. */
#include <stdlib.h>
#include <string.h>

#include <weir/form.h>
#include <weir/inflate.h>
#include <weir/multipart.h>

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { BLOCKS = 4096 };
static void *blocks[BLOCKS];
static size_t block_count;

static void *take(void *user, size_t size)
{
    (void)user;
    return block_count == BLOCKS || size > 1 << 22 ? NULL : (blocks[block_count++] = malloc(size));
}

static weir_status edit(void *user, weir_json *json, weir_json_value *object, weir_str name)
{
    weir_status status;
    switch (*(const uint8_t *)user % 4) {
    case 0:
        status = weir_json_remove(json, object, name);
        break;
    case 1:
        status = weir_json_rename(json, object, name, WEIR_LIT("new \"name"));
        break;
    case 2:
        status = weir_json_set(json, object, name, WEIR_LIT("{\"a\": [1, 2]}"));
        break;
    default:
        status = weir_json_append(json, object, name, WEIR_LIT("true"));
    }
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static void try_json(uint8_t choice, weir_str text)
{
    static const weir_str paths[] = {{"a", 1}, {"$..a", 4}, {"$.a[*].b", 8}, {"$.a.b", 5}};
    const char *why;
    weir_json *json, *again;
    weir_str out;
    if (weir_json_parse(text, take, NULL, &json, NULL) != WEIR_SUCCESS)
        return;
    CHECK_THAT(weir_json_print(json, &out) == WEIR_SUCCESS && out.data == text.data);
    const weir_json_path *path =
        weir_json_path_compile(paths[choice / 4 % 4], false, take, NULL, &why);
    if (path == NULL || weir_json_path_each(json, path, (choice & 16) != 0, (choice & 32) != 0,
                                            edit, &choice) != WEIR_SUCCESS)
        return;
    if (weir_json_print(json, &out) != WEIR_SUCCESS)
        return;
    weir_status status = weir_json_parse(out, take, NULL, &again, NULL);
    CHECK_THAT(status == WEIR_SUCCESS || status == WEIR_NO_MEMORY || status == WEIR_FULL);
    if (status == WEIR_SUCCESS && choice % 64 == 0)
        CHECK_THAT(weir_json_member(again, weir_json_root(again), WEIR_LIT("a")) == NULL);
}

static void try_form(weir_str text)
{
    weir_form form;
    weir_str once, twice;
    if (weir_form_parse(&form, text, take, NULL) != WEIR_SUCCESS ||
        weir_form_print(&form, true, &once) != WEIR_SUCCESS ||
        weir_form_parse(&form, once, take, NULL) != WEIR_SUCCESS ||
        weir_form_print(&form, true, &twice) != WEIR_SUCCESS)
        return;
    CHECK_THAT(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
}

static void try_multipart(weir_str text)
{
    weir_multipart parts;
    weir_str out;
    if (weir_multipart_parse(&parts, text, WEIR_LIT("multipart/form-data; boundary=X"), take,
                             NULL) != WEIR_SUCCESS)
        return;
    size_t count = parts.count;
    (void)weir_multipart_rename(&parts, WEIR_LIT("a"), WEIR_LIT("b"));
    if (weir_multipart_set(&parts, WEIR_LIT("c"), WEIR_LIT("value")) != WEIR_SUCCESS ||
        weir_multipart_print(&parts, &out) != WEIR_SUCCESS)
        return;
    weir_status status =
        weir_multipart_parse(&parts, out, WEIR_LIT("multipart/form-data; boundary=X"), take, NULL);
    CHECK_THAT(status != WEIR_INVALID && parts.count <= count + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    weir_str text = {(const char *)bytes + 1, size - 1}, out;
    try_json(bytes[0], text);
    try_form(text);
    try_multipart(text);
    (void)weir_inflate(text, (bytes[0] & 1) != 0 ? WEIR_LIT("gzip") : WEIR_LIT("deflate"), 1 << 16,
                       take, NULL, &out);
    while (block_count > 0)
        free(blocks[--block_count]);
    return 0;
}
