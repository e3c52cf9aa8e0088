/* The pieces of start-up: steps and their undoing, pauses after deaths, the prefix, listeners, what
 * needs a restart, the probe's report. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/backoff.h"
#include "process/instance.h"
#include "process/probe.h"

TestSuite(process_start, .timeout = 30);

/* ---- steps */

struct diary {
    char text[64];
    int fails_at; /* step that fails, -1: none */
};

static bool note(struct diary *diary, char step)
{
    size_t size = strlen(diary->text);
    diary->text[size] = step;
    diary->text[size + 1] = '\0';
    return step - 'a' != diary->fails_at;
}
static bool run_a(void *user)
{
    return note(user, 'a');
}
static bool run_b(void *user)
{
    return note(user, 'b');
}
static bool run_c(void *user)
{
    return note(user, 'c');
}
static void undo_a(void *user)
{
    (void)note(user, 'A');
}
static void undo_c(void *user)
{
    (void)note(user, 'C');
}

Test(process_start, what_was_done_is_undone_backwards)
{
    static const struct start_step steps[] = {
        {"a", run_a, undo_a}, {"b", run_b, NULL}, {"c", run_c, undo_c}};
    static const struct {
        const char *why;
        int fails_at;
        const char *diary;
    } rows[] = {
        {"all of it, and back", -1, "abcCA"},
        {"the step that failed cleans up itself: no C", 2, "abcA"},
        {"later ones never ran; b has nothing to undo", 1, "abA"},
        {"nothing was done", 0, "a"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct diary diary = {.fails_at = rows[i].fails_at};
        size_t done = steps_run(steps, COUNT_OF(steps), &diary);
        cr_expect_eq(done == COUNT_OF(steps), rows[i].fails_at < 0, "%s", rows[i].why);
        steps_undo(steps, done, &diary);
        cr_expect_str_eq(diary.text, rows[i].diary, "%s", rows[i].why);
    }
}

/* ---- pauses */

Test(process_start, a_seat_that_dies_again_and_again_waits_longer)
{
    static const struct {
        const char *why;
        uint32_t after_ms, want_ms;
    } rows[] = {
        {"1: at once", 1000, 0},
        {"2", 100, 0},
        {"3", 100, 0},
        {"4", 100, 0},
        {"5: still free", 100, 0},
        {"6 in half a second: the first pause", 100, 100},
        {"doubled", 200, 200},
        {"doubled", 300, 400},
        {"doubled", 500, 800},
        {"doubled", 900, 1600},
        {"doubled", 1700, 3200},
        {"never longer than 5 s", 3300, 5000},
        {"and it stays there while it goes on", 5100, 5000},
        {"ten seconds of peace: at once again", 10001, 0},
        {"and free again", 100, 0},
        {"and free again", 100, 0},
        {"and free again", 100, 0},
    };
    struct backoff backoff = {0};
    uint64_t now_ms = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        now_ms += rows[i].after_ms;
        cr_expect_eq(backoff_after_death(&backoff, now_ms), rows[i].want_ms, "row %zu: %s", i,
                     rows[i].why);
    }
}

Test(process_start, deaths_far_apart_never_wait)
{
    struct backoff backoff = {0};
    for (uint64_t i = 1; i < 50; i++)
        cr_expect_eq(backoff_after_death(&backoff, i * 2600), 0, "4 in 10 s are free");
}

/* ---- prefix */

