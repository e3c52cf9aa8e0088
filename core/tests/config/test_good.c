/* Files that load, and what they mean afterwards. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "fixture.h"

#define V "_format_version: \"3.0\"\n"

static void must_load(struct loaded *loaded)
{
    cr_assert_eq(loaded->err, WEIR_OK, "%s", loaded_print(loaded));
}

static void expect_span(struct span got, const char *want)
{
    cr_expect(span_equal(got, span_text(want)), "got '%.*s', want '%s'", SPAN_ARG(got), want);
}

Test(config_good, whole_example_loads_with_the_repeated_list_as_one)
{
    struct loaded loaded = load_file("kong.yml");
    must_load(&loaded);
    cr_expect_eq(loaded.config->service_count, 3);
    cr_expect_eq(loaded.config->route_count, 3);
    cr_expect_eq(loaded.config->policy_count, 6);
    cr_expect_eq(loaded.config->credential_count, 3);
    cr_expect(strstr(loaded_print(&loaded), "kong.yml:110:1: warning: 'plugins' is written again "
                                            "(first on line 65): both lists are used as one"));
    const struct policy *policy = find_policy(loaded.config, "rate-limiting");
    const struct fake_rate_limiting *limits = policy->self;
    cr_expect_eq(limits->minute, 100);
    cr_expect_eq(limits->second, WEIR_UNSET);
    cr_expect_eq(limits->redis.port, 6379);
    cr_expect_eq(limits->window_ms, 60000);
    expect_span(policy->service->name, "order-service");
    expect_span(span_of(limits->redis.host.data, limits->redis.host.size), "redis");
    for (size_t i = 0; i < POLICY_PREFIX; i++)
        cr_expect_eq(((const char *)policy->self)[-1 - (int)i], 0);
    expect_span(loaded.config->credentials[2]->consumer->username, "mobile-app");
    loaded_free(&loaded);
}

/* Fragments: what they refer to is written around them. */
Test(config_good, credentials_of_any_plugin_may_lie_under_their_consumer)
{
    struct loaded loaded =
        load_text(SPAN(V "consumers:\n- username: a\n  tenant_tokens: [{key: t1}, {key: t2}]\n"
                         "  acls: [{group: g}]\n"
                         "tenant_tokens: [{key: t3, consumer: a}]\n"));
    must_load(&loaded);
    static const char *const collections[] = {"acls", "tenant_tokens", "tenant_tokens",
                                              "tenant_tokens"};
    cr_assert_eq(loaded.config->credential_count, COUNT_OF(collections));
    for (size_t i = 0; i < COUNT_OF(collections); i++) {
        expect_span(loaded.config->credentials[i]->collection, collections[i]);
        expect_span(loaded.config->credentials[i]->consumer->username, "a");
    }
    expect_span(loaded.config->credentials[2]->key, "t2");
    loaded_free(&loaded);
}

static const struct {
    const char *file, *around;
    size_t policies, routes;
} fragments[] = {
    {"routing-by-path.yml", "", 0, 3},
    {"routing-by-method.yml",
     "services: [{name: user-service-read, host: r}, {name: user-service-write, host: w}]\n", 0, 2},
    {"jwt.yml", "services: [{name: user-service, host: x}]\n", 1, 0},
    {"rate-limiting.yml", "services: [{name: api-service, host: x}]\n", 1, 0},
    {"rate-limiting-tiers.yml", "", 3, 0},
    {"transformers.yml", "services: [{name: backend-service, host: x}]\n", 2, 0},
};

Test(config_good, every_fragment_of_the_seed_document_loads)
{
    setenv("REDIS_PASSWORD", "do-not-print-me", 1);
    for (size_t i = 0; i < COUNT_OF(fragments); i++) {
        char path[1024], text[8192];
        const char *slash = strrchr(__FILE__, '/');
        snprintf(path, sizeof(path), "%.*s/data/%s", slash == NULL ? 1 : (int)(slash - __FILE__),
                 slash == NULL ? "." : __FILE__, fragments[i].file);
        FILE *file = fopen(path, "r");
        cr_assert_not_null(file, "%s", path);
        size_t size = (size_t)snprintf(text, sizeof(text), V "%s", fragments[i].around);
        size += fread(text + size, 1, sizeof(text) - size, file);
        fclose(file);
        struct loaded loaded = load_text(span_of(text, size));
        must_load(&loaded);
        cr_expect_eq(loaded.config->policy_count, fragments[i].policies, "%s", fragments[i].file);
        cr_expect_eq(loaded.config->route_count, fragments[i].routes, "%s", fragments[i].file);
        loaded_free(&loaded);
    }
}

