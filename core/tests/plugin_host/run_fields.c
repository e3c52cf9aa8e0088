/* What plugins read and edit of an exchange: header fields, the query, facts, overrides, identity.
 */
#include <criterion/criterion.h>

#include "run_support.h"

TestSuite(run_fields, .timeout = 60);

#define REQUEST WEIR_SIDE_REQUEST
#define RESPONSE WEIR_SIDE_RESPONSE

/* One rig for each row; the row runs inside a hook. */
static struct rig rig;

static weir_header_id intern(const char *name)
{
    return call_header_intern(rig.table, rig_str(name));
}

static void open_with(const char *const (*headers)[2])
{
    rig_open(&rig);
    rig_begin(&rig);
    for (size_t i = 0; headers != NULL && headers[i][0] != NULL; i++)
        cr_assert_eq(http_headers_add(&rig.request.head.headers, HTTP_HEADER_UNKNOWN,
                                      span_text(headers[i][0]), span_text(headers[i][1])),
                     WEIR_OK);
}

static struct span fields_text(const struct http_headers *headers)
{
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < headers->count; i++) {
        buf_printf(&text, "%s%.*s=%.*s", i == 0 ? "" : " ", SPAN_ARG(headers->items[i].name),
                   SPAN_ARG(headers->items[i].value));
    }
    return text.size == 0 ? SPAN("") : arena_copy(rig.arena, buf_view(&text));
}

/* ---- header fields */

static const char *const sent[][2] = {{"Host", "a.test"}, {"X-One", "1"}, {"Accept", "x"},
                                      {"x-one", "2"},     {"Via", "v"},   {"Content-Length", "3"},
                                      {NULL, NULL}};

struct field_row {
    const char *why;
    char call; /* s, a, r: set, add, remove */
    const char *name, *value;
    weir_status want;
    const char *fields; /* afterwards; NULL: as before */
};

static const struct field_row *field_row;

static const struct field_row field_rows[] = {
    {"set replaces all of that name, in the place of the first", 's', "x-one", "9", WEIR_SUCCESS,
     "Host=a.test x-one=9 Accept=x Via=v Content-Length=3"},
    {"set of a new one adds it", 's', "x-new", "n", WEIR_SUCCESS,
     "Host=a.test X-One=1 Accept=x x-one=2 Via=v Content-Length=3 x-new=n"},
    {"set of a well-known one", 's', "Accept", "y", WEIR_SUCCESS,
     "Host=a.test X-One=1 Accept=y x-one=2 Via=v Content-Length=3"},
    {"add keeps the others", 'a', "X-ONE", "3", WEIR_SUCCESS,
     "Host=a.test X-One=1 Accept=x x-one=2 Via=v Content-Length=3 X-ONE=3"},
    {"remove takes all of that name", 'r', "x-One", NULL, WEIR_SUCCESS,
     "Host=a.test Accept=x Via=v Content-Length=3"},
    {"remove of none", 'r', "x-two", NULL, WEIR_NOT_FOUND, NULL},
    {"an empty value is one", 's', "via", "", WEIR_SUCCESS,
     "Host=a.test X-One=1 Accept=x x-one=2 via= Content-Length=3"},
    {"CR", 's', "x-one", "a\rb", WEIR_INVALID, NULL},
    {"LF", 'a', "x-one", "a\nb", WEIR_INVALID, NULL},
    {"another control byte", 's', "via", "a\x01", WEIR_INVALID, NULL},
    {"framing is the gateway's", 's', "content-length", "9", WEIR_INVALID, NULL},
    {"framing", 'r', "content-length", NULL, WEIR_INVALID, NULL},
    {"framing", 'a', "transfer-encoding", "chunked", WEIR_INVALID, NULL},
    {"framing", 's', "connection", "via", WEIR_INVALID, NULL},
    {"framing", 's', "upgrade", "h2c", WEIR_INVALID, NULL},
    {"framing", 's', "te", "trailers", WEIR_INVALID, NULL},
    {"framing", 's', "trailer", "x", WEIR_INVALID, NULL},
    {"framing", 's', "keep-alive", "x", WEIR_INVALID, NULL},
    {"no second Host", 'a', "host", "b.test", WEIR_INVALID, NULL},
    {"nor none", 'r', "host", NULL, WEIR_INVALID, NULL},
    {"a Host that is no authority", 's', "host", "a b", WEIR_INVALID, NULL},
};

