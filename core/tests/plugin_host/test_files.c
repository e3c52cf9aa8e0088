/* Files of policies on the host's side: who may open which, that they end without their policy, and
 * what is told of lines that cannot be written. The file itself is core/tests/outbound's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "plugin_host/calls.h"
#include "plugin_host/metrics.h"
#include "policy_fixture.h"

#define HEAD                                 \
    "_format_version: \"3.0\"\n"             \
    "services: [{name: s, host: up.test}]\n" \
    "routes: [{name: r, service: s, paths: [/r]}]\n"

static struct fixture f;

/* ---- what the process lends: files that are what their test says */

enum { LENT_MAX = 32, NUMBERS = WEIR_FILE_STALLED_MS + 1 };

static struct lent {
    bool open, closed;
    char path[64];
    weir_file_options options;
    void (*report)(void *arg, bool ended);
    void *arg;
    int64_t numbers[NUMBERS];
} lent[LENT_MAX];
static size_t lent_count;
static bool refuses;

static void *lend(void *user, weir_str path, const weir_file_options *options,
                  void (*report)(void *arg, bool ended), void *arg)
{
    (void)user;
    if (refuses)
        return NULL;
    cr_assert_lt(lent_count, (size_t)LENT_MAX);
    struct lent *one = &lent[lent_count++];
    *one = (struct lent){.open = true, .options = *options, .report = report, .arg = arg};
    (void)snprintf(one->path, sizeof(one->path), "%.*s", (int)path.size, path.data);
    return one;
}

static weir_status take_line(void *user, void *file, weir_str line)
{
    struct lent *one = file;
    (void)user;
    one->numbers[WEIR_FILE_WAITING_BYTES] += (int64_t)line.size + 1;
    return line.size > 100 ? WEIR_FULL : WEIR_SUCCESS;
}

static int64_t tell_number(void *user, void *file, uint32_t what)
{
    const struct lent *one = file;
    (void)user;
    return what < NUMBERS ? one->numbers[what] : WEIR_UNSET;
}

static void close_lent(void *user, void *file)
{
    struct lent *one = file;
    (void)user;
    cr_expect(one->open && !one->closed, "closed once");
    one->closed = true;
}

static void end_lent(struct lent *one)
{
    one->open = false;
    one->report(one->arg, true);
}

static void end_all(void *user)
{
    (void)user;
    for (size_t i = 0; i < lent_count; i++)
        if (lent[i].open)
            end_lent(&lent[i]);
}

static const struct host_services services = {.file_open = lend,
                                              .file_append = take_line,
                                              .file_number = tell_number,
                                              .file_close = close_lent,
                                              .files_end = end_all};

/* ---- the log */

static char log_text[8192];

static void on_line(void *user, uint32_t level, struct span text)
{
    size_t used = strlen(log_text);
    (void)user;
    (void)snprintf(log_text + used, sizeof(log_text) - used, "%u %.*s\n", level, SPAN_ARG(text));
}

static void expect_log(const char *expected, const char *reason)
{
    cr_expect_str_eq(log_text, expected, "%s:\n%s", reason, log_text);
    log_text[0] = '\0';
}

static void expect_metric(const char *name, const char *value, const char *reason)
{
    AUTO_BUF out = BUF_INIT;
    char line[160];
    metrics_render(f.plugins.shared, &out);
    buf_byte(&out, '\0');
    (void)snprintf(line, sizeof(line), "%s{plugin=\"p\",path=\"/log\"} %s\n", name, value);
    cr_expect_not_null(strstr(out.data, line), "%s: no %s in\n%s", reason, line, out.data);
}

/* ---- */

static const weir_file_options plain = {.size = sizeof(plain), .queue_bytes = 1000};

static const void *self_of(size_t i)
{
    return policies_at(f.policies, i)->policy->self;
}

