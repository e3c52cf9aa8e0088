/* Broken configurations and exactly what is said about them, where. V is a line of its own, so what
 * follows starts on line 2. */
#include <criterion/criterion.h>

#include "fixture.h"

#define V "_format_version: \"3.0\"\n"

static const struct {
    const char *reason, *text, *line;
} rows[] = {
    /* the text itself */
    {"a tab is no indentation", V "services:\n\t- name: a\n",
     "3:1: a tab cannot indent YAML, use spaces"},
    {"a bad indentation is placed", V "services:\n - name: a\n  url: x\n",
     "4:3: did not find expected '-' indicator (while parsing a block collection that starts on "
     "line 3)"},
    {"a second document would be lost silently", V "---\nservices: []\n",
     "2:1: a second document starts here, only one is allowed in a file"},
    {"a top that is no map", "- a\n",
     "1:1: failed parsing declarative configuration: expected an object"},
    {"an empty file", "", "1:1: failed parsing declarative configuration: expected an object"},
    {"an alias nobody anchored", V "services: *gone\n",
     "2:11: the alias '*gone' has no finished anchor before it"},
    {"an alias inside its own anchor never ends", V "_ignore: &a [*a]\n",
     "2:14: the alias '*a' has no finished anchor before it"},
    {"a tag nobody reads", V "services: !include other.yml\n",
     "2:11: the tag '!include' is not supported"},
    {"a key that is a list", V "? [a]\n: b\n", "2:3: a key must be plain text"},
    {"a duplicate key inside an entity", V "services:\n- name: a\n  host: x\n  name: b\n",
     "5:3: duplicate key 'name' (first on line 3)"},
    {"a duplicate key at the top that is no list", V "gateway: {}\ngateway: {}\n",
     "3:1: duplicate key 'gateway' (first on line 2)"},
    {"Latin-1 is not UTF-8", V "_comment: \xe9\n",
     "2:11: the file is not UTF-8 text: incomplete UTF-8 octet sequence"},
    /* the top */
    {"a version nobody knows", "_format_version: \"9.9\"\n",
     "1:18: _format_version: expected one of: 1.1, 2.1, 3.0"},
    {"an unknown collection", V "servces: []\n",
     "2:1: servces: unknown field (did you mean 'services'?)"},
    {"an unknown key nothing is close to", V "zebra: 1\n", "2:1: zebra: unknown field"},
    {"Enterprise collections", V "consumer_groups: [{name: g}]\n",
     "2:1: consumer_groups: consumer groups are an Enterprise feature, use 'acls'"},
    {"apis of old", V "apis: [{name: g}]\n",
     "2:1: apis: gone since Kong 1.0, write 'services' and 'routes'"},
    {"a collection that is no list", V "services: {a: 1}\n", "2:11: services: expected an array"},
    {"an entity that is text", V "services: [a]\n", "2:12: services[0]: expected a record"},
    {"a transform that is no boolean", V "_transform: x\n", "2:13: _transform: expected a boolean"},
    /* services */
    {"a service without a host", V "services:\n- name: a\n",
     "3:3: services[0].host: required field missing"},
    {"an unknown field, close to one", V "services:\n- name: a\n  host: x\n  prot: 80\n",
     "5:3: services[0].prot: unknown field (did you mean 'port'?)"},
    {"an unknown field", V "services:\n- {name: a, host: x, colour: red}\n",
     "3:22: services[0].colour: unknown field"},
    {"a port out of range", V "services:\n- name: a\n  host: x\n  port: 70000\n",
     "5:9: services[0].port: value should be between 0 and 65535"},
    {"a port that is text", V "services:\n- name: a\n  host: x\n  port: \"80\"\n",
     "5:9: services[0].port: expected an integer"},
    {"retries out of range", V "services:\n- {host: x, retries: 40000}\n",
     "3:22: services[0].retries: value should be between 0 and 32767"},
    {"a retry after nothing known", V "services:\n- {host: x, retry_on: [reset, 5x]}\n",
     "3:31: services[0].retry_on[1]: expected one of: connect_failure, reset, timeout, "
     "bad_response, 5xx, gateway_error, 408, 425, 429, 500, 502, 503, 504 (did you mean '5xx'?)"},
    {"a retry after what is never over", V "services:\n- {host: x, retry_on: [501]}\n",
     "3:24: services[0].retry_on[0]: expected one of: connect_failure, reset, timeout, "
     "bad_response, 5xx, gateway_error, 408, 425, 429, 500, 502, 503, 504 (did you mean '500'?)"},
    {"a retry_on that is no list", V "services:\n- {host: x, retry_on: reset}\n",
     "3:23: services[0].retry_on: expected a set"},
    {"a delay longer than any", V "services:\n- {host: x, retry_delay: 60001}\n",
     "3:26: services[0].retry_delay: value should be between 0 and 60000"},
    {"a longest delay under the first",
     V "services:\n- {host: x, retry_delay: 100, retry_delay_max: 50}\n",
     "3:48: services[0].retry_delay_max: must not be less than retry_delay"},
    {"a budget below nothing", V "services:\n- {host: x, retry_budget_percent: -1}\n",
     "3:35: services[0].retry_budget_percent: value should be between 0 and 10000"},
    {"a timeout of nothing", V "services:\n- {host: x, read_timeout: 0}\n",
     "3:27: services[0].read_timeout: value should be between 1 and 2147483646"},
    {"a name with a space", V "services:\n- {name: a b, host: x}\n",
     "3:10: services[0].name: invalid value 'a b': the only accepted ascii characters are "
     "alphanumerics or ., -, _, and ~"},
    {"a name that is a number", V "services:\n- {name: 007, host: x}\n",
     "3:10: services[0].name: expected a string"},
    {"an empty name", V "services:\n- {name: '', host: x}\n",
     "3:10: services[0].name: length must be at least 1"},
    {"a host with a port", V "services:\n- {host: 'x:80'}\n",
     "3:10: services[0].host: must not have a port"},
    {"a path without slash", V "services:\n- {host: x, path: p}\n",
     "3:19: services[0].path: should start with: /"},
    {"a path with an empty segment", V "services:\n- {host: x, path: /a//b}\n",
     "3:19: services[0].path: must not have empty segments"},
    {"a protocol misspelt", V "services:\n- {host: x, protocol: htps}\n",
     "3:23: services[0].protocol: expected one of: http, https, grpc, grpcs, tcp, tls, udp, "
     "tls_passthrough (did you mean 'https'?)"},
    {"a URL that is none", V "services:\n- {url: x}\n",
     "3:9: services[0].url: not a URL: expected http://host or https://host"},
    {"an id that is no UUID", V "services:\n- {host: x, id: x}\n",
     "3:17: services[0].id: expected a valid UUID"},
    {"a name twice", V "services:\n- {name: a, host: x}\n- {name: a, host: x}\n",
     "4:10: services[1]: uniqueness violation: 'services' entity with name set to 'a' already "
     "declared"},
    {"an id twice",
     V "services:\n- {host: x, id: 7b4f4c4e-0000-4000-8000-000000000001}\n"
       "- {host: x, id: 7b4f4c4e-0000-4000-8000-000000000001}\n",
     "4:17: services[1]: uniqueness violation: 'services' entity with primary key set to "
     "'7b4f4c4e-0000-4000-8000-000000000001' already declared"},
    {"a tag with a comma", V "services:\n- {host: x, tags: [\"x,y\"]}\n",
     "3:20: services[0].tags[0]: invalid tag 'x,y': expected printable ascii (except `,` and `/`) "
     "or "
     "valid utf-8 sequences"},
    {"tls settings without tls", V "services:\n- {host: x, tls_verify: true}\n",
     "3:25: services[0].tls_verify: value must be null unless 'protocol' is https or tls"},
    /* routes */
    {"a route that matches everything by accident", V "routes:\n- name: r\n",
     "3:3: routes[0]: must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when "
     "'protocols' is 'https'"},
    {"an http route that matches everything", V "routes:\n- protocols: [http]\n",
     "3:3: routes[0]: must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is "
     "'http'"},
    {"a path that is no path", V "routes:\n- paths: [a]\n",
     "3:11: routes[0].paths[0]: should start with: / (fixed path) or ~/ (regex path)"},
    {"a path with dots", V "routes:\n- paths: [/a/../b]\n",
     "3:11: routes[0].paths[0]: non-normalized path, consider use '/b' instead"},
    {"an escape in lower case", V "routes:\n- paths: [/x%2a]\n",
     "3:11: routes[0].paths[0]: non-normalized path, consider use '/x%2A' instead"},
    {"an escape that is none", V "routes:\n- paths: [/x%2w]\n",
     "3:11: routes[0].paths[0]: invalid url-encoded value: '%2w'"},
    {"a method in lower case", V "routes:\n- methods: [GET, get]\n",
     "3:18: routes[0].methods[1]: invalid value: get"},
    {"a host header among the headers", V "routes:\n- headers: {Host: [x]}\n",
     "3:12: routes[0].headers: cannot contain 'host' header, which must be specified in the "
     "'hosts' attribute"},
    {"a dangling reference", V "routes:\n- {paths: [/a], service: ghost}\n",
     "3:26: routes[0].service: invalid reference 'service: ghost' (no such entry in 'services')"},
    {"a dangling reference, nearly right",
     V "services: [{name: orders, host: x}]\nroutes:\n- {paths: [/a], service: order}\n",
     "4:26: routes[0].service: invalid reference 'service: order' (no such entry in 'services'), "
     "did you mean 'orders'?"},
    {"a reference that is a list", V "routes:\n- {paths: [/a], service: [a]}\n",
     "3:26: routes[0].service: expected a string"},
    {"a redirect code of its own", V "routes:\n- {paths: [/a], https_redirect_status_code: 418}\n",
     "3:45: routes[0].https_redirect_status_code: expected one of: 426, 301, 302, 307, 308"},
    /* upstreams */
    {"an upstream named by address", V "upstreams: [{name: 1.2.3.4}]\n",
     "2:20: upstreams[0].name: Invalid name ('1.2.3.4'); no ip addresses allowed"},
    {"an upstream with a space", V "upstreams: [{name: a b}]\n",
     "2:20: upstreams[0].name: Invalid name ('a b'); must be a valid hostname"},
    {"too few slots", V "upstreams: [{name: u, slots: 1}]\n",
     "2:30: upstreams[0].slots: value should be between 10 and 65536"},
    {"hashing by a header nobody named", V "upstreams: [{name: u, hash_on: header}]\n",
     "2:13: upstreams[0].hash_on_header: required field missing"},
    {"a target twice", V "upstreams:\n- name: u\n  targets:\n  - target: h:1\n  - target: h:1\n",
     "6:5: upstreams[0].targets[1]: uniqueness violation: 'targets' entity with primary key set to "
     "'579e22b8-418f-5f62-9847-942ce7bd0e6b' already declared"},
    {"a target that is none", V "upstreams: [{name: u, targets: [{target: 'a b'}]}]\n",
     "2:42: upstreams[0].targets[0].target: Invalid target ('a b'); not a valid hostname or ip "
     "address"},
    {"a status that is none",
     V "upstreams: [{name: u, healthchecks: {active: {healthy: {http_statuses: [20]}}}}]\n",
     "2:73: upstreams[0].healthchecks.active.healthy.http_statuses[0]: value should be between 100 "
     "and 999"},
    /* consumers and credentials */
    {"a consumer without a name", V "consumers:\n- tags: [x]\n",
     "3:3: consumers[0]: at least one of these fields must be non-empty: 'custom_id', 'username'"},
    {"a credential of a stranger", V "jwt_secrets:\n- {key: k, consumer: ghost}\n",
     "3:22: jwt_secrets[0].consumer: invalid reference 'consumer: ghost' (no such entry in "
     "'consumers')"},
    {"a credential of nobody", V "acls:\n- group: g\n",
     "3:3: acls[0].consumer: required field missing"},
    {"a key twice, the key stays unsaid",
     V "consumers:\n- {username: a, keyauth_credentials: [{key: k}, {key: k}]}\n",
     "3:55: consumers[0].keyauth_credentials[1]: uniqueness violation: 'keyauth_credentials' "
     "entity "
     "with the same key already declared"},
    {"a collection of no plugin, under a consumer",
     V "consumers:\n- {username: a, tenant_tokns: [{key: k}]}\n",
     "3:17: consumers[0].tenant_tokns: unknown field"},
    {"an error in the credential of a plugin that Kong does not have",
     V "consumers:\n- {username: a, tenant_tokens: [{key: [k]}]}\n",
     "3:39: consumers[0].tenant_tokens[0].key: expected a string"},
    {"a collection of a plugin that is not there", V "basicauth_credentials: [{username: u}]\n",
     "2:1: basicauth_credentials: plugin 'basic-auth' is not installed (needed by "
     "'basicauth_credentials')"},
    {"an algorithm nobody knows", V "consumers:\n- {username: a, jwt_secrets: [{algorithm: XX}]}\n",
     "3:43: consumers[0].jwt_secrets[0].algorithm: expected one of: HS256, HS384, RS256"},
    /* plugins */
    {"a plugin that is not there", V "plugins: [{name: nope}]\n",
     "2:18: plugins[0].name: plugin 'nope' is not installed in /lib/weir/plugins"},
    {"a plugin misspelt", V "plugins: [{name: cros}]\n",
     "2:18: plugins[0].name: plugin 'cros' is not installed in /lib/weir/plugins, did you mean "
     "'cors'?"},
    {"a required field of a plugin", V "plugins:\n- name: file-log\n",
     "3:3: plugins[0].config.path: required field missing"},
    {"a choice of a plugin",
     V "plugins:\n- {name: rate-limiting, config: {minute: 1, policy: cluster}}\n",
     "3:53: plugins[0].config.policy: expected one of: local, redis"},
    {"a limit of nothing", V "plugins:\n- {name: rate-limiting, config: {minute: 0}}\n",
     "3:42: plugins[0].config.minute: value must be greater than 0"},
    {"a fraction where a whole is asked",
     V "plugins:\n- {name: rate-limiting, config: {minute: 5.5}}\n",
     "3:42: plugins[0].config.minute: expected an integer"},
    {"a bad duration", V "plugins:\n- {name: rate-limiting, config: {window: 5x}}\n",
     "3:42: plugins[0].config.window: expected a duration such as 500ms, 60s, 5m, 1h"},
    {"old and new spelling differ",
     V "plugins:\n- {name: rate-limiting, config: {redis_host: a, redis: {host: b}}}\n",
     "3:34: plugins[0].config.redis.host: both deprecated and new field are used but their values "
     "mismatch: redis_host = a vs redis.host = b"},
    {"a header name with a space",
     V "plugins:\n- {name: correlation-id, config: {header_name: x y}}\n",
     "3:48: plugins[0].config.header_name: bad header name 'x y', allowed characters are A-Z, a-z, "
     "0-9, '_', and '-'"},
    {"a list that is text", V "plugins:\n- {name: cors, config: {methods: GET}}\n",
     "3:34: plugins[0].config.methods: expected an array"},
    {"a record that is text", V "plugins:\n- {name: rate-limiting, config: {redis: a}}\n",
     "3:41: plugins[0].config.redis: expected a record"},
    {"an unknown field in a record",
     V "plugins:\n- {name: rate-limiting, config: {redis: {hots: a}}}\n",
     "3:42: plugins[0].config.redis.hots: unknown field (did you mean 'host'?)"},
    {"a scope the plugin forbids",
     V "consumers: [{username: a}]\nplugins:\n- {name: cors, consumer: a}\n",
     "4:26: plugins[0].consumer: value must be null"},
    {"an anonymous consumer nobody knows", V "plugins: [{name: jwt, config: {anonymous: bob}}]\n",
     "2:43: plugins[0].config.anonymous: invalid reference 'consumer: bob' (no such entry in "
     "'consumers')"},
    {"a scope twice", V "plugins:\n- name: prometheus\n- name: prometheus\n",
     "4:3: plugins[1]: uniqueness violation: 'plugins' entity with primary key set to "
     "'18f2f6e2-5e0a-5bfa-93be-849850c0c527' already declared"},
    /* substitution */
    {"a variable nobody set", V "services: [{host: '${WEIR_TEST_UNSET}'}]\n",
     "2:19: services[0].host: the environment variable 'WEIR_TEST_UNSET' is not set and has no "
     "default"},
    {"a vault variable nobody set", V "services: [{host: '{vault://env/weir-test-unset}'}]\n",
     "2:19: services[0].host: the environment variable 'WEIR_TEST_UNSET' is not set"},
    {"a vault nobody has", V "services: [{host: '{vault://hcv/a}'}]\n",
     "2:19: services[0].host: vault 'hcv' is not installed"},
    {"a template of decK", V "services: [{host: '${{ env \"DECK_X\" }}'}]\n",
     "2:19: services[0].host: decK templates '${{ env ... }}' are not supported, write ${NAME}"},
};