static weir_verdict edit_field(weir_request *request, struct actor *actor)
{
    (void)actor;
    const struct field_row *row = field_row;
    /* The host copies: what it was given is gone afterwards. */
    char value[32] = "";
    size_t size = row->value == NULL ? 0 : strlen(row->value);
    memcpy(value, row->value == NULL ? "" : row->value, size);
    weir_str text = {value, size};
    weir_header_id id = intern(row->name);
    cr_expect_neq(id, 0U);
    weir_status status = row->call == 's'   ? call_header_set(request, REQUEST, id, text)
                         : row->call == 'a' ? call_header_add(request, REQUEST, id, text)
                                            : call_header_remove(request, REQUEST, id);
    memset(value, '#', sizeof(value));
    cr_expect_eq(status, row->want, "%s %s: %u", row->why, row->name, status);
    return WEIR_NEXT;
}

Test(run_fields, edits)
{
    for (size_t i = 0; i < COUNT_OF(field_rows); i++) {
        field_row = &field_rows[i];
        open_with(sent);
        struct span before = fields_text(&rig.request.head.headers);
        cr_expect_eq(rig_act(edit_field, PHASE_ACCESS, &rig), PHASE_NEXT);
        expect_text(field_row->why, fields_text(&rig.request.head.headers),
                    field_row->fields == NULL ? before.data : field_row->fields);
        rig_close(&rig);
    }
}

static weir_verdict read_fields(weir_request *request, struct actor *actor)
{
    (void)actor;
    weir_header_id one = intern("x-one"), none = intern("x-none");
    expect_text("first", rig_span(call_header_get(request, REQUEST, one, 0)), "1");
    expect_text("second", rig_span(call_header_get(request, REQUEST, one, 1)), "2");
    expect_text("third", rig_span(call_header_get(request, REQUEST, one, 2)), NULL);
    expect_text("none", rig_span(call_header_get(request, REQUEST, none, 0)), NULL);
    expect_text("well-known",
                rig_span(call_header_get(request, REQUEST, HTTP_HEADER_CONTENT_LENGTH, 0)), "3");
    expect_text("only one", rig_span(call_header_get(request, REQUEST, HTTP_HEADER_VIA, 1)), NULL);
    expect_text("id 0", rig_span(call_header_get(request, REQUEST, 0, 0)), NULL);
    expect_text("an id nobody gave", rig_span(call_header_get(request, REQUEST, 999999, 0)), NULL);
    expect_text("no such side", rig_span(call_header_get(request, 2, one, 0)), NULL);
    cr_expect_eq(call_header_set(request, 2, one, WEIR_LIT("x")), WEIR_PHASE);
    cr_expect_eq(call_header_set(request, REQUEST, 999999, WEIR_LIT("x")), WEIR_INVALID);
    cr_expect_eq(call_header_set(request, REQUEST, HTTP_HEADER_HOST, WEIR_LIT("b.test:81")),
                 WEIR_SUCCESS);
    expect_text("what the client sent stays",
                rig_span(call_header_get(request, REQUEST, HTTP_HEADER_HOST, 0)), "a.test");
    return WEIR_NEXT;
}

Test(run_fields, reading)
{
    open_with(sent);
    cr_expect_eq(call_header_set(&rig.request, REQUEST, HTTP_HEADER_VIA, WEIR_LIT("x")), WEIR_PHASE,
                 "outside of a hook");
    (void)rig_act(read_fields, PHASE_ACCESS, &rig);
    expect_text("set(HOST) is an override", rig.request.host_override, "b.test:81");
    rig_close(&rig);
}

/* ---- fields of a response that is still to come */

static weir_verdict set_early(weir_request *request, struct actor *actor)
{
    (void)actor;
    weir_header_id limit = intern("x-limit");
    expect_text("nothing yet", rig_span(call_header_get(request, RESPONSE, limit, 0)), NULL);
    cr_expect_eq(call_header_remove(request, RESPONSE, limit), WEIR_NOT_FOUND);
    cr_expect_eq(call_header_set(request, RESPONSE, limit, WEIR_LIT("1")), WEIR_SUCCESS);
    cr_expect_eq(call_header_set(request, RESPONSE, limit, WEIR_LIT("2")), WEIR_SUCCESS);
    cr_expect_eq(call_header_add(request, RESPONSE, HTTP_HEADER_VARY, WEIR_LIT("a")), WEIR_SUCCESS);
    cr_expect_eq(call_header_add(request, RESPONSE, HTTP_HEADER_VARY, WEIR_LIT("b")), WEIR_SUCCESS);
    cr_expect_eq(call_header_set(request, RESPONSE, HTTP_HEADER_SERVER, WEIR_LIT("mine")),
                 WEIR_SUCCESS);
    cr_expect_eq(call_header_set(request, RESPONSE, HTTP_HEADER_CONTENT_LENGTH, WEIR_LIT("1")),
                 WEIR_INVALID);
    expect_text("it can be read back", rig_span(call_header_get(request, RESPONSE, limit, 0)), "2");
    cr_expect_eq(call_status_set(request, 418), WEIR_PHASE);
    return WEIR_NEXT;
}