static char folder[] = "/tmp/weir-test-XXXXXX";

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    cr_expect_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static bool exists(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void touch(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", path);
    (void)close(fd);
}

#define HASH "0123456789012345678901234567890123456789012345678901234567890123"

Test(process_start, a_build_is_sealed_into_links, .init = make_folder, .fini = remove_folder)
{
    struct prefix prefix;
    char why[512], target[512] = "", link[256], name[64];
    cr_assert(prefix_take(&prefix, span_text(folder), why, sizeof(why)), "%s", why);
    cr_assert(prefix_build_make(&prefix, 7));
    cr_expect_not(prefix_build_latest(&prefix, 7, name, sizeof(name)), "nothing was loaded yet");
    touch("builds/7/key-auth." HASH ".so");
    touch("builds/7/stray.so");
    cr_assert(prefix_build_latest(&prefix, 7, name, sizeof(name)));
    cr_expect_str_eq(name, "key-auth");
    cr_assert(prefix_build_seal(&prefix, 7));
    cr_expect(exists("images/key-auth." HASH ".so"));
    cr_expect(exists("builds/7/key-auth.so"));
    cr_expect_not(exists("builds/7/key-auth." HASH ".so"));
    (void)snprintf(link, sizeof(link), "%s/builds/7/key-auth.so", folder);
    cr_assert_gt(readlink(link, target, sizeof(target) - 1), 0);
    cr_expect_str_eq(strrchr(target, '/'), "/key-auth." HASH ".so", "exactly that build");
    prefix_build_remove(&prefix, 7);
    cr_expect_not(exists("builds/7"));
    cr_expect(exists("images/key-auth." HASH ".so"), "a core may need it");
    prefix_leave(&prefix);
    cr_expect_not(exists("weir.pid"));
    cr_expect_not(exists("images/key-auth." HASH ".so"));
}

Test(process_start, one_gateway_for_each_prefix, .init = make_folder, .fini = remove_folder)
{
    struct prefix prefix;
    char why[512] = "", want[64];
    cr_assert(prefix_take(&prefix, span_text(folder), why, sizeof(why)), "%s", why);
    pid_t child = fork();
    if (child == 0) { /* a lock of this process does not stop this process */
        struct prefix second;
        bool taken = prefix_take(&second, span_text(folder), why, sizeof(why));
        (void)snprintf(want, sizeof(want), "with pid %d", (int)getppid());
        _exit(taken ? 1 : strstr(why, want) == NULL ? 2 : 0);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(WEXITSTATUS(status), 0, "1: taken twice, 2: the pid is not named; %d",
                 WEXITSTATUS(status));
    cr_expect(exists("weir.pid"), "the second one leaves the first one's file alone");
    prefix_leave(&prefix);
    cr_expect(prefix_take(&prefix, span_text(folder), why, sizeof(why)), "free again: %s", why);
    prefix_leave(&prefix);
}

Test(process_start, a_prefix_that_others_can_write_to_is_refused, .init = make_folder,
     .fini = remove_folder)
{
    struct prefix prefix;
    char why[512] = "";
    cr_assert_eq(chmod(folder, 0777), 0);
    cr_expect_not(prefix_take(&prefix, span_text(folder), why, sizeof(why)));
    cr_expect_not_null(strstr(why, "nobody else can write to"), "%s", why);
}

/* ---- listeners */

static struct listen local = {.address = {"127.0.0.1:0", 11}, .host = {"127.0.0.1", 9}};

Test(process_start, a_socket_for_every_worker_and_one_for_all)
{
    struct settings settings = {.proxy_listen = {&local, 1}, .status_listen = {&local, 1}};
    struct sockets sockets;
    char why[256] = "";
    cr_assert(sockets_open(&sockets, &settings, 3, true, why, sizeof(why)), "%s", why);
    cr_assert_eq(sockets.count, 4);
    for (uint32_t i = 0; i < 3; i++) {
        const struct listen_socket *item = &sockets.items[i];
        cr_expect_eq(item->kind, SOCKET_PROXY);
        cr_expect_eq(item->worker, i);
        cr_expect_eq(item->port, sockets.items[0].port, "port 0 is chosen once");
        cr_expect_neq(item->port, 0);
    }
    cr_expect_eq(sockets.items[3].kind, SOCKET_STATUS);
    cr_expect_eq(sockets.items[3].worker, SOCKET_OF_ALL);
    sockets_keep(&sockets, 1);
    cr_expect_eq(sockets.items[0].fd, -1, "another worker's");
    cr_expect_geq(sockets.items[1].fd, 0, "its own");
    cr_expect_geq(sockets.items[3].fd, 0, "everybody's");
    sockets_close_proxy(&sockets);
    cr_expect_eq(sockets.items[1].fd, -1);
    cr_expect_geq(sockets.items[3].fd, 0, "status answers on");
    sockets_close(&sockets);
}

Test(process_start, listeners_open_all_or_none, .init = make_folder, .fini = remove_folder)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "unix:%s/in.sock", folder);
    struct listen items[] = {{.address = span_text(path), .unix_socket = true},
                             {.address = SPAN("localhost:80")}};
    struct settings settings = {.proxy_listen = {items, 2}};
    struct sockets sockets;
    char why[256] = "";
    cr_expect_not(sockets_open(&sockets, &settings, 2, false, why, sizeof(why)));
    cr_expect_not_null(strstr(why, "localhost:80"), "%s", why);
    cr_expect_not(exists("in.sock"), "the one that was opened is gone");
    settings.proxy_listen.count = 1;
    cr_assert(sockets_open(&sockets, &settings, 2, false, why, sizeof(why)), "%s", why);
    cr_expect_eq(sockets.count, 1, "a path has no SO_REUSEPORT: one for all");
    cr_expect(exists("in.sock"));
    sockets_close(&sockets);
    cr_expect_not(exists("in.sock"));
}

