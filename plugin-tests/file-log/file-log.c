/* What ends up in the file: whole lines, in the file that has the name now, and nothing when the
 * file cannot be written, which never disturbs a request. */
#include <criterion/criterion.h>
#include <fcntl.h>
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

Test(file_log, a_renamed_file_is_opened_anew_within_a_second)
{
    char old[80];
    (void)snprintf(old, sizeof(old), "%s.1", path);
    struct kit *kit = open_kit("");
    request(kit, "/1");
    cr_assert_eq(rename(path, old), 0);
    request(kit, "/2");
    cr_expect_eq(count_lines(read_file(old)), 2, "not looked at again so soon");
    kit_advance_ms(kit, 1000);
    request(kit, "/3");
    cr_expect_eq(count_lines(read_file(old)), 2);
    cr_expect_not_null(strstr(read_file(path), "\"uri\":\"/3\""));
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

Test(file_log, a_failure_is_told_once_and_counted)
{
    (void)snprintf(path, sizeof(path), "%s/no/such.log", folder);
    struct kit *kit = open_kit("");
    request(kit, "/1");
    request(kit, "/2");
    kit_advance_ms(kit, 1000);
    request(kit, "/3");
    const char *log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "cannot write: No such file or directory"), 1, "%s", log);
    cr_expect_not_null(strstr(kit_metrics(kit), "weir_file_log_lost_lines_total{path=\""));
    cr_expect_not_null(strstr(kit_metrics(kit), "such.log\"} 3\n"), "%s", kit_metrics(kit));

    char made[80];
    (void)snprintf(made, sizeof(made), "%s/no", folder);
    cr_assert_eq(mkdir(made, 0755), 0);
    kit_advance_ms(kit, 1000);
    request(kit, "/4");
    cr_expect_eq(count_lines(read_file(path)), 1);
    log = kit_log_lines(kit);
    cr_expect_eq(count_text(log, "written again, 3 lines were lost"), 1, "%s", log);
    kit_close(kit);
}

Test(file_log, a_full_disk_costs_lines_not_requests)
{
    (void)snprintf(path, sizeof(path), "/dev/full");
    struct kit *kit = open_kit("");
    request(kit, "/1");
    request(kit, "/2");
    cr_expect_eq(count_text(kit_log_lines(kit), "No space left on device"), 1);
    cr_expect_not_null(strstr(kit_metrics(kit), "{path=\"/dev/full\"} 2\n"));
    kit_close(kit);
}

Test(file_log, a_pipe_that_nobody_reads_does_not_block)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    struct kit *kit = open_kit("");
    request(kit, "/1");
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    kit_advance_ms(kit, 1000);
    for (int i = 0; i < 200; i++) /* more than a pipe holds */
        request(kit, "/2");
    cr_expect_eq(count_text(kit_log_lines(kit), "temporarily unavailable"), 1, "%s",
                 kit_log_lines(kit));
    /* The line that was cut is ended before the next one begins. */
    ssize_t got;
    bool ends_whole = false;
    while ((got = read(reader, content, sizeof(content))) > 0)
        ends_whole = content[got - 1] == '\n';
    request(kit, "/after");
    got = read(reader, content, sizeof(content) - 1);
    cr_assert_gt(got, 0);
    content[got] = '\0';
    cr_expect_eq(strncmp(content, ends_whole ? "{" : "\n{", ends_whole ? 1 : 2), 0, "%s", content);
    cr_expect_eq(close(reader), 0);
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
