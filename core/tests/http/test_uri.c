/* Paths as a recorded Kong 3.9.3 answered them, authorities, queries. */
#include <criterion/criterion.h>

#include "http/uri.h"

/* `want`: what the target gets, NULL: 400. The first part is recorded, the second follows from it.
 */
static const struct row {
    const char *raw, *want;
} rows[] = {
    /* clang-format off */
    {"/%7Euser", "/~user"}, {"/b%2Fc", "/b%2Fc"}, {"/b%2fc", "/b%2Fc"}, {"//x", "/x"},
    {"/x//y", "/x/y"}, {"/x/./y", "/x/y"}, {"/x/../y", "/y"}, {"/x/%2e%2e/y", "/y"},
    {"/%C3%A9", "/%C3%A9"}, {"/a%20b", "/a%20b"}, {"/a+b", "/a+b"}, {"/a%2Bb", "/a%2Bb"},
    {"/a;p=1", "/a;p=1"}, {"/a%3Bp", "/a%3Bp"}, {"/a!$&'()*,=:@", "/a!$&'()*,=:@"},
    {"/%41bc", "/Abc"}, {"/a%25b", "/a%25b"}, {"/x/..", "/"}, {"/x/.", "/x/"}, {"/..", NULL},
    {"/a%5Cb", "/a%5Cb"}, {"/a\\b", "/a%5Cb"}, {"/a|b", "/a%7Cb"}, {"/a\"b", "/a%22b"},
    {"/a<b>", "/a%3Cb%3E"}, {"/a{b}", "/a%7Bb%7D"}, {"/a^b", "/a%5Eb"}, {"/a`b", "/a%60b"},
    {"/a[b]", "/a[b]"}, {"/a%5Bb%5D", "/a%5Bb%5D"}, {"/a%3Fb", "/a%3Fb"}, {"/a%23b", "/a%23b"},
    {"/a%0Ab", "/a%0Ab"}, {"/a%09b", "/a%09b"}, {"/%e4%bd%a0", "/%E4%BD%A0"}, {"/a%2", NULL},
    {"/\xc3\xa9", "/%C3%A9"}, {"/route../req", "/route../req"}, {"/route%2E%2E/req", "/route../req"},

    {"/", "/"}, {"/a", "/a"}, {"/a/", "/a/"}, {"/.", "/"}, {"/./", "/"}, {"//", "/"}, {"///a//", "/a/"},
    {"/a/b/../..", "/"}, {"/a/b/../../", "/"}, {"/a/../..", NULL}, {"/a//../b", "/b"},
    {"/a/b/..", "/a/"}, {"/a/b/../c", "/a/c"}, {"/...", "/..."}, {"/.a", "/.a"}, {"/..a/", "/..a/"},
    {"/.well-known/x", "/.well-known/x"}, {"/%2e", "/"}, {"/%2E%2e", NULL}, {"/a/.%2e/b", "/b"},
    {"/%2F..", NULL}, {"/a%2F..", "/a%2F.."}, {"/x%2F..%2F..", NULL}, {"/x%2f..%2f..%2fetc", NULL},
    {"/a%2Fb/../..%2Fc", NULL},
    {"/%00", NULL}, {"/a%zzb", NULL}, {"/%", NULL}, {"/%4", NULL}, {"/%252e%252e", "/%252e%252e"},
    {"", NULL}, {"a", NULL}, {"*", "*"}, {"/0123456789abcdef/0123456789abcdef/../x", "/0123456789abcdef/x"},
    /* clang-format on */
};

Test(path, is_sent_upstream_as_kong_does)
{
    struct arena *arena = arena_create(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span out = SPAN_NONE;
        enum weir_err error = http_path_normalize(arena, span_text(rows[i].raw), &out);
        cr_expect_eq(error, rows[i].want == NULL ? WEIR_ERR_BAD_REQUEST : WEIR_OK, "%s",
                     rows[i].raw);
        if (error != WEIR_OK)
            continue;
        struct span sent = http_path_escape(arena, out), again;
        cr_expect(span_equal(sent, span_text(rows[i].want)), "%s: %.*s, not %s", rows[i].raw,
                  SPAN_ARG(sent), rows[i].want);
        cr_assert_eq(http_path_normalize(arena, sent, &again), WEIR_OK);
        cr_expect(span_equal(again, out), "%s: once more changes it", rows[i].raw);
    }
    arena_destroy(arena);
}

