/* One table of settings; every source turns its value into text and hands it to the same readers.
 */
#include "config/settings.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>

#include "base/text.h"
#include "config/listen.h"
#include "config/schema.h"

enum setting_type {
    SETTING_BOOLEAN,
    SETTING_INTEGER,
    SETTING_TEXT,
    SETTING_LIST, /* comma separated */
    SETTING_DURATION,
    SETTING_BYTES,
    SETTING_LISTEN,
    SETTING_PORT_MAPS,
    SETTING_WORKERS /* a number or "auto" */
};

struct setting {
    const char *name;
    enum setting_type type;
    const char *def;
    size_t offset;
    const char *help;
    const char *choices; /* comma separated, of a text */
};

#define SET(name_, type_, default_, help_)                                               \
    {                                                                                    \
#name_, SETTING_##type_, default_, offsetof(struct settings, name_), help_, NULL \
    }
#define SET_MS(name_, default_, help_)                                                         \
    {                                                                                          \
#name_, SETTING_DURATION, default_, offsetof(struct settings, name_##_ms), help_, NULL \
    }
#define SET_CHOICE(name_, default_, help_, choices_)                                      \
    {                                                                                     \
#name_, SETTING_TEXT, default_, offsetof(struct settings, name_), help_, choices_ \
    }

/* clang-format off */
static const struct setting rows[] = {
    SET(proxy_listen,   LISTEN, "0.0.0.0:8000 reuseport, 0.0.0.0:8443 http2 ssl reuseport", "where clients connect: HOST:PORT or unix:/path, with ssl http2 proxy_protocol reuseport backlog=N; off"),
    SET(admin_listen,   LISTEN, "127.0.0.1:8001", "where the admin API answers"),
    SET(status_listen,  LISTEN, "127.0.0.1:8100", "where health and metrics answer"),
    SET(port_maps,      PORT_MAPS, "",     "ports as clients see them: 80:8000,443:8443"),
    SET(workers,        WORKERS, "auto",   "worker processes, auto: one per processor"),
    SET(plugin_path,    TEXT,    "",       "directories of plugins joined by ':', empty: beside the program"),
    SET(prefix,         TEXT,    "",       "directory for run-time files, empty: chosen at start"),
    SET_CHOICE(log_level, "notice",        "least level that is logged", "debug,info,notice,warn,error,crit"),
    SET(error_log,      TEXT,    "",       "file of the gateway's own log, empty: stderr"),
    SET(ssl_cert,       LIST,    "",       "default certificates (PEM files), empty: made at start"),
    SET(ssl_cert_key,   LIST,    "",       "their keys (PEM files)"),
    SET(lua_ssl_trusted_certificate, LIST, "system", "authorities (PEM files; system: the system's) of peers and targets whose certificates are verified"),
    SET(trusted_ips,    LIST,    "",       "addresses and networks whose X-Forwarded-* headers are believed"),
    SET(real_ip_header, TEXT,    "X-Real-IP", "header (or proxy_protocol) that names the client"),
    SET(real_ip_recursive, BOOLEAN, "off", "skip trusted addresses in that header from the right"),
    SET(headers,        LIST,    "server_tokens, latency_tokens, X-Kong-Request-Id", "headers added to responses; off"),
    SET(headers_upstream, LIST,  "X-Kong-Request-Id", "headers added to requests; off"),
    SET(client_max_body_size, BYTES, "0",  "largest request body, 0: no bound"),
    SET(upstream_keepalive_pool_size, INTEGER, "512", "idle connections kept to each target, per worker"),
    SET(upstream_keepalive_max_requests, INTEGER, "10000", "requests on one of them, 0: no bound"),
    SET_MS(upstream_keepalive_idle_timeout, "60s", "how long one may idle"),
    SET_CHOICE(error_default_type, "text/plain", "type of error bodies when the client does not say", "text/plain,text/html,application/json,application/xml"),
    SET(allow_debug_header, BOOLEAN, "off", "answer Kong-Debug: 1 with names of route and service"),
    SET(dns_resolver,   LIST,    "",       "name servers, empty: the system's"),
    SET_CHOICE(router_flavor, "traditional_compatible", "how routes are chosen", "traditional_compatible,traditional,expressions"),
    SET(max_connections, INTEGER, "65536", "client connections of one worker; fewer when its descriptors do not reach"),
    SET(max_memory,     BYTES,   "0",      "memory of one worker for the requests under way, 0: no bound"),
    SET(max_head_bytes, BYTES,   "32k",    "largest head of a request"),
    SET(max_uri_bytes,  BYTES,   "8k",     "longest request target"),
    SET(max_header_count, INTEGER, "100",  "most header lines of a request"),
    SET(keepalive_requests, INTEGER, "10000", "requests on one client connection, 0: no bound"),
    SET_MS(client_header_timeout, "60s",   "time for the whole head of a request"),
    SET_MS(client_body_timeout, "60s",     "longest wait for more of a request's body, or for the client to take more of an answer"),
    SET(client_min_rate, BYTES,  "100",    "bytes per second that a request's body must make once client_body_timeout is used up, 0: any"),
    SET(client_min_read_rate, BYTES, "100", "the same of a client that takes an answer, 0: any"),
    SET_MS(request_timeout, "0s",          "time from a request's first byte to the end of its answer, tunnels apart; 0: none"),
    SET_MS(expect_timeout, "1s",           "how long a target may take to say 100 Continue to who expects it, then the body is sent; 0: it is not asked"),
    SET_MS(keepalive_timeout, "75s",       "how long a client connection may idle"),
    SET_MS(drain_delay, "0s",              "after a stop signal: time to be taken out of a balancer"),
    SET_MS(drain_timeout, "30s",           "then: time for requests in flight"),
    SET_MS(watchdog,    "10s",             "a worker that hangs this long, in a plugin or elsewhere, is ended; 0: never"),
    SET(shared_memory_size, BYTES, "64m",  "memory shared by workers for counters and dictionaries"),
    SET(server_timing,  BOOLEAN, "off",    "add a Server-Timing field to each answer: time in the gateway, the target, each plugin"),
    SET(plugin_watch,   BOOLEAN, "off",    "swap a plugin by itself when its file in plugin_path changes (staging)"),
    SET_MS(swap_watch,  "10s",             "after a swap: time in which the old build comes back if the new one does worse, 0: none"),
    SET_MS(keep_previous, "1h",            "how long a rollback to the build before a swap is possible"),
    SET(quarantine_crashes, INTEGER, "3",  "crashes of a worker in one build that take it out of service, 1 to 16, 0: never"),
    SET_MS(quarantine_window, "60s",       "time within which they count"),
};
/* clang-format on */

