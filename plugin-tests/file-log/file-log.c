/* What ends up in the file, and that a file which takes nothing never disturbs a request: it is
 * logged once, counted, and made good later. Rotation, pipes and hanging disks are the host's:
 * core/tests/outbound/test_files.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weir_testkit.h>

static char folder[] = "/tmp/weir-file-log-XXXXXX";
static char path[64], yaml[2048], content[65536];

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/requests.log", folder);
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(file_log, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *with_config(const char *config)
{
    (void)snprintf(yaml, sizeof(yaml),
                   "_format_version: '3.0'\n"
                   "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
                   "plugins: [{name: file-log, config: {%s}}]\n",
                   config);
    return yaml;
}

static struct kit *open_kit(const char *more)
{
    char config[1024];
    (void)snprintf(config, sizeof(config), "path: '%s'%s", path, more);
    struct kit *kit = kit_open(with_config(config));
    cr_assert_not_null(kit, "%s", kit_error());
    return kit;
}

static void request(struct kit *kit, const char *target)
{
    kit_request *r = kit_request_new(kit, "GET", target);
    cr_expect_eq(kit_run(r), 200);
    kit_request_free(r);
}

static const char *read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    size_t size = 0;
    if (file != NULL) {
        size = fread(content, 1, sizeof(content) - 1, file);
        cr_expect_eq(fclose(file), 0);
    }
    content[size] = '\0';
    return content;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

Test(file_log, a_line_for_each_request)
{
    struct stat facts;
    (void)umask(0);
    struct kit *kit = open_kit("");
    cr_expect_neq(stat(path, &facts), 0, "nothing is made before there is a line");
    kit_request *r = kit_request_new(kit, "GET", "/a?x=1");
    kit_request_header(r, "Authorization", "Basic c2VjcmV0");
    cr_expect_eq(kit_run(r), 200);
    const char *expected = kit_log_document(r);
    const char *text = read_file(path);
    size_t size = strlen(expected);
    cr_expect_eq(strncmp(text, expected, size), 0, "%s", text);
    cr_expect_str_eq(text + size, "\n");
    cr_expect_not_null(strstr(text, "\"uri\":\"/a?x=1\""));
    cr_expect_null(strstr(text, "c2VjcmV0"));
    request(kit, "/b");
    cr_expect_eq(count_lines(read_file(path)), 2);
    cr_expect_eq(stat(path, &facts), 0);
    cr_expect_eq(facts.st_mode & 0777, 0644);
    kit_close(kit);
}

Test(file_log, also_without_a_route_and_when_the_client_leaves)
{
    struct kit *kit = open_kit("");
    kit_request *r = kit_request_new(kit, "GET", "/zzz");
    kit_request_route(r, NULL);
    cr_expect_eq(kit_run(r), 404);
    const char *text = read_file(path);
    cr_expect_not_null(strstr(text, "\"status\":404"), "%s", text);
    cr_expect_null(strstr(text, "\"route\""), "%s", text);
    cr_expect_null(strstr(text, "\"tries\""), "%s", text);
    kit_close(kit);
}

Test(file_log, what_is_there_is_kept)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_geq(fputs("before\n", file), 0);
    cr_assert_eq(fclose(file), 0);
    struct kit *kit = open_kit("");
    request(kit, "/");
    cr_expect_eq(strncmp(read_file(path), "before\n{", 8), 0);
    kit_close(kit);
}

Test(file_log, reopen_follows_at_once)
{
    char old[80];
    (void)snprintf(old, sizeof(old), "%s.1", path);
    struct kit *kit = open_kit(", reopen: true");
    request(kit, "/1");
    cr_assert_eq(rename(path, old), 0);
    request(kit, "/2");
    cr_expect_eq(count_lines(read_file(old)), 1);
    cr_expect_eq(count_lines(read_file(path)), 1);
    kit_close(kit);
}

static unsigned count_text(const char *text, const char *part)
{
    unsigned count = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        count++;
    return count;
}

static void expect_metric(struct kit *kit, const char *name, const char *value)
{
    char line[160];
    const char *metrics = kit_metrics(kit);
    (void)snprintf(line, sizeof(line), "%s{plugin=\"file-log\",path=\"%s\"} %s\n", name, path,
                   value);
    cr_expect_not_null(strstr(metrics, line), "no %s in\n%s", line, metrics);
}

/* The lines say these targets, in this order, and nothing else is between them. */
static void expect_targets(const char *text, const char *const *targets, size_t count)
{
    const char *line = text;
    for (size_t i = 0; i < count; i++) {
        char uri[64];
        const char *end = strchr(line, '\n');
        (void)snprintf(uri, sizeof(uri), "\"uri\":\"%s\"", targets[i]);
        const char *at = strstr(line, uri);
        cr_assert(*line == '{' && end != NULL && end[-1] == '}', "no whole line for %s: %.200s",
                  targets[i], line);
        cr_assert(at != NULL && at < end, "no %s in %.200s", uri, line);
        line = end + 1;
    }
    cr_expect_str_empty(line);
}