/* Recorded from a running Kong. */
Test(config_good, ids_are_those_of_kong)
{
    struct loaded loaded =
        load_text(SPAN(V "services:\n- {name: s1, url: 'http://example.com:81/base', routes: "
                         "[{name: r1, paths: [/a]}]}\n"
                         "- {name: a, url: 'http://x', plugins: [{name: cors, service: a}]}\n"
                         "consumers:\n- {username: alice, acls: [{group: g1}]}\n"
                         "upstreams:\n- {name: u, targets: [{target: 'h:1'}]}\n"
                         "plugins: [{name: prometheus}]\n"));
    must_load(&loaded);
    const struct config *config = loaded.config;
    expect_span(config_service(config, SPAN("s1"))->id, "356ebaf8-b7af-5cba-99a1-f392e34730ab");
    expect_span(config_service(config, SPAN("a"))->id, "72734e2a-702d-5711-b9ef-697178108ad8");
    expect_span(config_route(config, SPAN("r1"))->id, "4726a05a-d550-537e-9fc3-a07c7a1188c7");
    expect_span(config_consumer(config, SPAN("alice"))->id, "b32379d9-3d28-5683-a79c-72139be6e34f");
    expect_span(config->targets[0]->id, "579e22b8-418f-5f62-9847-942ce7bd0e6b");
    expect_span(config->credentials[0]->id, "a454b5ef-5d0a-519e-b71e-19091ff72843");
    expect_span(find_policy(config, "cors")->id, "a3f913bd-0357-51b9-b16d-f73adffabfbf");
    expect_span(find_policy(config, "prometheus")->id, "18f2f6e2-5e0a-5bfa-93be-849850c0c527");
    const struct service *by_id =
        config_service(config, SPAN("356ebaf8-b7af-5cba-99a1-f392e34730ab"));
    cr_assert_not_null(by_id);
    expect_span(by_id->host, "example.com");
    expect_span(by_id->path, "/base");
    cr_expect_eq(by_id->port, 81);
    loaded_free(&loaded);
}

/* Workers read the file each on their own, and count together by these ids. */
Test(config_good, what_has_no_name_has_the_same_id_at_each_load)
{
    const struct span text =
        SPAN(V "services: [{url: 'http://x', routes: [{paths: [/a]}, {paths: [/b]}]}]\n"
               "consumers: [{custom_id: '7', keyauth_credentials: [{key: k1}, {key: k2}]}]\n");
    struct loaded one = load_text(text), two = load_text(text);
    must_load(&one);
    must_load(&two);
    for (size_t i = 0; i < 2; i++) {
        expect_span(two.config->routes[i]->id, one.config->routes[i]->id.data);
        expect_span(two.config->credentials[i]->id, one.config->credentials[i]->id.data);
    }
    expect_span(two.config->services[0]->id, one.config->services[0]->id.data);
    expect_span(two.config->consumers[0]->id, one.config->consumers[0]->id.data);
    cr_expect(!span_equal(one.config->routes[0]->id, one.config->routes[1]->id));
    cr_expect(!span_equal(one.config->credentials[0]->id, one.config->credentials[1]->id));
    loaded_free(&one);
    loaded_free(&two);
}

static const struct {
    const char *reason, *url, *host, *path;
    int64_t port;
    enum protocol protocol;
} urls[] = {
    {"http has port 80", "http://h", "h", NULL, 80, PROTOCOL_HTTP},
    {"https has port 443", "https://h/", "h", "/", 443, PROTOCOL_HTTPS},
    {"a written port wins", "https://h:8443/a", "h", "/a", 8443, PROTOCOL_HTTPS},
    {"grpcs has port 80, oddly", "grpcs://h", "h", NULL, 80, PROTOCOL_GRPCS},
    {"user and query fall away", "http://u:p@h/a?b#c", "h", "/a", 80, PROTOCOL_HTTP},
    {"an IPv6 host keeps its brackets", "http://[::1]:81", "[::1]", NULL, 81, PROTOCOL_HTTP},
};

Test(config_good, url_is_a_shorthand)
{
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        char text[256];
        snprintf(text, sizeof(text), V "services: [{name: s, url: '%s'}]\n", urls[i].url);
        struct loaded loaded = load_text(span_text(text));
        must_load(&loaded);
        const struct service *service = loaded.config->services[0];
        expect_span(service->host, urls[i].host);
        cr_expect(span_equal(service->path, span_text(urls[i].path)), "%s", urls[i].reason);
        cr_expect_eq(service->port, urls[i].port, "%s", urls[i].reason);
        cr_expect_eq(service->protocol, urls[i].protocol, "%s", urls[i].reason);
        loaded_free(&loaded);
    }
}