Test(run_fields, set_before_there_is_a_response)
{
    open_with(NULL);
    cr_expect_eq(request_response_started(&rig.request), WEIR_OK, "nothing to add");
    (void)rig_act(set_early, PHASE_ACCESS, &rig);
    struct http_headers *headers = &rig.request.response.headers;
    cr_assert_eq(http_headers_add(headers, HTTP_HEADER_SERVER, SPAN("Server"), SPAN("theirs")),
                 WEIR_OK);
    cr_assert_eq(http_headers_add(headers, HTTP_HEADER_UNKNOWN, SPAN("X-Limit"), SPAN("8")),
                 WEIR_OK);
    rig.request.has_response = true;
    cr_expect_eq(request_response_started(&rig.request), WEIR_OK);
    expect_text("added to what the target sent, but never a second Server", fields_text(headers),
                "Server=theirs X-Limit=8 x-limit=2 vary=a vary=b");
    rig_close(&rig);
}

static weir_verdict set_many(weir_request *request, struct actor *actor)
{
    (void)actor;
    weir_status status = WEIR_SUCCESS;
    size_t count = 0;
    for (; status == WEIR_SUCCESS && count < 1000; count++)
        status = call_header_add(request, RESPONSE, HTTP_HEADER_VARY, WEIR_LIT("x"));
    cr_expect_eq(status, WEIR_FULL);
    cr_expect_gt(count, 100U);
    return WEIR_NEXT;
}

Test(run_fields, early_ones_are_bounded)
{
    open_with(NULL);
    (void)rig_act(set_many, PHASE_ACCESS, &rig);
    rig_close(&rig);
}

static weir_verdict edit_response(weir_request *request, struct actor *actor)
{
    (void)actor;
    cr_expect_eq(call_header_set(request, RESPONSE, HTTP_HEADER_VIA, WEIR_LIT("x")), WEIR_SUCCESS);
    cr_expect_eq(call_header_set(request, REQUEST, HTTP_HEADER_VIA, WEIR_LIT("x")), WEIR_PHASE,
                 "the request is gone already");
    cr_expect_eq(call_status_set(request, 418), WEIR_SUCCESS);
    cr_expect_eq(call_status_set(request, 199), WEIR_INVALID);
    cr_expect_eq(call_status_set(request, 1000), WEIR_INVALID);
    cr_expect_eq(call_query_set(request, WEIR_LIT("a"), WEIR_LIT("b")), WEIR_PHASE);
    cr_expect_eq(call_path_set(request, WEIR_LIT("/x")), WEIR_PHASE);
    return WEIR_NEXT;
}

Test(run_fields, in_response_headers)
{
    open_with(NULL);
    rig.request.has_response = rig.request.from_target = true;
    rig.request.response.status = 200;
    (void)rig_act(edit_response, PHASE_RESPONSE_HEADERS, &rig);
    cr_expect_eq(rig.request.response.status, 418);
    expect_text("at once", fields_text(&rig.request.response.headers), "via=x");
    rig_close(&rig);
}

/* ---- the query */

struct query_row {
    const char *why, *query, *name, *value; /* value NULL: remove */
    weir_status want;
    const char *after; /* NULL: as before */
};

static const struct query_row *query_row;