Test(file_log, what_cannot_be_written_now_is_written_later)
{
    (void)snprintf(path, sizeof(path), "%s/no/such.log", folder);
    struct kit *kit = open_kit("");
    request(kit, "/1");
    request(kit, "/2");
    kit_advance_ms(kit, 1000);
    request(kit, "/3");
    const char *log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "cannot write: No such file or directory"), 1, "%s", log);
    expect_metric(kit, "weir_file_lost_lines_total", "0");

    char made[80];
    (void)snprintf(made, sizeof(made), "%s/no", folder);
    cr_assert_eq(mkdir(made, 0755), 0);
    kit_advance_ms(kit, 1000);
    expect_metric(kit, "weir_file_waiting_bytes", "0");
    static const char *const targets[] = {"/1", "/2", "/3", "/4"};
    request(kit, "/4");
    expect_targets(read_file(path), targets, 4);
    log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "written again, 0 lines were lost"), 1, "%s", log);
    kit_close(kit);
}

/* Which lines are left when no more may wait: a line of these has between 1001 and 1500 bytes. */
static const struct {
    const char *reason, *config, *lost;
    const char *kept[4];
    size_t kept_count;
} overflows[] = {
    {"the newest is lost by default", ", queue_bytes: 3000", "2", {"/1", "/2", "/after"}, 3},
    {"the newest", ", queue_bytes: 3000, overflow: drop-newest", "2", {"/1", "/2", "/after"}, 3},
    {"the oldest", ", queue_bytes: 3000, overflow: drop-oldest", "2", {"/3", "/4", "/after"}, 3},
    {"a single line always may wait", ", queue_bytes: 0", "3", {"/1", "/after"}, 2},
    {"the same for the oldest",
     ", queue_bytes: 0, overflow: drop-oldest",
     "3",
     {"/1", "/after"},
     2},
    {"a line above the bound", ", queue_bytes: 100", "3", {"/1", "/after"}, 2},
};

Test(file_log, the_queue_is_bounded)
{
    for (size_t i = 0; i < sizeof(overflows) / sizeof(overflows[0]); i++) {
        char made[80];
        static const char *const targets[] = {"/1", "/2", "/3", "/4"};
        (void)snprintf(path, sizeof(path), "%s/no%zu/such.log", folder, i);
        struct kit *kit = open_kit(overflows[i].config);
        for (size_t k = 0; k < 4; k++)
            request(kit, targets[k]);
        expect_metric(kit, "weir_file_lost_lines_total", overflows[i].lost);
        cr_expect_eq(count_text(kit_log_lines(kit), "lines are lost"), 1, "%s: %s",
                     overflows[i].reason, kit_log_lines(kit));
        (void)snprintf(made, sizeof(made), "%s/no%zu", folder, i);
        cr_assert_eq(mkdir(made, 0755), 0);
        kit_advance_ms(kit, 1000);
        request(kit, "/after");
        expect_targets(read_file(path), overflows[i].kept, overflows[i].kept_count);
        expect_metric(kit, "weir_file_lost_lines_total", overflows[i].lost);
        cr_expect_eq(count_text(kit_log_lines(kit), "written again"), 1, "%s", overflows[i].reason);
        kit_close(kit);
    }
}