static void set_up(void)
{
    fixture_open(&f, &services);
    plugin_host_watch_log(f.plugins.host, on_line, NULL);
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_load(&f, HEAD "plugins: [{name: p}, {name: p, route: r}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    log_text[0] = '\0';
}

static void tear_down(void)
{
    fixture_close(&f);
    for (size_t i = 0; i < lent_count; i++)
        cr_expect(!lent[i].open && lent[i].closed, "file %zu has ended", i);
}

TestSuite(policy_files, .init = set_up, .fini = tear_down, .timeout = 60);

Test(policy_files, calls_reach_the_file)
{
    weir_file_options longer[2] = {plain, {0}};
    longer[0].size = sizeof(longer);
    longer[0].flags = WEIR_FILE_REOPEN;
    longer[0].mode = 0600;
    weir_file *file = call_file_open(self_of(0), WEIR_LIT("/log"), longer);
    cr_assert_not_null(file);
    cr_expect_str_eq(lent[0].path, "/log");
    cr_expect_eq(lent[0].options.flags, WEIR_FILE_REOPEN);
    cr_expect_eq(lent[0].options.mode, 0600);
    cr_expect_eq(call_file_append(file, WEIR_LIT("abc")), WEIR_SUCCESS);
    cr_expect_eq(call_file_number(file, WEIR_FILE_WAITING_BYTES), 4);
    cr_expect_eq(call_file_number(file, 77), WEIR_UNSET);
    static char big[200];
    cr_expect_eq(call_file_append(file, (weir_str){big, sizeof(big)}), WEIR_FULL);
    cr_expect_eq(call_file_append(NULL, WEIR_LIT("abc")), WEIR_GONE);
    cr_expect_eq(call_file_number(NULL, WEIR_FILE_LOST), WEIR_UNSET);
    call_file_close(NULL);
}

static const struct {
    const char *reason, *path;
    size_t path_size;
    weir_file_options options;
} refused[] = {
    {"no path", NULL, 0, {.size = sizeof(weir_file_options)}},
    {"an empty path", "", 0, {.size = sizeof(weir_file_options)}},
    {"a NUL in the path", "a\0b", 3, {.size = sizeof(weir_file_options)}},
    {"a flag nobody knows", "/log", 4, {.size = sizeof(weir_file_options), .flags = 1U << 9}},
    {"bits beside the mode", "/log", 4, {.size = sizeof(weir_file_options), .mode = 0100644}},
    {"no size", "/log", 4, {.size = 0}},
    {"a size that is too small", "/log", 4, {.size = 8}},
};

Test(policy_files, refused)
{
    static char long_path[5000];
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        cr_expect_null(call_file_open(self_of(0), (weir_str){refused[i].path, refused[i].path_size},
                                      &refused[i].options),
                       "%s", refused[i].reason);
    memset(long_path, 'a', sizeof(long_path));
    cr_expect_null(call_file_open(self_of(0), (weir_str){long_path, 4096}, &plain));
    cr_expect_null(call_file_open(self_of(0), WEIR_LIT("/log"), NULL));
    refuses = true;
    cr_expect_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain), "without memory");
    cr_expect_eq(lent_count, 0);
}