Test(config_broken, says_exactly_this)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct loaded loaded = load_text(span_text(rows[i].text));
        bool found = false;
        size_t count = problems_count(loaded.problems);
        for (size_t j = 0; j < count; j++) {
            AUTO_BUF line = BUF_INIT;
            problem_print_line(loaded.problems, problems_at(loaded.problems, j), &line);
            struct span text = span_from(buf_view(&line), strlen("kong.yml:"));
            found = found || span_equal(text, span_text(rows[i].line));
        }
        cr_expect(found, "%s: not said: %s\ninstead: %s", rows[i].reason, rows[i].line,
                  loaded_print(&loaded));
        cr_expect_eq(loaded.err, WEIR_ERR_CONFIG, "%s", rows[i].reason);
        cr_expect_null(loaded.config, "%s", rows[i].reason);
        loaded_free(&loaded);
    }
}

Test(config_broken, all_problems_at_once_in_the_order_of_the_file)
{
    struct loaded loaded =
        load_text(SPAN(V "plugins:\n- {name: nope}\nservices:\n- {port: -1, name: a b}\n"));
    cr_expect_eq(problems_errors(loaded.problems), 4, "%s", loaded_print(&loaded));
    uint32_t line = 0;
    for (size_t i = 0; i < problems_count(loaded.problems); i++) {
        cr_expect_geq(problems_at(loaded.problems, i)->position.line, line);
        line = problems_at(loaded.problems, i)->position.line;
    }
    loaded_free(&loaded);
}

Test(config_broken, the_caret_stands_under_the_value)
{
    struct loaded loaded = load_text(SPAN(V "services:\n- {name: é, host: x, port: x}\n"));
    cr_expect_str_eq(loaded_print(&loaded), "kong.yml:3:28: services[0].port: expected an integer\n"
                                            "    - {name: é, host: x, port: x}\n"
                                            "                               ^\n");
    loaded_free(&loaded);
}
