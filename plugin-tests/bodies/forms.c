/* Forms, multipart bodies and compressed ones. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <weir/form.h>
#include <weir/inflate.h>
#include <weir/multipart.h>

#include "pool.h"

enum edit { REMOVE, RENAME, SET, APPEND, NONE };

/* ---- forms */

static const struct form_row {
    const char *why, *text;
    enum edit edit;
    const char *name, *value, *want;
    bool sorted;
} forms[] = {
    {"as it was", "a=1&b=2", NONE, "", "", "a=1&b=2"},
    {"coded anew", "a=%7e+%20x&b", NONE, "", "", "a=~++x&b"},
    {"empty pieces go", "&&a=1&&", NONE, "", "", "a=1"},
    {"without '=' and with an empty value", "a&b=", NONE, "", "", "a&b="},
    {"a lonely % stands for itself", "a=100%&b=%zz", NONE, "", "", "a=100%25&b=%25zz"},
    {"nothing", "", NONE, "", "", ""},
    {"sorted by name, equal ones in order", "b=2&a=2&a=1&B=0", NONE, "", "", "B=0&a=2&a=1&b=2",
     true},
    {"remove all of it", "a=1&b=2&a=3", REMOVE, "a", "", "b=2"},
    {"rename all of it, over another", "a=1&b=2&a=3&c=0", RENAME, "a", "c", "c=1&b=2&c=3"},
    {"rename what is not there", "a=1", RENAME, "x", "y", "a=1"},
    {"set one for several", "a=1&b=2&a=3", SET, "a", "n w", "a=n+w&b=2"},
    {"set a new one", "a=1", SET, "b", "", "a=1&b="},
    {"append behind its like", "a=1&b=2", APPEND, "a", "3", "a=1&a=3&b=2"},
    {"append a new one", "", APPEND, "a", "3", "a=3"},
};

static weir_status run_form(const struct form_row *row, struct pool *pool, weir_str *out)
{
    weir_form form;
    weir_status status = weir_form_parse(&form, str(row->text), take, pool);
    if (status != WEIR_SUCCESS)
        return status;
    switch (row->edit) {
    case REMOVE:
        status = weir_form_remove(&form, str(row->name));
        break;
    case RENAME:
        status = weir_form_rename(&form, str(row->name), str(row->value));
        break;
    case SET:
        status = weir_form_set(&form, str(row->name), str(row->value));
        break;
    case APPEND:
        status = weir_form_append(&form, str(row->name), str(row->value));
        break;
    case NONE:
        break;
    }
    if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
        return status;
    return weir_form_print(&form, row->sorted, out);
}

Test(form, edits, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        for (size_t left = 0; left < 100; left++) { /* memory may run out anywhere */
            struct pool pool = {.left = left};
            weir_str out = {NULL, 0};
            weir_status status = run_form(&forms[i], &pool, &out);
            bool done = status == WEIR_SUCCESS;
            cr_expect(done || status == WEIR_NO_MEMORY, "%s: %u", forms[i].why, status);
            if (done)
                cr_expect(is(out, forms[i].want), "%s: %.*s", forms[i].why, (int)out.size,
                          out.data);
            drop(&pool);
            if (done)
                break;
        }
}

Test(form, a_thousand_fields_at_most, .timeout = 60)
{
    char text[2 * 1001 + 1];
    for (int i = 0; i < 1001; i++)
        memcpy(text + 2 * i, "a&", 2);
    struct pool pool = {.left = 100};
    weir_form form;
    cr_expect_eq(weir_form_parse(&form, (weir_str){text, 2 * 1001}, take, &pool), WEIR_FULL);
    cr_expect_eq(weir_form_parse(&form, (weir_str){text, 2 * 1000}, take, &pool), WEIR_SUCCESS);
    cr_expect_eq(weir_form_append(&form, str("x"), str("y")), WEIR_FULL);
    drop(&pool);
}

/* ---- multipart */

#define TYPE "multipart/form-data; boundary=XX"
#define PART(name, value) \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART                                                                 \
    "--XX\r\nContent-Type: image/png\r\ncontent-disposition: form-data; name=f; " \
    "filename=\"a.png\"\r\n\r\n\x89PNG\r\n--X\r\n\r\n"