Test(path, what_is_called_normal_does_not_change)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span raw = span_text(rows[i].raw), out;
        if (!http_path_is_normal(raw))
            continue;
        cr_assert_eq(http_path_normalize(NULL, raw, &out), WEIR_OK, "no memory is needed");
        cr_expect_eq(out.data, raw.data);
    }
    cr_expect(http_path_is_normal(SPAN("/orders/17/lines")));
    cr_expect(!http_path_is_normal(SPAN("/0123456789abcde/.")), "a pair across two steps");
    cr_expect(!http_path_is_normal(SPAN("/0123456789abcd//")));
}

Test(authority, is_a_host_and_perhaps_a_port)
{
    static const struct {
        const char *text, *host, *port; /* host NULL: none */
    } cases[] = {
        {"a", "a", NULL},
        {"a:80", "a", "80"},
        {"a:", "a", NULL},
        {"1.2.3.4:65535", "1.2.3.4", "65535"},
        {"[::1]", "[::1]", NULL},
        {"[2001:db8::1]:443", "[2001:db8::1]", "443"},
        {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", NULL},
        {"a_b-c.d~", "a_b-c.d~", NULL},
        {"%41", "%41", NULL},
        {"%4", NULL, NULL},
        {"%00", NULL, NULL},
        {"", NULL, NULL},
        {":80", NULL, NULL},
        {"a:b", NULL, NULL},
        {"a:1:2", NULL, NULL},
        {"a:99999", NULL, NULL},
        {"a:000080", NULL, NULL},
        {"a:-1", NULL, NULL},
        {"u@a", NULL, NULL},
        {"a/b", NULL, NULL},
        {"a\\b", NULL, NULL},
        {"a?b", NULL, NULL},
        {"a,b", NULL, NULL},
        {"a b", NULL, NULL},
        {"\xc3\xa9", NULL, NULL},
        {"::1", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[]", NULL, NULL},
        {"[::1]x", NULL, NULL},
        {"[1.2.3.4]", NULL, NULL},
        {"[fe80::1%25eth0]", NULL, NULL},
        {"[v1.a]", NULL, NULL},
        {"[0000:0000:0000:0000:0000:0000:255.255.255.255:0000]", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span host = SPAN_NONE, port = SPAN_NONE;
        bool have = http_authority_split(span_text(cases[i].text), &host, &port);
        cr_expect_eq(have, cases[i].host != NULL, "%s", cases[i].text);
        cr_expect(span_equal(host, span_text(cases[i].host)), "%s", cases[i].text);
        cr_expect(span_equal(port, span_text(cases[i].port)), "%s", cases[i].text);
    }
}

Test(query, is_taken_apart_raw)
{
    struct span rest = SPAN("a=1&&b&c=&=d&e=f=g&"), name, value;
    static const struct {
        const char *name, *value;
        bool has_value;
    } want[] = {
        {"a", "1", true}, {"b", "", false}, {"c", "", true}, {"", "d", true}, {"e", "f=g", true}};
    bool has_value;
    for (size_t i = 0; i < 5; i++) {
        cr_assert(http_query_next(&rest, &name, &value, &has_value));
        cr_expect(span_equal(name, span_text(want[i].name)) &&
                      span_equal(value, span_text(want[i].value)) && has_value == want[i].has_value,
                  "piece %zu", i);
    }
    cr_expect(!http_query_next(&rest, &name, &value, &has_value));
    rest = SPAN_NONE;
    cr_expect(!http_query_next(&rest, &name, &value, &has_value));
}