struct load {
    struct settings *out;
    struct arena *arena;
    struct problems *problems;
    bool no_memory;
};

struct source {
    const char *path; /* "gateway.workers", "WEIR_WORKERS", "--workers" */
    struct position position;
};

static const struct setting *find_setting(struct span name, struct guess *guess)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span row = span_text(rows[i].name);
        bool same = row.size == name.size;
        for (size_t j = 0; j < name.size && same; j++) {
            char c = (char)tolower((unsigned char)name.data[j]);
            same = row.data[j] == (c == '-' ? '_' : c);
        }
        if (same)
            return &rows[i];
        if (guess != NULL)
            guess_offer(guess, row);
    }
    return NULL;
}

bool settings_known(struct span name)
{
    return find_setting(name, NULL) != NULL;
}

static bool read_boolean(struct span text, bool *out_value)
{
    struct node node = {.kind = NODE_SCALAR, .text = text};
    return node_to_boolean(&node, out_value);
}

static enum weir_err read_list(struct load *load, struct span text, struct span_list *out_list)
{
    size_t count = 1, used = 0;
    struct span item = SPAN_NONE;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == ',';
    struct span *items = arena_array(load->arena, struct span, count);
    if (items == NULL)
        return WEIR_ERR_NO_MEMORY;
    while (span_split(&text, ',', &item) && used < count) {
        item = span_trim(item);
        if (!span_is_empty(item) && !span_equal(item, SPAN("off")))
            items[used++] = item;
    }
    *out_list = (struct span_list){items, used};
    return WEIR_OK;
}

static bool is_choice(const char *choices, struct span text, struct guess *guess)
{
    struct span rest = span_text(choices), choice = SPAN_NONE;
    while (span_split(&rest, ',', &choice)) {
        if (span_equal(choice, text))
            return true;
        guess_offer(guess, choice);
    }
    return false;
}

