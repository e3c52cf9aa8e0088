/* The index against the plainest reading of the rules: every entry tried, the highest priority
 * kept. Nothing here uses the router's own code. Random configurations over few words, so that
 * hosts, paths and ties collide all the time. */
#include <criterion/criterion.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <strings.h>

#include "recorded.h"

static const char *const host_words[] = {
    "a.test", "b.test",    "x.a.test",  "*.test",      "*.a.test", "a.*",       "x.a.*",
    "A.Test", "a.test:81", "*.test:81", "b.test:8000", "x.*:82",   "*.x.a.test"};
static const char *const path_words[] = {"/",      "/a",  "/b",   "/ab",  "/a/",  "/a/b",
                                         "/a/b/c", "/aa", "/abc", "/b/a", "/a/c", "/c"};
static const char *const regex_words[] = {
    "~/a",         "~/a+$",      "~/(a|b)/c?", "~/a|/c",     "~/\\w+/b",
    "~/a/(?<n>b)", "~/[^/]+$",   "~/ab*c",     "~/a/?$",     "~/(?i)A/B",
    "~/b\\/a",     "~/a{1,2}b?", "~/.*c",      "~/(?:a|ab)", "~/a(?:/b)*(/c)?$"};
static const char *const method_words[] = {"GET", "POST", "PUT"};
static const char *const header_words[] = {"X-A: 1",    "X-A: 2", "X-B: v1",
                                           "X-B: ~*^v", "x_c: 1", "X-A: ~*[23]"};
static const char *const sni_words[] = {"s.test", "*.test", "t.test.", "s.*"};
static const char *const ask_hosts[] = {
    "a.test",    "b.test",      "x.a.test",  "y.x.a.test", "A.TEST", "a.org", "x.a.org", ".test",
    "a.test:81", "b.test:8000", "q.test:81", "x.y:82",     "none",   "",      "a.test:", "a."};
static const char *const ask_paths[] = {"/",      "/a",  "/b",   "/ab",      "/abc", "/a/", "/a/b",
                                        "/a/b/c", "/aa", "/aab", "/a/b/c/d", "/b/a", "/c",  "/x/c",
                                        "/A/B",   "/q",  "/a/c", "/abbbc",   "/b/c"};
static const char *const ask_headers[] = {NULL,     "X-A: 1",         "x-a: 2\nX-B: V1", "X_B: v9",
                                          "X-C: 1", "X-A: 3\nX-A: 1", "X-B: w\nx-c: 1"};
static const char *const ask_snis[] = {NULL, "s.test", "t.test", "S.org", "q"};

static uint64_t state = 1;
static size_t below(size_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % bound;
}
#define PICK(words) (words)[below(COUNT_OF(words))]

static const char *pick_lines(struct arena *arena, const char *const *words, size_t count,
                              size_t most)
{
    struct span text = span_text(words[below(count)]);
    for (size_t i = below(most); i > 0; i--)
        text = arena_printf(arena, "%.*s\n%s", SPAN_ARG(text), words[below(count)]);
    return text.data;
}
#define PICK_LINES(arena, words, most) pick_lines((arena), (words), COUNT_OF(words), (most))

static struct route_row random_row(struct arena *arena, size_t index)
{
    struct route_row row = {.port = 1};
    row.name = arena_printf(arena, "r%zu", index).data;
    row.id = arena_printf(arena, "%08zx", (size_t)below(1u << 30)).data;
    row.hosts = below(2) == 0 ? PICK_LINES(arena, host_words, 3) : NULL;
    row.methods = below(4) == 0 ? PICK_LINES(arena, method_words, 2) : NULL;
    row.headers = below(5) == 0 ? PICK_LINES(arena, header_words, 3) : NULL;
    row.snis = below(8) == 0 ? PICK_LINES(arena, sni_words, 2) : NULL;
    row.regex_priority = (int64_t)below(3);
    row.disabled = below(20) == 0;
    size_t kind = below(8);
    if (kind < 4)
        row.paths = PICK_LINES(arena, path_words, 4);
    else if (kind < 6)
        row.paths = PICK_LINES(arena, regex_words, 3);
    else if (kind == 6)
        row.paths = arena_printf(arena, "%s\n%s", PICK(path_words), PICK(regex_words)).data;
    return row;
}