static const struct query_row query_rows[] = {
    {"Kong's own case: the rest is encoded anew", "apikey=alice-key&x=1&y=%20z", "apikey", NULL,
     WEIR_SUCCESS, "x=1&y=+z"},
    {"the only argument: a bare '?' remains", "apikey=k", "apikey", NULL, WEIR_SUCCESS, ""},
    {"all of that name", "a=1&b=2&a=3&a", "a", NULL, WEIR_SUCCESS, "b=2"},
    {"none of that name: nothing is touched", "b=%20&&c", "a", NULL, WEIR_NOT_FOUND, NULL},
    {"no query", NULL, "a", NULL, WEIR_NOT_FOUND, NULL},
    {"names are compared decoded", "%61+b=1&c", "a b", NULL, WEIR_SUCCESS, "c"},
    {"case matters", "A=1", "a", NULL, WEIR_NOT_FOUND, NULL},
    {"without '=' it stays so, and with it too", "x&flag&e=", "x", NULL, WEIR_SUCCESS, "flag&e="},
    {"reserved bytes are encoded", "x&r=a/b:c%3f*'&s=-_.~", "x", NULL, WEIR_SUCCESS,
     "r=a%2Fb%3Ac%3F%2A%27&s=-_.~"},
    {"a broken escape is text", "x&b=%zz%", "x", NULL, WEIR_SUCCESS, "b=%25zz%25"},
    {"a literal plus", "x&b=1%2B1+2", "x", NULL, WEIR_SUCCESS, "b=1%2B1+2"},
    {"empty pieces go", "&&x&&b&", "x", NULL, WEIR_SUCCESS, "b"},
    {"set: in the place of the first, the others go", "a=1&b=2&a=3", "a", "n w", WEIR_SUCCESS,
     "a=n+w&b=2"},
    {"set: a new one at the end", "b=2", "a", "&=", WEIR_SUCCESS, "b=2&a=%26%3D"},
    {"set: without a query", NULL, "a", "1", WEIR_SUCCESS, "a=1"},
    {"set: behind a bare '?'", "", "a", "", WEIR_SUCCESS, "a="},
    {"set: no name", "b", "", "1", WEIR_INVALID, NULL},
};

static weir_verdict edit_query(weir_request *request, struct actor *actor)
{
    (void)actor;
    const struct query_row *row = query_row;
    weir_status status = row->value == NULL
                             ? call_query_remove(request, rig_str(row->name))
                             : call_query_set(request, rig_str(row->name), rig_str(row->value));
    cr_expect_eq(status, row->want, "%s: %u", row->why, status);
    return WEIR_NEXT;
}

Test(run_fields, query_edits)
{
    for (size_t i = 0; i < COUNT_OF(query_rows); i++) {
        query_row = &query_rows[i];
        open_with(NULL);
        rig.request.query = span_text(query_row->query);
        (void)rig_act(edit_query, PHASE_ACCESS, &rig);
        expect_text(query_row->why, rig.request.query,
                    query_row->after == NULL ? query_row->query : query_row->after);
        cr_expect_eq(rig.request.query_edited, query_row->after != NULL, "%s", query_row->why);
        rig_close(&rig);
    }
}

Test(run_fields, query_get)
{
    static const struct {
        const char *why, *query, *name;
        size_t nth;
        const char *want;
    } gets[] = {
        {"first", "a=1&a=2", "a", 0, "1"},        {"second", "a=1&a=2", "a", 1, "2"},
        {"no third", "a=1&a=2", "a", 2, NULL},    {"no value is empty", "a&b", "a", 0, ""},
        {"an empty one too", "a=&b", "a", 0, ""}, {"decoded", "a=%41+b", "a", 0, "A b"},
        {"its name too", "%61=1", "a", 0, "1"},   {"absent", "b=1", "a", 0, NULL},
        {"no query", NULL, "a", 0, NULL},         {"a value with '='", "a=b=c", "a", 0, "b=c"},
    };
    for (size_t i = 0; i < COUNT_OF(gets); i++) {
        open_with(NULL);
        rig.request.query = span_text(gets[i].query);
        expect_text(gets[i].why,
                    rig_span(call_query_get(&rig.request, rig_str(gets[i].name), gets[i].nth)),
                    gets[i].want);
        rig_close(&rig);
    }
}

/* ---- facts and overrides */