static enum weir_err read_text(const struct setting *row, struct span text, struct span *out_text,
                               char *why, size_t why_size)
{
    struct guess guess = guess_start(text);
    if (row->choices != NULL && !is_choice(row->choices, text, &guess)) {
        int size = snprintf(why, why_size, "expected one of: %s", row->choices);
        if (guess_found(&guess) && size > 0 && (size_t)size < why_size)
            snprintf(why + size, why_size - (size_t)size, " (did you mean '%.*s'?)",
                     SPAN_ARG(guess.best));
        return WEIR_ERR_INVALID;
    }
    *out_text = text.size == 0 ? SPAN_NONE : text;
    return WEIR_OK;
}

static enum weir_err read_amount(enum setting_type type, struct span text, int64_t *out_value,
                                 char *why, size_t why_size)
{
    static const char *const expected[] = {
        [SETTING_INTEGER] = "an integer that is not negative",
        [SETTING_DURATION] = "a duration such as 500ms, 60s, 5m, 1h",
        [SETTING_BYTES] = "a size such as 64k, 10m, 1g",
        [SETTING_WORKERS] = "a number between 1 and 1024, or auto",
    };
    int64_t value = 0;
    bool valid = false;
    if (type == SETTING_DURATION)
        valid = schema_parse_duration(text, &value);
    else if (type == SETTING_BYTES)
        valid = schema_parse_bytes(text, &value);
    else if (type == SETTING_WORKERS && span_equal(text, SPAN("auto")))
        valid = true;
    else
        valid = text_to_i64(text, &value) && value >= 0 &&
                (type != SETTING_WORKERS || (value > 0 && value <= 1024));
    if (!valid) {
        snprintf(why, why_size, "expected %s", expected[type]);
        return WEIR_ERR_INVALID;
    }
    *out_value = value;
    return WEIR_OK;
}

static enum weir_err read_value(struct load *load, const struct setting *row, struct span text,
                                char *why, size_t why_size)
{
    void *out = (char *)load->out + row->offset;
    switch (row->type) {
    case SETTING_BOOLEAN:
        if (read_boolean(text, out))
            return WEIR_OK;
        snprintf(why, why_size, "expected a boolean: on or off");
        return WEIR_ERR_INVALID;
    case SETTING_TEXT:
        return read_text(row, text, out, why, why_size);
    case SETTING_LIST:
        return read_list(load, text, out);
    case SETTING_LISTEN:
        return listen_parse(load->arena, text, out, why, why_size);
    case SETTING_PORT_MAPS:
        return port_maps_parse(load->arena, text, out, why, why_size);
    case SETTING_INTEGER:
    case SETTING_DURATION:
    case SETTING_BYTES:
    case SETTING_WORKERS:
        break;
    }
    return read_amount(row->type, text, out, why, why_size);
}

static void set(struct load *load, const struct setting *row, struct span text,
                struct source source)
{
    char why[512] = "";
    struct span copy = arena_copy(load->arena, text.data == NULL ? SPAN("") : span_trim(text));
    if (copy.data == NULL) {
        load->no_memory = true;
        return;
    }
    enum weir_err err = read_value(load, row, copy, why, sizeof(why));
    if (err == WEIR_ERR_NO_MEMORY)
        load->no_memory = true;
    else if (err != WEIR_OK)
        problem_add(load->problems, PROBLEM_ERROR, source.position, source.path, "%s", why);
}

static void tell_unknown(struct load *load, enum problem_level level, const struct guess *guess,
                         struct source source)
{
    if (guess_found(guess))
        problem_add(load->problems, level, source.position, source.path,
                    "unknown setting (did you mean '%.*s'?)", SPAN_ARG(guess->best));
    else
        problem_add(load->problems, level, source.position, source.path, "unknown setting");
}

/* A YAML list says the same as the comma separated text. */
static bool node_text(struct load *load, char **environment, const struct node *node,
                      const char *path, struct buf *out)
{
    struct schema_context context = {
        .arena = load->arena, .problems = load->problems, .environment = environment};
    struct span text = SPAN_NONE;
    if (node->kind == NODE_NULL)
        return true;
    if (node->kind == NODE_SCALAR) {
        if (!schema_text(&context, node, false, path, &text))
            return false;
        buf_span(out, text);
        return true;
    }
    for (size_t i = 0; node->kind == NODE_LIST && i < node->count; i++) {
        if (node->items[i]->kind != NODE_SCALAR ||
            !node_text(load, environment, node->items[i], path, out))
            break;
        buf_text(out, i + 1 < node->count ? ", " : "");
        if (i + 1 == node->count)
            return true;
    }
    if (node->kind == NODE_LIST && node->count == 0)
        return true;
    problem_add(load->problems, PROBLEM_ERROR, node->position, path, "expected a string or a list");
    return false;
}

