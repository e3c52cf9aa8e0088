/* Settings: precedence, types, listeners. */
#include <criterion/criterion.h>

#include "config/settings.h"

struct run {
    struct arena *arena;
    struct problems *problems;
    struct settings settings;
    enum weir_err err;
};

static struct run load(const char *block, char **environment, const struct settings_flag *flags,
                       size_t flag_count)
{
    struct run run = {.arena = arena_create(NULL)};
    struct node *root = NULL;
    run.problems = problems_create(run.arena);
    enum weir_err err =
        document_parse(run.arena, span_text(block), "weir.yaml", run.problems, &root);
    cr_assert_eq(err, WEIR_OK);
    run.err =
        settings_load(&run.settings, run.arena, root, environment, flags, flag_count, run.problems);
    return run;
}

static void expect_span(struct span got, const char *want)
{
    cr_expect(span_equal(got, span_text(want)), "got '%.*s', want '%s'", SPAN_ARG(got), want);
}

Test(config_settings, defaults_make_a_bare_file_run)
{
    struct run run = load("", NULL, NULL, 0);
    cr_assert_eq(run.err, WEIR_OK);
    cr_assert_eq(run.settings.proxy_listen.count, 2);
    expect_span(run.settings.proxy_listen.items[0].address, "0.0.0.0:8000");
    cr_expect_eq(run.settings.proxy_listen.items[1].port, 8443);
    cr_expect(run.settings.proxy_listen.items[1].ssl);
    expect_span(run.settings.admin_listen.items[0].address, "127.0.0.1:8001");
    expect_span(run.settings.status_listen.items[0].address, "127.0.0.1:8100");
    cr_expect_eq(run.settings.workers, 0);
    cr_expect_eq(run.settings.upstream_keepalive_idle_timeout_ms, 60000);
    cr_expect_eq(run.settings.level, LOG_NOTICE);
    cr_expect_eq(run.settings.headers.count, 3);
    arena_destroy(run.arena);
}

Test(config_settings, flags_win_over_environment_over_block)
{
    char *environment[] = {(char[]){"WEIR_WORKERS=3"}, (char[]){"WEIR_LOG_LEVEL=debug"},
                           (char[]){"HOME=/"}, (char[]){"WEIR_TOKEN_SECRET=x"}, NULL};
    const struct settings_flag flags[] = {{SPAN("log-level"), SPAN("error")}};
    struct run run =
        load("workers: 2\nlog_level: warn\ndrain_delay: 500ms\ntrusted_ips: [10.0.0.0/8, '::1']\n",
             environment, flags, 1);
    cr_assert_eq(run.err, WEIR_OK);
    cr_expect_eq(run.settings.workers, 3);
    expect_span(run.settings.log_level, "error");
    cr_expect_eq(run.settings.drain_delay_ms, 500);
    cr_expect_eq(run.settings.trusted_ips.count, 2);
    expect_span(run.settings.trusted_ips.items[1], "::1");
    cr_expect_eq(run.settings.lua_ssl_trusted_certificate.count, 1);
    expect_span(run.settings.lua_ssl_trusted_certificate.items[0], "system");
    cr_expect_eq(problems_count(run.problems), 0, "of other programs' variables nothing is said");
    arena_destroy(run.arena);
}

Test(config_settings, listeners)
{
    struct run run =
        load("proxy_listen: '[::]:80 ipv6only=on backlog=64, unix:/run/x.sock proxy_protocol'\n"
             "admin_listen: off\nport_maps: '80:8000,443:8443'\n",
             NULL, NULL, 0);
    cr_assert_eq(run.err, WEIR_OK);
    const struct listen *items = run.settings.proxy_listen.items;
    expect_span(items[0].host, "::");
    cr_expect_eq(items[0].backlog, 64);
    cr_expect(items[0].ipv6only);
    cr_expect(items[1].unix_socket && items[1].proxy_protocol);
    expect_span(items[1].host, "/run/x.sock");
    cr_expect_eq(run.settings.admin_listen.count, 0);
    cr_expect_eq(run.settings.port_maps.items[1].inside, 8443);
    arena_destroy(run.arena);
}

static const struct {
    const char *reason, *block, *line;
} broken[] = {
    {"a name misspelt", "proxy_listne: x\n",
     "weir.yaml:1:1: gateway.proxy_listne: unknown setting (did you mean 'proxy_listen'?)"},
    {"an address without port", "proxy_listen: localhost\n",
     "weir.yaml:1:15: gateway.proxy_listen: 'localhost' is no address: expected HOST:PORT or "
     "unix:/path"},
    {"a flag nobody knows", "proxy_listen: 0.0.0.0:80 sll\n",
     "weir.yaml:1:15: gateway.proxy_listen: unknown flag 'sll' (ssl, http2, proxy_protocol, "
     "reuseport, ipv6only, backlog=N)"},
    {"no workers", "workers: 0\n",
     "weir.yaml:1:10: gateway.workers: expected a number between 1 and 1024, or auto"},
    {"a level misspelt", "log_level: notise\n",
     "weir.yaml:1:12: gateway.log_level: expected one of: debug,info,notice,warn,error,crit (did "
     "you mean 'notice'?)"},
    {"a bad duration", "drain_timeout: soon\n",
     "weir.yaml:1:16: gateway.drain_timeout: expected a duration such as 500ms, 60s, 5m, 1h"},
    {"a map", "workers: {a: 1}\n", "weir.yaml:1:10: gateway.workers: expected a string or a list"},
    {"a boolean", "allow_debug_header: perhaps\n",
     "weir.yaml:1:21: gateway.allow_debug_header: expected a boolean: on or off"},
};

Test(config_settings, mistakes_are_placed)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct run run = load(broken[i].block, NULL, NULL, 0);
        AUTO_BUF line = BUF_INIT;
        cr_expect_eq(run.err, WEIR_ERR_CONFIG, "%s", broken[i].reason);
        cr_assert_gt(problems_count(run.problems), 0, "%s", broken[i].reason);
        problem_print_line(run.problems, problems_at(run.problems, 0), &line);
        cr_expect(span_equal(buf_view(&line), span_text(broken[i].line)), "%s: got %.*s",
                  broken[i].reason, SPAN_ARG(buf_view(&line)));
        arena_destroy(run.arena);
    }
}

Test(config_settings, every_setting_is_in_the_help)
{
    AUTO_BUF out = BUF_INIT;
    settings_help(&out);
    cr_expect_lt(span_search(buf_view(&out), SPAN("proxy_listen")), out.size);
    cr_expect(settings_known(SPAN("proxy-listen")));
    cr_expect_not(settings_known(SPAN("nope")));
}
