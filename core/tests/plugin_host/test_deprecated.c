/* A call that is deprecated works as before, and is told of once and counted. There is none yet, so
 * two are made up: one about the host, one about a policy. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "plugin_host/calls.h"
#include "plugin_host/deprecated.h"
#include "plugin_host/metrics.h"
#include "plugin_host/policies.h"
#include "plugin_host/table.h"
#include "policy_fixture.h"

static int64_t old_now_ms(const weir_host *host);
static weir_dict *old_dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                                uint32_t entries, uint32_t value_size);

static const struct deprecated_call calls[] = {
    {offsetof(weir_host, now_ms), "weir_now_ms()", 3, "call weir_mono_us()",
     (void (*)(void))old_now_ms},
    {offsetof(weir_host, dict_open), "weir_dict_open()", 4, "call weir_dict_make()",
     (void (*)(void))old_dict_open},
    {.name = NULL},
};

static int64_t old_now_ms(const weir_host *host)
{
    deprecated_called(host_of_table(host), span_text(table_of(host)->name), &calls[0]);
    return call_now_ms(host);
}
static weir_dict *old_dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                                uint32_t entries, uint32_t value_size)
{
    const struct running_policy *policy = policy_of_self(self);
    deprecated_called(policy->policies->host, policy->policy->name, &calls[1]);
    return call_dict_open(error, self, name, layout, entries, value_size);
}

static struct fixture f;
static char told[4096];

static void hear(void *user, uint32_t level, struct span text)
{
    (void)user;
    size_t used = strlen(told);
    (void)snprintf(told + used, sizeof(told) - used, "%u %.*s\n", level, SPAN_ARG(text));
}

static void set_up(void)
{
    told[0] = '\0';
    fixture_open(&f, NULL);
    fixture_plugin(&f, "p", "-DPRIORITY=1 -DCAPABILITIES=WEIR_CAP_SHARED_MEMORY");
    fixture_load(&f, "_format_version: \"3.0\"\nplugins: [{name: p}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    plugin_host_watch_log(f.plugins.host, hear, NULL);
}
static void tear_down(void)
{
    fixture_close(&f);
}
TestSuite(deprecated, .init = set_up, .fini = tear_down);

static void expect_counted(const char *labels, const char *count)
{
    AUTO_BUF text = BUF_INIT;
    char line[128];
    metrics_render(f.plugins.shared, &text);
    (void)snprintf(line, sizeof(line), "weir_deprecated_calls_total{%s} %s\n", labels, count);
    buf_append(&text, "", 1);
    cr_expect_not_null(strstr(text.data, line), "no %s in:\n%s", line, text.data);
}

Test(deprecated, they_work_and_are_told_of_once_and_counted)
{
    weir_host *ours = plugin_table_create(f.plugins.host, SPAN("p"));
    weir_host *another = plugin_table_create(f.plugins.host, SPAN("q"));
    cr_assert(ours != NULL && another != NULL);
    cr_expect_eq(ours->now_ms(ours), another->now_ms(another));
    cr_expect_str_eq(told, "", "nothing of 1.0 is deprecated");

    deprecated_calls_put(ours, calls);
    deprecated_calls_put(another, calls);
    plugin_table_grant(ours, WEIR_CAP_SHARED_MEMORY);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ours->now_ms(ours), call_now_ms(ours), "it works as before");
    cr_expect_eq(ours->mono_us(ours), another->mono_us(another), "the others are as they were");
    cr_expect_eq(another->now_ms(another), call_now_ms(another));
    cr_expect_not_null(
        ours->dict_open(NULL, f.policies->items[0].run.policy->self, WEIR_LIT("hits"), 1, 10, 8));
    cr_expect_str_eq(
        told, "3 plugin p: it calls weir_now_ms(), deprecated since ABI 1.3: call weir_mono_us()\n"
              "3 plugin q: it calls weir_now_ms(), deprecated since ABI 1.3: call weir_mono_us()\n"
              "3 plugin p: it calls weir_dict_open(), deprecated since ABI 1.4: "
              "call weir_dict_make()\n");
    expect_counted("plugin=\"p\",call=\"weir_now_ms()\"", "3");
    expect_counted("plugin=\"q\",call=\"weir_now_ms()\"", "1");
    expect_counted("plugin=\"p\",call=\"weir_dict_open()\"", "1");
    plugin_table_destroy(ours);
    plugin_table_destroy(another);
}

Test(deprecated, a_capability_that_was_not_declared_goes_before)
{
    weir_host *table = plugin_table_create(f.plugins.host, SPAN("p"));
    cr_assert_not_null(table);
    deprecated_calls_put(table, calls);
    plugin_table_grant(table, 0);
    cr_expect_null(
        table->dict_open(NULL, f.policies->items[0].run.policy->self, WEIR_LIT("hits"), 1, 10, 8));
    cr_expect_str_eq(told, "");
    plugin_table_destroy(table);
}