Test(policy_files, of_one_policy_only_so_many_are_open)
{
    weir_file *files[16];
    for (size_t i = 0; i < 16; i++)
        cr_expect_not_null(files[i] = call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
    cr_expect_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
    cr_expect_not_null(call_file_open(self_of(1), WEIR_LIT("/log"), &plain), "another's");
    call_file_close(files[3]);
    cr_expect_not_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
}

Test(policy_files, a_file_lives_on_without_its_policy)
{
    weir_file *own = call_file_open(self_of(0), WEIR_LIT("/log"), &plain);
    weir_file *left = call_file_open(self_of(1), WEIR_LIT("/log"), &plain);
    cr_assert(own != NULL && left != NULL);
    call_file_close(own);
    cr_expect(lent[0].closed && !lent[1].closed);
    fixture_load(&f, HEAD "plugins: []\n"); /* the policies and their memory are gone */
    cr_expect(lent[1].closed, "what a policy leaves open is closed");
    lent[1].numbers[WEIR_FILE_LOST] = 3;
    lent[1].numbers[WEIR_FILE_WAITING_BYTES] = 10;
    lent[1].report(lent[1].arg, false);
    expect_metric("weir_file_lost_lines_total", "3", "still counted");
    log_text[0] = '\0';
    lent[1].numbers[WEIR_FILE_WAITING_BYTES] = 0;
    lent[1].numbers[WEIR_FILE_LOST] = 4;
    end_lent(&lent[1]);
    expect_log("3 plugin p: /log: closed, 4 lines were lost\n", "and told at the end");
    end_lent(&lent[0]);
    expect_log("", "nothing was lost");
}

/* What is told, one report after the other, of one file. */
static const struct {
    const char *reason;
    int64_t error, stalled_ms, waiting, lost;
    const char *log, *waiting_metric, *lost_metric;
} reports[] = {
    {"all is well", 0, 0, 50, 0, "", "50", "0"},
    {"a fault begins", ENOSPC, 0, 60, 0,
     "4 plugin p: /log: cannot write: No space left on device; lines are kept up to 1000 bytes\n",
     "60", "0"},
    {"it goes on", ENOSPC, 0, 900, 0, "", "900", "0"},
    {"lines are lost", ENOSPC, 0, 990, 2,
     "4 plugin p: /log: lines are lost, 990 bytes wait already\n", "990", "2"},
    {"more are", ENOSPC, 0, 990, 5, "", "990", "5"},
    {"another fault", EIO, 0, 990, 5,
     "4 plugin p: /log: cannot write: Input/output error; lines are kept up to 1000 bytes\n", "990",
     "5"},
    {"it is written, not all yet", 0, 0, 100, 6, "", "100", "6"},
    {"all is well again", 0, 0, 0, 6, "2 plugin p: /log: written again, 6 lines were lost\n", "0",
     "6"},
    {"that is told once", 0, 0, 0, 6, "", "0", "6"},
    {"a disk that hangs", 0, 1500, 10, 6,
     "4 plugin p: /log: a write does not come back; lines are kept up to 1000 bytes\n", "10", "6"},
    {"it still does", 0, 2500, 10, 6, "", "10", "6"},
    {"it came back", 0, 0, 0, 6, "2 plugin p: /log: written again, 0 lines were lost\n", "0", "6"},
};

Test(policy_files, what_becomes_of_lines_is_told)
{
    cr_assert_not_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
    for (size_t i = 0; i < COUNT_OF(reports); i++) {
        lent[0].numbers[WEIR_FILE_ERROR] = reports[i].error;
        lent[0].numbers[WEIR_FILE_STALLED_MS] = reports[i].stalled_ms;
        lent[0].numbers[WEIR_FILE_WAITING_BYTES] = reports[i].waiting;
        lent[0].numbers[WEIR_FILE_LOST] = reports[i].lost;
        lent[0].report(lent[0].arg, false);
        expect_log(reports[i].log, reports[i].reason);
        expect_metric("weir_file_waiting_bytes", reports[i].waiting_metric, reports[i].reason);
        expect_metric("weir_file_lost_lines_total", reports[i].lost_metric, reports[i].reason);
    }
}

Test(policy_files, files_of_one_name_are_counted_together)
{
    cr_assert_not_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
    cr_assert_not_null(call_file_open(self_of(1), WEIR_LIT("/log"), &plain));
    cr_assert_not_null(call_file_open(self_of(1), WEIR_LIT("/other"), &plain));
    for (size_t i = 0; i < 3; i++) {
        lent[i].numbers[WEIR_FILE_WAITING_BYTES] = 10 << i;
        lent[i].numbers[WEIR_FILE_LOST] = 1 << i;
        lent[i].report(lent[i].arg, false);
    }
    expect_metric("weir_file_waiting_bytes", "30", "both");
    expect_metric("weir_file_lost_lines_total", "3", "both");
    call_file_close(lent[0].arg);
    lent[0].numbers[WEIR_FILE_WAITING_BYTES] = 0;
    end_lent(&lent[0]);
    expect_metric("weir_file_waiting_bytes", "20", "the one that is left");
}

Test(policy_files, without_a_process_there_are_none)
{
    fixture_close(&f);
    fixture_open(&f, NULL); /* as in weir check */
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_load(&f, HEAD "plugins: [{name: p}]\n");
    cr_assert_eq(f.err, WEIR_OK);
    cr_expect_null(call_file_open(self_of(0), WEIR_LIT("/log"), &plain));
}