static void load_block(struct load *load, const struct node *block, char **environment)
{
    for (size_t i = 0; block != NULL && block->kind == NODE_MAP && i < block->count; i++) {
        const struct node *key = block->members[i].key, *value = block->members[i].value;
        struct guess guess = guess_start(key->text);
        const struct setting *row = find_setting(key->text, &guess);
        struct span path =
            arena_printf(load->arena, "gateway.%.*s", SPAN_ARG(span_first(key->text, 100)));
        if (path.data == NULL) {
            load->no_memory = true;
            return;
        }
        AUTO_BUF text = BUF_INIT;
        if (row == NULL)
            tell_unknown(load, PROBLEM_ERROR, &guess, (struct source){path.data, key->position});
        else if (node_text(load, environment, value, path.data, &text))
            set(load, row, buf_view(&text), (struct source){path.data, value->position});
        load->no_memory = load->no_memory || text.failed;
    }
}

static void load_environment(struct load *load, char **environment)
{
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        struct span variable = span_text(environment[i]);
        if (!span_starts_with(variable, SPAN("WEIR_")) ||
            span_starts_with(variable, SPAN("WEIR_TOKEN_SECRET="))) /* weir-token's */
            continue;
        struct span path = arena_copy(load->arena, span_first(variable, span_find(variable, '=')));
        if (path.data == NULL) {
            load->no_memory = true;
            return;
        }
        char lower[128];
        struct span name = span_first(span_from(path, 5), sizeof(lower));
        for (size_t j = 0; j < name.size; j++)
            lower[j] = (char)tolower((unsigned char)name.data[j]);
        struct guess guess = guess_start(span_of(lower, name.size));
        const struct setting *row = find_setting(name, &guess);
        struct source source = {path.data, {0, 0}};
        if (row == NULL)
            tell_unknown(load, PROBLEM_WARNING, &guess, source);
        else
            set(load, row, span_from(variable, path.size + 1), source);
    }
}

static void load_flags(struct load *load, const struct settings_flag *flags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct guess guess = guess_start(flags[i].name);
        const struct setting *row = find_setting(flags[i].name, &guess);
        struct span path =
            arena_printf(load->arena, "--%.*s", SPAN_ARG(span_first(flags[i].name, 100)));
        struct source source = {path.data, {0, 0}};
        if (row == NULL)
            tell_unknown(load, PROBLEM_ERROR, &guess, source);
        else
            set(load, row, flags[i].value, source);
    }
}

enum weir_err settings_load(struct settings *out, struct arena *arena, const struct node *block,
                            char **environment, const struct settings_flag *flags,
                            size_t flag_count, struct problems *problems)
{
    struct settings settings = {0};
    struct load load = {.out = &settings, .arena = arena, .problems = problems};
    static char *no_environment[] = {NULL};
    size_t errors = problems_errors(problems);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        set(&load, &rows[i], span_text(rows[i].def), (struct source){rows[i].name, {0, 0}});
    load_block(&load, block, environment == NULL ? no_environment : environment);
    load_environment(&load, environment);
    load_flags(&load, flags, flag_count);
    if (load.no_memory)
        return WEIR_ERR_NO_MEMORY;
    if (settings.ssl_cert.count != settings.ssl_cert_key.count)
        problem_add(problems, PROBLEM_ERROR, schema_find_position(block, "ssl_cert"), "ssl_cert",
                    "ssl_cert and ssl_cert_key must name the same number of files");
    if (problems_errors(problems) > errors)
        return WEIR_ERR_CONFIG;
    if (!log_level_parse(settings.log_level, &settings.level))
        settings.level = LOG_NOTICE;
    *out = settings;
    return WEIR_OK;
}

void settings_help(struct buf *out)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct setting *row = &rows[i];
        buf_printf(out, "  %-32s %s", row->name, row->help);
        if (row->choices != NULL)
            buf_printf(out, ": %s", row->choices);
        if (row->def[0] != '\0')
            buf_printf(out, " (default %s)", row->def);
        buf_byte(out, '\n');
    }
}