Test(run_fields, facts)
{
    static const struct span names[] = {{NULL, 0}, {"id", 2}, {NULL, 0}};
    static const struct span values[] = {{"/u/7", 4}, {"7", 1}, {NULL, 0}};
    static const char *const headers[][2] = {{"Host", "A.Test:81"}, {NULL, NULL}};
    struct route route = {.id = SPAN("rid"), .name = SPAN("rname")};
    struct service service = {.id = SPAN("sid")};
    struct credential credential = {.id = SPAN("cid")};
    open_with(headers);
    weir_request *request = &rig.request;
    request->head.method = SPAN("GET");
    request->head.minor_version = 1;
    request->head.target = SPAN("/u/7?x");
    request->path = SPAN("/u/7");
    request->query = SPAN("x");
    request->capture_names = names;
    request->captures = values;
    request->capture_count = 3;
    request->started_us = 1;
    request->picked_us = 5001;
    request->answered_us = 12001;
    request->finished_us = 20001;
    memcpy(request->id, "0123456789abcdef0123456789abcdef", 32);
    expect_text("no route yet", rig_span(call_request_text(request, WEIR_TEXT_ROUTE_ID)), NULL);
    request->route = &route;
    request->service = &service;
    request->credential = &credential;
    request->attempts[0].ip = SPAN("10.0.0.1");
    request->attempts[1].ip = SPAN("10.0.0.2");
    request->attempt_count = 2;
    static const struct {
        uint32_t what;
        const char *want;
    } texts[] = {
        {WEIR_TEXT_METHOD, "GET"},
        {WEIR_TEXT_HOST, "a.test"},
        {WEIR_TEXT_PATH, "/u/7"},
        {WEIR_TEXT_RAW_TARGET, "/u/7?x"},
        {WEIR_TEXT_QUERY, "x"},
        {WEIR_TEXT_ROUTE_ID, "rid"},
        {WEIR_TEXT_ROUTE_NAME, "rname"},
        {WEIR_TEXT_SERVICE_ID, "sid"},
        {WEIR_TEXT_SERVICE_NAME, NULL},
        {WEIR_TEXT_CREDENTIAL_ID, "cid"},
        {WEIR_TEXT_TARGET_IP, "10.0.0.2"},
        {WEIR_TEXT_UPSTREAM_PATH, NULL},
        {WEIR_TEXT_SCHEME, NULL},
        {0, NULL},
        {WEIR_TEXT_REQUEST_ID, "0123456789abcdef0123456789abcdef"},
        {9999, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char why[32];
        (void)snprintf(why, sizeof(why), "text %u", texts[i].what);
        expect_text(why, rig_span(call_request_text(request, texts[i].what)), texts[i].want);
    }
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_HTTP_VERSION), 11);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_STATUS), WEIR_UNSET);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_SOURCE), WEIR_UNSET);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_GATEWAY_MS), 5);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_TARGET_MS), 7);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_TOTAL_MS), 20);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_BYTES_IN), 11);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_BYTES_OUT), 22);
    cr_expect_eq(call_request_number(request, 9999), WEIR_UNSET);
    request->has_response = true;
    request->response.status = 404;
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_STATUS), 404);
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_SOURCE), WEIR_SOURCE_GATEWAY);
    request->reply.by_policy = true;
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_SOURCE), WEIR_SOURCE_PLUGIN);
    request->from_target = true;
    cr_expect_eq(call_request_number(request, WEIR_NUMBER_SOURCE), WEIR_SOURCE_SERVICE);
    expect_text("by name", rig_span(call_capture(request, WEIR_LIT("id"))), "7");
    expect_text("by number", rig_span(call_capture(request, WEIR_LIT("0"))), "/u/7");
    expect_text("a group that took no part", rig_span(call_capture(request, WEIR_LIT("2"))), NULL);
    expect_text("no such number", rig_span(call_capture(request, WEIR_LIT("3"))), NULL);
    expect_text("no such name", rig_span(call_capture(request, WEIR_LIT("no"))), NULL);
    rig_close(&rig);
}

static weir_verdict overrides(weir_request *request, struct actor *actor)
{
    (void)actor;
    cr_expect_eq(call_method_set(request, WEIR_LIT("PUT")), WEIR_SUCCESS);
    cr_expect_eq(call_method_set(request, WEIR_LIT("P T")), WEIR_INVALID);
    cr_expect_eq(call_path_set(request, WEIR_LIT("/new")), WEIR_SUCCESS);
    static const char *const bad_paths[] = {"", "x", "/a?b", "/a#b", "/a b", "/a\r\nb"};
    for (size_t i = 0; i < COUNT_OF(bad_paths); i++)
        cr_expect_eq(call_path_set(request, rig_str(bad_paths[i])), WEIR_INVALID, "'%s'",
                     bad_paths[i]);
    cr_expect_eq(call_host_set(request, WEIR_LIT("h.test")), WEIR_SUCCESS);
    cr_expect_eq(call_host_set(request, WEIR_LIT("h\r\nx: y")), WEIR_INVALID);
    cr_expect_eq(call_target_set(request, WEIR_LIT("::1"), 80), WEIR_SUCCESS);
    cr_expect_eq(call_target_set(request, WEIR_LIT("a/b"), 80), WEIR_INVALID);
    cr_expect_eq(call_target_set(request, WEIR_LIT("a"), 0), WEIR_INVALID);
    cr_expect_eq(call_respond(request, 100, WEIR_LIT(""), WEIR_LIT("")), WEIR_INVALID);
    cr_expect_eq(call_respond(request, 200, WEIR_LIT("a\nb"), WEIR_LIT("")), WEIR_INVALID);
    return WEIR_NEXT;
}

