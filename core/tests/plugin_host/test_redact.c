#include <criterion/criterion.h>

#include "config/build.h"
#include "plugin_host/redact.h"
#include "run_support.h"

static const unsigned char key[REDACT_KEY] = "0123456789abcdef0123456789abcdef";

static struct redaction *make(void)
{
    struct redaction *redaction = redaction_create(key);
    cr_assert_not_null(redaction);
    return redaction;
}

/* What stands there instead of `value`. */
static const char *token(struct redaction *redaction, const char *value)
{
    static char texts[4][REDACT_TOKEN_MAX + 1];
    static unsigned at;
    AUTO_BUF out = BUF_INIT;
    char *text = texts[at++ % COUNT_OF(texts)];
    redact_value(redaction, &out, span_text(value));
    cr_assert(out.size <= REDACT_TOKEN_MAX);
    memcpy(text, out.data == NULL ? "" : out.data, out.size);
    text[out.size] = '\0';
    return text;
}

Test(redact, a_token_is_of_the_value_and_of_the_key)
{
    static const struct {
        const char *why, *value;
        size_t size;
    } rows[] = {
        {"nothing stays nothing", "", 0},
        {"one byte says not that it was one", "a", 8},
        {"eight are the end of the class", "12345678", 8},
        {"nine are of the next", "123456789", 16},
        {"…", "123456789012345678", 32},
        {"a long one says only that it is long",
         "0123456789012345678901234567890123456789012345678901234567890123456789", 64},
    };
    AUTO(redaction_destroy) struct redaction *redaction = make();
    AUTO(redaction_destroy)
    struct redaction *other =
        redaction_create((const unsigned char *)"fedcba9876543210fedcba9876543210");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *text = token(redaction, rows[i].value);
        cr_expect_eq(strlen(text), rows[i].size, "%s: %s", rows[i].why, text);
        cr_expect_str_eq(text, token(redaction, rows[i].value), "the same value, the same token");
        if (rows[i].size > 0)
            cr_expect_str_neq(text, token(other, rows[i].value), "another key, another token");
    }
    cr_expect_str_neq(token(redaction, "sesame"), token(redaction, "sesamf"));
}

/* In `want` each '#' stands for the token of the next of `secrets`. */
static void expect(struct redaction *redaction, const char *why, struct span have, const char *want,
                   const char *const secrets[])
{
    AUTO_BUF text = BUF_INIT;
    for (; *want != '\0'; want++) {
        if (*want == '#')
            buf_text(&text, token(redaction, *secrets++));
        else
            buf_byte(&text, *want);
    }
    cr_expect(span_equal(have, buf_view(&text)), "%s: %.*s instead of %.*s", why, SPAN_ARG(have),
              SPAN_ARG(buf_view(&text)));
}

Test(redact, headers_keep_their_form)
{
    static const struct {
        const char *why, *name, *value, *want;
        const char *secrets[3];
    } rows[] = {
        {"the scheme says how to read the rest",
         "Authorization",
         "Bearer abcdefgh",
         "Bearer #",
         {"abcdefgh"}},
        {"one without a scheme", "authorization", "abcdefgh", "#", {"abcdefgh"}},
        {"cookies keep their names",
         "Cookie",
         "a=xyz12345; b=zyx54321",
         "a=#; b=#",
         {"xyz12345", "zyx54321"}},
        {"attributes are no secrets",
         "Set-Cookie",
         "sid=xyz12345; Path=/; Max-Age=60",
         "sid=#; Path=/; Max-Age=60",
         {"xyz12345"}},
        {"spelled otherwise it is the same name", "X-API_Key", "abcdefgh", "#", {"abcdefgh"}},
        {"a name that was added", "X-Door", "abcdefgh", "#", {"abcdefgh"}},
        {"an address of a page has a query",
         "Referer",
         "https://a.test/b?token=abcdefgh&c=d#e",
         "https://a.test/b?token=#&c=d",
         {"abcdefgh"}},
        {"what is no secret stays", "Accept", "text/html", "text/html", {NULL}},
    };
    AUTO(redaction_destroy) struct redaction *redaction = make();
    cr_assert_eq(redaction_add_name(redaction, SPAN("x_door")), WEIR_OK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF out = BUF_INIT;
        redact_header(redaction, &out, span_text(rows[i].name), span_text(rows[i].value));
        struct span have = buf_view(&out);
        if (span_ends_with(have, SPAN("#e"))) /* a '#' of its own */
            have.size -= 2;
        expect(redaction, rows[i].why, have, rows[i].want, rows[i].secrets);
    }
}

Test(redact, queries_and_forms_by_the_names_of_their_arguments)
{
    static const struct {
        const char *why, *query, *want;
        const char *secrets[2];
    } rows[] = {
        {"the value alone goes", "a=b&apikey=abcdefgh&c", "a=b&apikey=#&c", {"abcdefgh"}},
        {"escapes are of the form, not of the secret", "token=ab%63defgh", "token=#", {"abcdefgh"}},
        {"nothing is nothing", "apikey=&key", "apikey=&key", {NULL}},
        {"a bare '&' stays", "a=1&&b=2", "a=1&&b=2", {NULL}},
    };
    AUTO(redaction_destroy) struct redaction *redaction = make();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF out = BUF_INIT;
        redact_query(redaction, &out, span_text(rows[i].query));
        expect(redaction, rows[i].why, buf_view(&out), rows[i].want, rows[i].secrets);
    }
}