Test(process_start, a_port_is_what_clients_see)
{
    struct port_map map = {443, 0};
    struct settings settings = {.proxy_listen = {&local, 1}};
    struct sockets sockets;
    char why[256] = "";
    cr_assert(sockets_open(&sockets, &settings, 1, false, why, sizeof(why)), "%s", why);
    char text[64];
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)sockets.items[0].port);
    map.inside = sockets.items[0].port;
    sockets_close(&sockets);
    struct listen known = {.address = span_text(text)};
    settings.proxy_listen.items = &known;
    settings.port_maps = (struct port_map_list){&map, 1};
    cr_assert(sockets_open(&sockets, &settings, 1, false, why, sizeof(why)), "%s", why);
    cr_expect_eq(sockets.items[0].port, 443);
    sockets_close(&sockets);
}

Test(process_start, two_gateways_do_not_share_a_port)
{
    struct settings settings = {.proxy_listen = {&local, 1}};
    struct sockets first, second;
    char text[64], why[256] = "";
    cr_assert(sockets_open(&first, &settings, 2, false, why, sizeof(why)), "%s", why);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)first.items[0].port);
    struct listen taken = {.address = span_text(text)};
    settings.proxy_listen.items = &taken;
    cr_expect_not(sockets_open(&second, &settings, 2, false, why, sizeof(why)),
                  "SO_REUSEPORT is for the workers of one gateway");
    cr_expect_not_null(strstr(why, text), "%s", why);
    cr_expect_not_null(strstr(why, "Address already in use"), "%s", why);
    sockets_close(&first);
    cr_assert(sockets_open(&second, &settings, 2, false, why, sizeof(why)), "%s", why);
    sockets_close(&second);
}

/* ---- what needs a restart */

Test(process_start, settings_that_a_reload_cannot_change)
{
    static const struct listen other = {.address = {"127.0.0.1:1", 11}};
    const struct settings same = {.workers = 2, .proxy_listen = {&local, 1}};
    const struct {
        const char *why, *name;
        struct settings wanted;
    } rows[] = {
        {"nothing changed", NULL, {.workers = 2, .proxy_listen = {&local, 1}}},
        {"workers are forked at start", "workers", {.workers = 3, .proxy_listen = {&local, 1}}},
        {"an address", "proxy_listen", {.workers = 2, .proxy_listen = {&other, 1}}},
        {"none at all", "proxy_listen", {.workers = 2}},
        {"the log's level is taken at once",
         NULL,
         {.workers = 2, .proxy_listen = {&local, 1}, .level = LOG_DEBUG}},
        {"the prefix", "prefix", {.workers = 2, .proxy_listen = {&local, 1}, .prefix = SPAN("/x")}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF text = BUF_INIT;
        char want[128] = "";
        settings_compare(&same, &rows[i].wanted, "kong.yml", &text);
        if (rows[i].name != NULL)
            (void)snprintf(want, sizeof(want),
                           "kong.yml: warning: gateway.%s: the change needs a restart\n",
                           rows[i].name);
        cr_expect(span_equal(buf_view(&text), span_text(want)), "%s: %.*s", rows[i].why,
                  SPAN_ARG(buf_view(&text)));
    }
}

Test(process_start, a_report_that_is_not_whole_is_none)
{
    struct probe_result result = {0};
    char junk[512];
    memset(junk, 0x41, sizeof(junk));
    for (size_t size = 0; size <= sizeof(junk); size += 8)
        cr_expect_not(probe_parse(span_of(junk, size), &result), "%zu bytes of junk", size);
    cr_expect_null(result.manifest.builds);
}