Test(run_fields, overrides)
{
    open_with(NULL);
    cr_expect_eq(call_respond(&rig.request, 200, WEIR_LIT("a"), WEIR_LIT("")), WEIR_PHASE);
    (void)rig_act(overrides, PHASE_ACCESS, &rig);
    expect_text("method", rig.request.method_override, "PUT");
    expect_text("path", rig.request.path_override, "/new");
    expect_text("host", rig.request.host_override, "h.test");
    expect_text("target", rig.request.target_host, "::1");
    cr_expect_eq(rig.request.target_port, 80);
    rig_close(&rig);
}

/* ---- identity */

static const char *const spoofed[][2] = {
    {"X-Consumer-ID", "admin"},        {"X-Consumer-Username", "admin"},
    {"X-Consumer-Custom-ID", "admin"}, {"X-Credential-Identifier", "admin"},
    {"X-Anonymous-Consumer", "true"},  {"X-Consumer-Groups", "admin"},
    {"x-consumer-username", "admin2"}, {NULL, NULL}};

struct identity_row {
    const char *why;
    bool has_consumer;
    struct span username, custom_id;
    const char *identifier;
    weir_status want;
    const char *fields;
};

static const struct identity_row *identity_row;

static const struct identity_row identity_rows[] = {
    {"all set, the mark of the anonymous removed, groups pass",
     true,
     {"ann", 3},
     {"c7", 2},
     "key",
     WEIR_SUCCESS,
     "X-Consumer-ID=uuid X-Consumer-Username=ann X-Consumer-Custom-ID=c7 "
     "X-Credential-Identifier=key X-Consumer-Groups=admin"},
    {"null ones are removed",
     true,
     {NULL, 0},
     {"c7", 2},
     NULL,
     WEIR_SUCCESS,
     "X-Consumer-ID=uuid X-Consumer-Custom-ID=c7 X-Consumer-Groups=admin"},
    {"an identity without consumer",
     false,
     {NULL, 0},
     {NULL, 0},
     "key",
     WEIR_SUCCESS,
     "X-Credential-Identifier=key X-Consumer-Groups=admin"},
    {"a name that cannot be a field: nobody is claimed",
     true,
     {"a\nb", 3},
     {NULL, 0},
     "key",
     WEIR_INVALID,
     "X-Consumer-Groups=admin"},
};

static weir_verdict identify(weir_request *request, struct actor *actor)
{
    (void)actor;
    static struct consumer consumer;
    static struct credential credential;
    consumer = (struct consumer){.id = SPAN("uuid"),
                                 .username = identity_row->username,
                                 .custom_id = identity_row->custom_id};
    const void *who = identity_row->has_consumer ? &consumer : NULL, *with = &credential;
    weir_status status = call_authenticate(request, who, with, rig_str(identity_row->identifier));
    cr_expect_eq(status, identity_row->want, "%s", identity_row->why);
    /* No policies here to choose a consumer's chain from. */
    request->consumer_changed = false;
    cr_expect_eq(request->authenticated, status == WEIR_SUCCESS);
    if (status == WEIR_SUCCESS)
        cr_expect_eq((const void *)call_request_consumer(request), who);
    cr_expect_eq(call_authenticate_anonymous(request, WEIR_LIT("nobody")), WEIR_NOT_FOUND);
    return WEIR_NEXT;
}

Test(run_fields, identity)
{
    for (size_t i = 0; i < COUNT_OF(identity_rows); i++) {
        identity_row = &identity_rows[i];
        open_with(spoofed);
        cr_expect_eq(call_authenticate(&rig.request, NULL, NULL, WEIR_LIT("x")), WEIR_PHASE);
        cr_expect_eq(rig_act(identify, PHASE_ACCESS, &rig), PHASE_NEXT);
        expect_text(identity_row->why, fields_text(&rig.request.head.headers),
                    identity_row->fields);
        rig_close(&rig);
    }
}