static const struct {
    const char *reason, *version, *path, *want;
} migrations[] = {
    {"plain stays plain", "1.1", "/foo.bar", "/foo.bar"},
    {"a pattern gets its mark", "2.1", "/foo/\\d+", "~/foo/\\d+"},
    {"plain is normalized", "1.1", "/a//b/../c", "/a/c"},
    {"3.0 guesses nothing", "3.0", "/foo/\\d+", "/foo/\\d+"},
};

Test(config_good, old_paths_are_migrated)
{
    for (size_t i = 0; i < COUNT_OF(migrations); i++) {
        char text[256];
        snprintf(text, sizeof(text), "_format_version: \"%s\"\nroutes: [{paths: ['%s']}]\n",
                 migrations[i].version, migrations[i].path);
        struct loaded loaded = load_text(span_text(text));
        must_load(&loaded);
        expect_span(loaded.config->routes[0]->paths.items[0], migrations[i].want);
        loaded_free(&loaded);
    }
}

Test(config_good, substitution_from_environment_files_and_vaults)
{
    setenv("WEIR_T_HOST", "h.test", 1);
    setenv("WEIR_T_PORT", "81", 1);
    setenv("WEIR_T_JSON", "{\"user\": \"ann\", \"n\": 1}", 1);
    char path[] = "/tmp/weir-test-XXXXXX", text[1024];
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, "from-file\n", 10) == 10);
    snprintf(text, sizeof(text),
             V "vaults: [{name: env, prefix: my-env, config: {prefix: WEIR_}}]\n"
               "services: [{name: '${WEIR_T_NONE:-fallback}', host: '${WEIR_T_HOST}', port: "
               "'${WEIR_T_PORT}', "
               "tags: ['a-$${b}', '${file:%s}', '{vault://my-env/t-host}', "
               "'{vault://env/weir-t-json/user}']}]\n",
             path);
    struct loaded loaded = load_text(span_text(text));
    unlink(path);
    must_load(&loaded);
    const struct service *service = loaded.config->services[0];
    expect_span(service->name, "fallback");
    expect_span(service->host, "h.test");
    cr_expect_eq(service->port, 81);
    expect_span(service->tags.items[0], "a-${b}");
    expect_span(service->tags.items[1], "from-file");
    expect_span(service->tags.items[2], "h.test");
    expect_span(service->tags.items[3], "ann");
    loaded_free(&loaded);
}

static const struct {
    const char *reason, *text;
} secrets[] = {
    {"a key beside a mistake",
     V "consumers: [{username: a, keyauth_credentials: [{key: s3cret, colour: red}]}]\n"},
    {"a key twice",
     V "consumers: [{username: a, keyauth_credentials: [{key: s3cret}, {key: s3cret}]}]\n"},
    {"a secret of the wrong type",
     V "plugins: [{name: rate-limiting, config: {redis: {password: [s3cret]}}}]\n"},
    {"old and new spelling", V "plugins: [{name: rate-limiting, config: {redis_password: s3cret, "
                               "redis: {password: s3cret2}}}]\n"},
    {"a misspelt secret",
     V "plugins: [{name: rate-limiting, config: {redis: {pasword: s3cret}}}]\n"},
    {"a plugin that is not there", V "plugins: [{name: nope, config: {token: s3cret}}]\n"},
    {"a collection that is not known",
     V "basicauth_credentials: [{username: u, password: s3cret}]\n"},
    {"a syntax error on the same line", V "consumers: [{username: a, password: s3cret: x: y}\n"},
    {"a duplicate key",
     V "consumers: [{username: a, keyauth_credentials: [{key: s3cret, key: s3cret}]}]\n"},
    {"from the environment", V "services: [{host: '${WEIR_T_SECRET} x'}]\n"},
    {"a private key", V "certificates: [{cert: c, key: s3cret, colour: x}]\n"},
    {"a vault JSON without the member",
     V "services: [{host: '{vault://env/WEIR_T_SECRET/user}'}]\n"},
};

Test(config_good, secrets_are_never_printed)
{
    setenv("WEIR_T_SECRET", "s3cret", 1);
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        struct loaded loaded = load_text(span_text(secrets[i].text));
        cr_expect_eq(loaded.err, WEIR_ERR_CONFIG, "%s", secrets[i].reason);
        cr_expect_null(strstr(loaded_print(&loaded), "s3cret"), "%s: %s", secrets[i].reason,
                       loaded_print(&loaded));
        loaded_free(&loaded);
    }
}