static const struct multipart_row {
    const char *why, *body;
    enum edit edit;
    const char *name, *value, *want;
} multiparts[] = {
    {"untouched, preamble included", "preamble\r\n" PART("a", "1") "--XX--\r\nepilogue", NONE, "",
     "", "preamble\r\n" PART("a", "1") "--XX--\r\nepilogue"},
    {"remove", PART("a", "1") FILE_PART PART("a", "2") "--XX--\r\n", REMOVE, "a", "",
     FILE_PART "--XX--\r\n"},
    {"rename keeps the other fields", FILE_PART "--XX--\r\n", RENAME, "f", "g",
     "--XX\r\nContent-Type: image/png\r\ncontent-disposition: form-data; name=\"g\"; "
     "filename=\"a.png\"\r\n\r\n\x89PNG\r\n--X\r\n\r\n--XX--\r\n"},
    {"rename over another", PART("a", "1") PART("b", "2") "--XX--\r\n", RENAME, "a", "b",
     PART("b", "1") "--XX--\r\n"},
    {"set one for several", PART("a", "1") PART("b", "2") PART("a", "3") "--XX--\r\n", SET, "a",
     "n\"w", PART("a", "n\"w") PART("b", "2") "--XX--\r\n"},
    {"set a new one", PART("a", "1") "--XX--\r\n", SET, "q\"", "2",
     PART("a", "1") PART("q%22", "2") "--XX--\r\n"},
    {"append", PART("a", "1") "--XX--\r\n", APPEND, "a", "2",
     PART("a", "1") PART("a", "2") "--XX--\r\n"},
};

static weir_status run_multipart(const struct multipart_row *row, struct pool *pool, weir_str *out)
{
    weir_multipart parts;
    weir_status status = weir_multipart_parse(&parts, str(row->body), str(TYPE), take, pool);
    if (status != WEIR_SUCCESS)
        return status;
    switch (row->edit) {
    case REMOVE:
        status = weir_multipart_remove(&parts, str(row->name));
        break;
    case RENAME:
        status = weir_multipart_rename(&parts, str(row->name), str(row->value));
        break;
    case SET:
        status = weir_multipart_set(&parts, str(row->name), str(row->value));
        break;
    case APPEND:
        status = weir_multipart_append(&parts, str(row->name), str(row->value));
        break;
    case NONE:
        break;
    }
    return status != WEIR_SUCCESS ? status : weir_multipart_print(&parts, out);
}

Test(multipart, edits, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(multiparts) / sizeof(multiparts[0]); i++)
        for (size_t left = 0; left < 100; left++) {
            struct pool pool = {.left = left};
            weir_str out = {NULL, 0};
            weir_status status = run_multipart(&multiparts[i], &pool, &out);
            bool done = status == WEIR_SUCCESS;
            cr_expect(done || status == WEIR_NO_MEMORY, "%s: %u", multiparts[i].why, status);
            if (done)
                cr_expect(is(out, multiparts[i].want), "%s: %.*s", multiparts[i].why, (int)out.size,
                          out.data);
            drop(&pool);
            if (done)
                break;
        }
}