Test(redact, bodies_of_json)
{
    static const struct {
        const char *why, *text, *want;
        const char *secrets[3];
    } rows[] = {
        {"a string",
         "{\"password\": \"abcdefgh\", \"a\": 1}",
         "{\"password\": \"#\", \"a\": 1}",
         {"abcdefgh"}},
        {"a number becomes text", "{\"token\":123456789}", "{\"token\":\"#\"}", {"123456789"}},
        {"all that is below",
         "{\"secret\":{\"a\":[\"abcdefgh\",{\"b\":12345678}]},\"c\":\"d\"}",
         "{\"secret\":{\"a\":[\"#\",{\"b\":\"#\"}]},\"c\":\"d\"}",
         {"abcdefgh", "12345678"}},
        {"null and booleans say nothing",
         "{\"secret\":null,\"a\":\"b\",\"token\":true,\"c\":2}",
         "{\"secret\":null,\"a\":\"b\",\"token\":true,\"c\":2}",
         {NULL}},
        {"an escaped quote ends nothing",
         "{\"password\":\"ab\\\"cdefg\",\"a\":1}",
         "{\"password\":\"#\",\"a\":1}",
         {"ab\\\"cdefg"}},
        {"one that is cut off",
         "{\"a\":1,\"password\":\"abcdef",
         "{\"a\":1,\"password\":\"#\"",
         {"abcdef"}},
        {"cut behind a backslash",
         "{\"password\":\"abcdefg\\",
         "{\"password\":\"#\"",
         {"abcdefg\\"}},
    };
    AUTO(redaction_destroy) struct redaction *redaction = make();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF out = BUF_INIT;
        redact_json(redaction, &out, span_text(rows[i].text));
        expect(redaction, rows[i].why, buf_view(&out), rows[i].want, rows[i].secrets);
    }
}

/* What is cut off anywhere is read to its end and no further, and no secret gets through whole. */
Test(redact, texts_cut_off_anywhere)
{
    static const char json[] =
        "{\"a\":[1,-2e5,{\"token\":\"secret-one\\\\\"}],\"secret\":[\"secret-two\","
        "{\"x\":\"secret-six\"}],\"\\u0022\":null,\"pwd\" : \"secret-ten\"}";
    static const char query[] = "a=b&token=secret-one%&pass=%73ecret-two&&=&sid";
    static const char *const secrets[] = {"secret-one", "secret-two", "secret-six", "secret-ten"};
    AUTO(redaction_destroy) struct redaction *redaction = make();
    for (size_t size = 0; size < sizeof(json); size++) {
        AUTO_BUF out = BUF_INIT;
        char *exact = malloc(size + 1); /* what lies behind it is found out */
        memcpy(exact, json, size);
        redaction_begin(redaction);
        redact_json(redaction, &out, span_of(exact, size));
        redact_query(redaction, &out, span_of(exact, size));
        redact_header(redaction, &out, SPAN("Set-Cookie"), span_of(exact, size));
        if (size < sizeof(query))
            redact_query(redaction, &out, span_of(query, size));
        free(exact);
        out.size = 0;
        redact_json(redaction, &out, span_of(json, size));
        for (size_t i = 0; i < COUNT_OF(secrets); i++)
            cr_expect_eq(span_search(buf_view(&out), span_text(secrets[i])), out.size, "%.*s",
                         SPAN_ARG(buf_view(&out)));
    }
}

Test(redact, a_secret_that_was_seen_goes_everywhere_until_the_next_message)
{
    static const char *const secrets[] = {"abcdefgh", "abcdefgh"};
    AUTO(redaction_destroy) struct redaction *redaction = make();
    AUTO_BUF first = BUF_INIT;
    AUTO_BUF second = BUF_INIT;
    redaction_begin(redaction);
    redaction_note(redaction, SPAN("abcdefgh"));
    redaction_note(redaction, SPAN("b")); /* would be found everywhere */
    redact_text(redaction, &first, SPAN("key abcdefgh of bob abcdefgh!"));
    expect(redaction, "wherever it stands", buf_view(&first), "key # of bob #!", secrets);
    redaction_begin(redaction);
    redact_text(redaction, &second, SPAN("abcdefgh"));
    cr_expect(span_equal(buf_view(&second), SPAN("abcdefgh")));
}