static const struct {
    const char *reason, *text, *warning;
} warned[] = {
    {"a bare version", "_format_version: 3.0\n",
     "1:18: warning: _format_version: a bare number, write \"3.0\""},
    {"no version", "services: []\n", "1:1: warning: _format_version: missing, taken as \"3.0\""},
    {"decK", V "_info: {defaults: {}}\n", "2:1: warning: _info: a key of decK, ignored"},
    {"a pattern without mark", V "routes: [{paths: ['/a/(b)']}]\n",
     "2:19: warning: routes[0].paths[0]: a plain path that looks like a pattern: a regular "
     "expression starts with '~/'"},
    {"an optional plugin", V "plugins: [{name: nope, optional: true}]\n",
     "2:18: warning: plugins[0].name: plugin 'nope' is not installed in /lib/weir/plugins, "
     "skipped"},
    {"run_on", V "plugins: [{name: cors, run_on: first}]\n",
     "2:24: warning: plugins[0].run_on: removed in Kong 2.0, ignored"},
    {"a method twice", V "routes: [{methods: [GET, GET]}]\n",
     "2:26: warning: routes[0].methods[1]: 'GET' is listed twice"},
};

Test(config_good, warnings_do_not_stop_the_load)
{
    for (size_t i = 0; i < COUNT_OF(warned); i++) {
        struct loaded loaded = load_text(span_text(warned[i].text));
        must_load(&loaded);
        cr_expect(strstr(loaded_print(&loaded), warned[i].warning), "%s: %s", warned[i].reason,
                  loaded_print(&loaded));
        loaded_free(&loaded);
    }
}

Test(config_good, forms_of_references_and_scalars)
{
    struct loaded loaded = load_text(
        SPAN("\xef\xbb\xbf" V "_ignore:\r\n- &d {retries: 2}\r\nservices:\r\n- {<<: *d, name: a, "
             "host: x, enabled: yes}\r\n"
             "- {name: b, host: x, retries: 0x10}\r\n- {name: c, host: x, retries: null}\r\n"
             "consumers: [{username: bob}]\n"
             "routes:\n- {paths: [/a], service: {name: a}}\n- {paths: [/b], service: {id: "
             "72734e2a-702d-5711-b9ef-697178108ad8}}\n"
             "plugins: [{name: prometheus, consumer: {username: bob}, service: ~}]\n"));
    must_load(&loaded);
    const struct config *config = loaded.config;
    cr_expect_eq(config->services[0]->retries, 2);
    cr_expect(config->services[0]->enabled);
    cr_expect_eq(config->services[1]->retries, 16);
    cr_expect_eq(config->services[2]->retries, 5);
    cr_expect_eq(config->routes[0]->service, config->services[0]);
    cr_expect_eq(config->routes[1]->service, config->services[0]);
    cr_expect_eq(config->policies[0]->consumer, config->consumers[0]);
    cr_expect_null(config->policies[0]->service);
    loaded_free(&loaded);
}

Test(config_good, json_is_read_as_well)
{
    struct loaded loaded = load_text(SPAN("{\"_format_version\": \"3.0\",\n\t\"services\": "
                                          "[{\"name\": \"a\", \"url\": \"http://x\"}]}"));
    must_load(&loaded);
    cr_expect_eq(loaded.config->service_count, 1);
    cr_expect_eq(loaded.config->hash.size, 32);
    loaded_free(&loaded);
}

Test(config_good, upstream_defaults_and_derivation)
{
    struct loaded loaded = load_text(SPAN(
        V
        "upstreams:\n- name: u\n  hash_on: ip\n  targets: [{target: '[::1]:80'}, {target: h}]\n"));
    must_load(&loaded);
    const struct upstream *upstream = loaded.config->upstreams[0];
    cr_expect_eq(upstream->algorithm, BALANCE_CONSISTENT_HASHING);
    cr_expect_eq(upstream->target_count, 2);
    expect_span(upstream->targets[0]->host, "::1");
    cr_expect_eq(upstream->targets[0]->port, 80);
    cr_expect_eq(upstream->targets[1]->port, 8000);
    cr_expect_eq(upstream->checks.active_healthy.http_statuses.count, 2);
    cr_expect_eq(upstream->checks.passive_unhealthy.http_statuses.items[2], 503);
    cr_expect_eq(upstream->checks.concurrency, 10);
    loaded_free(&loaded);
}