Test(multipart, what_is_none, .timeout = 60)
{
    static const struct {
        const char *why, *type, *body;
    } bad[] = {
        {"no boundary", "multipart/form-data", PART("a", "1") "--XX--\r\n"},
        {"an empty boundary", "multipart/form-data; boundary=\"\"", PART("a", "1") "--XX--\r\n"},
        {"another boundary", "multipart/form-data; boundary=YY", PART("a", "1") "--XX--\r\n"},
        {"cut short", TYPE, PART("a", "1")},
        {"a head without end", TYPE, "--XX\r\nA: b\r\n--XX--\r\n"},
        {"bytes behind the boundary", TYPE, "--XXa\r\nA: b\r\n\r\n\r\n--XX--\r\n"},
        {"nothing", TYPE, ""},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pool pool = {.left = 100};
        weir_multipart parts;
        cr_expect_eq(weir_multipart_parse(&parts, str(bad[i].body), str(bad[i].type), take, &pool),
                     WEIR_INVALID, "%s", bad[i].why);
        drop(&pool);
    }
    struct pool pool = {.left = 100};
    weir_multipart parts;
    cr_assert_eq(
        weir_multipart_parse(&parts, str(PART("a", "1") "--XX--\r\n"), str(TYPE), take, &pool),
        WEIR_SUCCESS);
    cr_expect_eq(weir_multipart_set(&parts, str("a"), str("x--XX--")), WEIR_INVALID,
                 "the value ends the body");
    cr_expect_eq(weir_multipart_set(&parts, str("a\r\nb"), str("x")), WEIR_INVALID);
    cr_expect_not(weir_multipart_find(&parts, str("a"), 0)->is_file);
    drop(&pool);
}

/* ---- compressed */

/* By zlib: `window` as deflateInit2() takes it. */
static size_t squeeze(const char *text, size_t size, int window, unsigned char *out, size_t room)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)text,
                       .avail_in = (uInt)size,
                       .next_out = out,
                       .avail_out = (uInt)room};
    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&stream);
    return room - stream.avail_out;
}

Test(inflate, every_coding, .timeout = 60)
{
    static char text[20000];
    memset(text, 'x', sizeof(text));
    static const struct {
        const char *why, *coding;
        int window;
        weir_status want;
        size_t limit;
    } all[] = {
        {"gzip", "gzip", 31, WEIR_SUCCESS, 20000},
        {"in any case", " X-GZip ", 31, WEIR_SUCCESS, 20000},
        {"deflate with zlib's head", "deflate", 15, WEIR_SUCCESS, 20000},
        {"deflate without", "deflate", -15, WEIR_SUCCESS, 20000},
        {"more than the limit", "gzip", 31, WEIR_FULL, 19999},
        {"an unknown coding", "br", 31, WEIR_NOT_FOUND, 20000},
        {"two codings", "gzip, gzip", 31, WEIR_NOT_FOUND, 20000},
        {"labelled gzip, but it is not", "gzip", 15, WEIR_INVALID, 20000},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        unsigned char packed[1000];
        struct pool pool = {.left = 100};
        weir_str out;
        size_t size = squeeze(text, sizeof(text), all[i].window, packed, sizeof(packed));
        weir_str body = {(const char *)packed, size};
        weir_status status =
            weir_inflate(body, str(all[i].coding), all[i].limit, take, &pool, &out);
        cr_expect_eq(status, all[i].want, "%s: %u", all[i].why, status);
        if (status == WEIR_SUCCESS)
            cr_expect(out.size == sizeof(text) && memcmp(out.data, text, out.size) == 0, "%s",
                      all[i].why);
        body.size--;
        if (all[i].want == WEIR_SUCCESS)
            cr_expect_eq(weir_inflate(body, str(all[i].coding), 20000, take, &pool, &out),
                         WEIR_INVALID, "%s, cut short", all[i].why);
        drop(&pool);
    }
}

Test(inflate, members_of_gzip_are_one_body, .timeout = 60)
{
    unsigned char packed[200];
    struct pool pool = {.left = 100};
    weir_str out;
    size_t size = squeeze("one ", 4, 31, packed, sizeof(packed));
    size += squeeze("two", 3, 31, packed + size, sizeof(packed) - size);
    weir_str body = {(const char *)packed, size};
    cr_assert_eq(weir_inflate(body, str("gzip"), 100, take, &pool, &out), WEIR_SUCCESS);
    cr_expect(is(out, "one two"), "%.*s", (int)out.size, out.data);
    packed[size] = 'x';
    body.size++;
    cr_expect_eq(weir_inflate(body, str("gzip"), 100, take, &pool, &out), WEIR_INVALID,
                 "a byte behind the end");
    cr_expect_eq(weir_inflate(str("plain"), (weir_str){NULL, 0}, 100, take, &pool, &out),
                 WEIR_SUCCESS);
    cr_expect(is(out, "plain"));
    drop(&pool);
}