Test(redact, addresses_become_others_of_their_family)
{
    AUTO(redaction_destroy) struct redaction *redaction = make();
    AUTO_BUF four = BUF_INIT;
    AUTO_BUF again = BUF_INIT;
    AUTO_BUF six = BUF_INIT;
    AUTO_BUF list = BUF_INIT;
    redact_address(redaction, &four, SPAN("192.0.2.7"));
    redact_address(redaction, &again, SPAN("192.0.2.7"));
    redact_address(redaction, &six, SPAN("2001:db8::7"));
    cr_expect(span_starts_with(buf_view(&four), SPAN("10.")));
    cr_expect(span_equal(buf_view(&four), buf_view(&again)));
    cr_expect(span_starts_with(buf_view(&six), SPAN("fd00::")));
    redact_header(redaction, &list, SPAN("X-Forwarded-For"), SPAN("192.0.2.7, 192.0.2.7"));
    buf_text(&four, ", ");
    buf_span(&four, buf_view(&again));
    cr_expect(span_equal(buf_view(&list), buf_view(&four)), "%.*s", SPAN_ARG(buf_view(&list)));
}

/* ---- configurations */

struct store {
    weir_str address, password;
};
struct keys {
    weir_list key_names;
    struct store store;
};
struct door_key {
    weir_str key, note;
};
static const weir_field store_fields[] = {
    WEIR_STRING(struct store, address),
    WEIR_STRING(struct store, password, .flags = WEIR_SECRET, .alias = "store_password"),
};
static const weir_field keys_fields[] = {
    WEIR_LIST(struct keys, key_names, WEIR_TYPE_STRING),
    WEIR_RECORD(struct keys, store, struct store, store_fields),
};
static const weir_field credential_fields[] = {
    WEIR_STRING(struct door_key, key, .flags = WEIR_SECRET | WEIR_UNIQUE),
    WEIR_STRING(struct door_key, note),
};

static const struct plugin_schema *find(void *user, struct span name, char *why, size_t why_size)
{
    static const struct plugin_schema keys = {
        {"keys", 4}, keys_fields, 2, sizeof(struct keys), false};
    (void)user, (void)why, (void)why_size;
    return span_equal(name, keys.name) ? &keys : NULL;
}

static const struct credential_schema *find_credential(void *user, struct span collection)
{
    static const struct credential_schema schema = {.collection = {"door_keys", 9},
                                                    .plugin = {"keys", 4},
                                                    .fields = credential_fields,
                                                    .field_count = 2,
                                                    .data_size = sizeof(struct door_key),
                                                    .unique_key = {"key", 3}};
    (void)user;
    return span_equal(collection, schema.collection) ? &schema : NULL;
}

static const char yaml[] =
    "_format_version: '3.0'\n"
    "gateway: {error_log: /x}\n"
    "services:\n"
    "- {name: s, host: '${REDACT_HOST}', port: 80, routes: [{name: r, paths: [/]}]}\n"
    "consumers:\n"
    "- {username: ann, door_keys: [{key: '${REDACT_KEY}', note: yes-and-no}]}\n"
    "plugins:\n"
    "- name: keys\n"
    "  config: {key_names: [x-door], store: {address: a, password: first-password}}\n"
    "- name: keys\n"
    "  service: s\n"
    "  config: {store_password: second-password}\n";

static const struct plugin_catalog catalog = {.find = find, .find_credential = find_credential};

Test(redact, a_configuration_without_its_secrets_loads_again)
{
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    AUTO(redaction_destroy) struct redaction *redaction = make();
    AUTO_BUF text = BUF_INIT;
    struct problems *problems = problems_create(arena);
    struct config *config = NULL, *again = NULL;
    struct node *root = NULL;
    (void)setenv("REDACT_HOST", "target.test", 1);
    (void)setenv("REDACT_KEY", "key-of-ann", 1);
    cr_assert_eq(config_load(arena, span_text(yaml), "t", &catalog, problems, &config), WEIR_OK);
    cr_assert_eq(document_parse(arena, span_text(yaml), "t", problems, &root), WEIR_OK);
    cr_assert_eq(redaction_learn(redaction, root), WEIR_OK);
    cr_expect(redaction_has_name(redaction, SPAN("X-Door")), "where a policy looks for keys");
    cr_assert_eq(redact_config(redaction, root, config, &text), WEIR_OK);

    static const char *const secrets[] = {"key-of-ann", "first-password", "second-password",
                                          "error_log", "REDACT"};
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        cr_expect_eq(span_search(buf_view(&text), span_text(secrets[i])), text.size,
                     "%s is in %.*s", secrets[i], SPAN_ARG(buf_view(&text)));
    cr_assert_eq(config_load(arena, buf_view(&text), "t", &catalog, problems, &again), WEIR_OK,
                 "%.*s", SPAN_ARG(buf_view(&text)));
    cr_expect(span_equal(again->services[0]->host, SPAN("target.test")));
    cr_expect(span_equal(again->credentials[0]->key, span_text(token(redaction, "key-of-ann"))));
    const struct keys *first = again->policies[0]->self, *second = again->policies[1]->self;
    cr_expect(
        span_equal(rig_span(first->store.password), span_text(token(redaction, "first-password"))));
    cr_expect(span_equal(rig_span(second->store.password),
                         span_text(token(redaction, "second-password"))),
              "spelled as long ago");
    cr_expect(span_equal(rig_span(first->store.address), SPAN("a")));
}