Test(file_log, a_full_disk_costs_no_request)
{
    struct kit *kit = open_kit("");
    kit_file_fail(kit, path, ENOSPC);
    request(kit, "/1");
    request(kit, "/2");
    kit_advance_ms(kit, 5000);
    const char *log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "No space left on device"), 1, "%s", log);
    struct kit *metrics = kit_second_worker(kit);
    cr_expect(kit_reload(kit, with_config("path: /dev/null")), "%s", kit_error());
    expect_metric(kit, "weir_file_lost_lines_total", "0");
    kit_advance_ms(kit, 2000); /* what waits at the end is tried so long, then it is lost */
    expect_metric(kit, "weir_file_lost_lines_total", "2");
    expect_metric(kit, "weir_file_waiting_bytes", "0");
    log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "closed, 2 lines were lost"), 1, "%s", log);
    kit_close(metrics);
    kit_close(kit);
}

Test(file_log, a_disk_that_hangs_costs_no_request)
{
    struct kit *kit = open_kit(", queue_bytes: 3000");
    kit_file_hang(kit, path);
    for (int i = 0; i < 4; i++)
        request(kit, "/hangs");
    cr_expect_str_empty(read_file(path));
    kit_advance_ms(kit, 1000);
    const char *log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "a write does not come back"), 1, "%s", log);
    cr_expect_eq(count_text(log, "lines are lost"), 1, "%s", log);
    expect_metric(kit, "weir_file_lost_lines_total", "2");
    kit_file_fail(kit, path, 0);
    request(kit, "/after");
    cr_expect_eq(count_lines(read_file(path)), 3);
    log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "written again, 2 lines were lost"), 1, "%s", log);
    expect_metric(kit, "weir_file_waiting_bytes", "0");
    kit_close(kit);
}

Test(file_log, what_waits_is_written_at_the_end)
{
    struct kit *kit = open_kit("");
    kit_file_hang(kit, path);
    request(kit, "/1");
    kit_file_fail(kit, path, 0);
    kit_close(kit); /* no turn came */
    static const char *const targets[] = {"/1"};
    expect_targets(read_file(path), targets, 1);
}

Test(file_log, what_a_policy_leaves_behind_is_written_after_a_reload)
{
    char other[80], config[160];
    struct kit *kit = open_kit("");
    kit_file_hang(kit, path);
    request(kit, "/old");
    (void)snprintf(other, sizeof(other), "%s.new", path);
    (void)snprintf(config, sizeof(config), "path: '%s'", other);
    cr_assert(kit_reload(kit, with_config(config)), "%s", kit_error());
    request(kit, "/new");
    kit_file_fail(kit, path, 0);
    kit_turn(kit);
    static const char *const old[] = {"/old"}, *const new[] = {"/new"};
    expect_targets(read_file(path), old, 1);
    expect_targets(read_file(other), new, 1);
    kit_close(kit);
}

Test(file_log, reopen_waits_for_its_file_too)
{
    char made[80];
    (void)snprintf(path, sizeof(path), "%s/no/such.log", folder);
    struct kit *kit = open_kit(", reopen: true");
    request(kit, "/1");
    (void)snprintf(made, sizeof(made), "%s/no", folder);
    cr_assert_eq(mkdir(made, 0755), 0);
    kit_advance_ms(kit, 1000);
    request(kit, "/2");
    static const char *const targets[] = {"/1", "/2"};
    expect_targets(read_file(path), targets, 2);
    kit_close(kit);
}