/* ---- the oracle ------------------------------------------------------------------------------ */

static bool regex_fits(const char *prefix, struct span pattern, uint32_t options,
                       struct span subject, size_t *out_size)
{
    char text[128];
    int error;
    PCRE2_SIZE at;
    snprintf(text, sizeof(text), "%s%.*s", prefix, SPAN_ARG(pattern));
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
    cr_assert_not_null(code);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    bool fits = pcre2_match(code, (PCRE2_SPTR)subject.data, subject.size, 0, 0, data, NULL) > 0;
    if (fits)
        *out_size = pcre2_get_ovector_pointer(data)[1] - pcre2_get_ovector_pointer(data)[0];
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    return fits;
}

static bool fold_equal(struct span a, struct span b)
{
    return a.size == b.size && strncasecmp(a.data, b.data, a.size) == 0;
}

/* Text before a last ":digits", and the number, -1 without. */
static long cut_port(struct span *host)
{
    const char *colon = host->size == 0 ? NULL : memchr(host->data, ':', host->size);
    if (colon == NULL || colon + 1 == host->data + host->size)
        return -1;
    host->size = (size_t)(colon - host->data);
    return strtol(colon + 1, NULL, 10);
}

static bool name_fits(struct span wanted, struct span name)
{
    size_t fixed = wanted.size - 1;
    if (wanted.data[0] == '*')
        return name.size >= fixed &&
               fold_equal(span_from(wanted, 1), span_from(name, name.size - fixed));
    if (wanted.data[fixed] == '*')
        return name.size >= fixed && fold_equal(span_first(wanted, fixed), span_first(name, fixed));
    return fold_equal(wanted, name);
}

static bool hosts_fit(const struct route *route, const struct route_query *query)
{
    struct span name = query->host;
    long port = cut_port(&name);
    if (port < 0)
        port = query->port;
    for (size_t i = 0; i < route->hosts.count; i++) {
        struct span wanted = route->hosts.items[i];
        long wanted_port = cut_port(&wanted);
        if (name_fits(wanted, name) && (wanted_port < 0 || wanted_port == port))
            return true;
    }
    return route->hosts.count == 0;
}

static bool same_header_name(struct span a, struct span b)
{
    for (size_t i = 0; i < a.size && a.size == b.size; i++) {
        char x = a.data[i] == '_' ? '-' : a.data[i], y = b.data[i] == '_' ? '-' : b.data[i];
        if (strncasecmp(&x, &y, 1) != 0)
            return false;
    }
    return a.size == b.size;
}

static bool one_header_fits(const struct named_list *wanted, const struct route_query *query)
{
    size_t size;
    for (size_t i = 0; i < query->headers->count; i++) {
        struct span value = query->headers->items[i].value;
        if (!same_header_name(wanted->name, query->headers->items[i].name))
            continue;
        for (size_t j = 0; j < wanted->values.count; j++) {
            struct span text = wanted->values.items[j];
            if (span_starts_with(text, SPAN("~*"))
                    ? regex_fits("", span_from(text, 2), PCRE2_CASELESS, value, &size)
                    : fold_equal(text, value))
                return true;
        }
    }
    return false;
}

static bool fields_fit(const struct route *route, const struct route_query *query)
{
    bool method = route->methods.count == 0, sni = route->snis.count == 0 || !query->tls;
    for (size_t i = 0; i < route->methods.count; i++)
        method |= span_equal(route->methods.items[i], query->method);
    for (size_t i = 0; i < route->snis.count; i++) {
        struct span wanted = route->snis.items[i];
        wanted.size -= wanted.data[wanted.size - 1] == '.';
        sni |= name_fits(wanted, query->sni);
    }
    for (size_t i = 0; i < route->header_count; i++) {
        if (!one_header_fits(&route->headers[i], query))
            return false;
    }
    return method && sni && hosts_fit(route, query);
}