Test(file_log, constants_are_set)
{
    struct kit *kit =
        open_kit(", custom_fields_by_lua: {env: \"return 'prod'\", route: return nil, "
                 "n: ' return -1.5e3; ', ok: return true, "
                 "q: 'return \"a\\\"\\n\"', request.id: return \"own\"}");
    request(kit, "/");
    const char *text = read_file(path);
    cr_expect_not_null(strstr(text, "\"env\":\"prod\""), "%s", text);
    cr_expect_null(strstr(text, "\"route\""), "%s", text);
    cr_expect_not_null(strstr(text, "\"n\":-1.5e3"), "%s", text);
    cr_expect_not_null(strstr(text, "\"ok\":true"), "%s", text);
    cr_expect_not_null(strstr(text, "\"q\":\"a\\\"\\u000a\""), "%s", text);
    cr_expect_not_null(strstr(text, "\"request\":{\"id\":\"own\""), "%s", text);
    cr_expect_eq(count_lines(text), 1);
    kit_close(kit);
}

Test(file_log, refused)
{
    static const struct {
        const char *reason, *config, *why;
    } rows[] = {
        {"a path must be given", "reopen: true", "path"},
        {"Kong refuses these too", "path: 'a*b'", "not a valid filename"},
        {"spaces around it", "path: ' a'", "not a valid filename"},
        {"a line break", "path: \"a\\nb\"", "not a valid filename"},
        {"Lua that does something", "path: a, custom_fields_by_lua: {h: \"return kong.ip\"}",
         "h: there is no Lua here"},
        {"two values", "path: a, custom_fields_by_lua: {h: \"return 'a' .. 'b'\"}",
         "h: there is no Lua here"},
        {"a name", "path: a, custom_fields_by_lua: {h: \"return x\"}", "h: there is no Lua here"},
        {"no statement", "path: a, custom_fields_by_lua: {h: \"'x'\"}", "h: there is no Lua here"},
        {"another word", "path: a, custom_fields_by_lua: {h: \"returned 1\"}",
         "h: there is no Lua here"},
        {"text without end", "path: a, custom_fields_by_lua: {h: \"return 'x\"}",
         "h: there is no Lua here"},
        {"a size is not negative", "path: a, queue_bytes: -1", "queue_bytes"},
        {"a queue has a bound", "path: a, queue_bytes: 2g", "queue_bytes"},
        {"another overflow", "path: a, overflow: block", "overflow"},
        {"a backtick", "path: 'a`b'", "not a valid filename"},
        {"a percent sign", "path: 'a%b'", "not a valid filename"},
        {"an ampersand", "path: 'a&b'", "not a valid filename"},
        {"a space behind it", "path: 'a '", "not a valid filename"},
        {"no such field", "path: a, pathh: b", "pathh"},
        {"not a boolean", "path: a, reopen: often", "reopen"},
        {"an odd number", "path: a, custom_fields_by_lua: {h: \"return 1.\"}",
         "h: there is no Lua here"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = kit_open(with_config(rows[i].config));
        cr_expect_null(kit, "%s", rows[i].reason);
        cr_expect_not_null(strstr(kit_error(), rows[i].why), "%s: %s", rows[i].reason, kit_error());
        kit_close(kit);
    }
}

Test(file_log, workers_do_not_mix_their_lines)
{
    struct kit *kit = open_kit("");
    struct kit *other = kit_second_worker(kit);
    for (int i = 0; i < 20; i++)
        request(i % 2 == 0 ? kit : other, "/");
    const char *text = read_file(path);
    cr_expect_eq(count_lines(text), 20);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        cr_expect_eq(*line, '{');
    kit_close(other);
    kit_close(kit);
}

Test(file_log, the_example_of_the_readme_works)
{
    struct kit *kit = kit_open_markdown("plugins/file-log/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_empty(kit_warnings());
    kit_close(kit);
}