struct answer {
    const struct route *route;
    uint64_t priority;
    size_t matched;
};

static uint64_t base_priority(const struct route *route)
{
    uint64_t fields = 0, plain = route->hosts.count != 0;
    fields += route->methods.count != 0;
    fields += route->hosts.count != 0;
    fields += route->header_count != 0;
    fields += route->paths.count != 0;
    fields += route->snis.count != 0;
    for (size_t i = 0; i < route->hosts.count; i++)
        plain &= span_find(route->hosts.items[i], '*') == route->hosts.items[i].size;
    return fields << 61 | plain << 60 | (uint64_t)route->header_count << 52;
}

static void offer(struct answer *best, const struct route *route, uint64_t priority, size_t matched)
{
    if (best->route == NULL || priority > best->priority ||
        (priority == best->priority && route != best->route &&
         strcmp(route->id.data, best->route->id.data) > 0))
        *best = (struct answer){route, priority, matched};
}

static void offer_paths(struct answer *best, const struct route *route, struct span path)
{
    uint64_t base = base_priority(route);
    bool regex_found = false;
    if (route->paths.count == 0)
        offer(best, route, base, 0);
    for (size_t i = 0; i < route->paths.count; i++) {
        struct span wanted = route->paths.items[i];
        size_t size = 0;
        if (wanted.data[0] != '~') {
            if (span_starts_with(path, wanted))
                offer(best, route, base | wanted.size, wanted.size);
        } else if (!regex_found && regex_fits("^", span_from(wanted, 1), PCRE2_UTF, path, &size)) {
            regex_found = true; /* the first that fits says what was matched */
            offer(best, route, base | UINT64_C(1) << 51 | (uint64_t)route->regex_priority << 19,
                  size);
        }
    }
}

static struct answer naive_match(const struct config *config, const struct route_query *query)
{
    struct answer best = {NULL, 0, 0};
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route *route = config->routes[i];
        if (route->service->enabled && fields_fit(route, query))
            offer_paths(&best, route, query->path);
    }
    return best;
}

/* ---------------------------------------------------------------------------------------------- */

static void compare_once(struct arena *arena, struct router *router, const struct config *config,
                         size_t round)
{
    struct query_room room;
    struct request_row row = {.method = PICK(method_words),
                              .host = PICK(ask_hosts),
                              .path = PICK(ask_paths),
                              .headers = PICK(ask_headers),
                              .tls = below(3) == 0};
    row.sni = row.tls ? PICK(ask_snis) : NULL;
    struct route_query query = query_of(arena, &row, &room);
    struct answer wanted = naive_match(config, &query);
    struct route_match match;
    bool found = router_match(router, &query, &match);
    cr_assert_eq(found, wanted.route != NULL, "round %zu: %s %s %s", round, row.method, row.host,
                 row.path);
    if (!found)
        return;
    cr_assert_eq(match.route, wanted.route, "round %zu: %s %s %s went to %s, not %s", round,
                 row.method, row.host, row.path, match.route->name.data, wanted.route->name.data);
    cr_assert_eq(match.matched_path.size, wanted.matched, "round %zu: %s %s via %s", round,
                 row.host, row.path, match.route->name.data);
}

static void compare_round(size_t round)
{
    struct arena *arena = arena_create(NULL);
    size_t count = 1 + below(round % 10 == 0 ? 80 : 12);
    struct route_row *rows = arena_array(arena, struct route_row, count);
    for (size_t i = 0; i < count; i++)
        rows[i] = random_row(arena, i);
    struct config *config = config_of(arena, rows, count);
    struct router *router = NULL;
    cr_assert_eq(router_build(config, ROUTER_TRADITIONAL_COMPATIBLE, NULL, &router), WEIR_OK);
    for (size_t i = 0; i < 40; i++)
        compare_once(arena, router, config, round);
    router_destroy(router);
    arena_destroy(arena);
}

Test(oracle, the_index_answers_as_trying_every_route_does, .timeout = 100)
{
    for (size_t round = 0; round < 500; round++) {
        state = 0x9e3779b97f4a7c15u + round * 77;
        compare_round(round);
    }
}
