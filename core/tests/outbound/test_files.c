/* Files that lines are appended to: what ends up in them, what is lost, and that neither the loop
 * nor the end of the worker ever waits for a write that does not come back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outbound/files.h"
#include "support.h"

static char folder[] = "/tmp/weir-test-files-XXXXXX";
static char path[96], content[1 << 20];
static struct loop *loop;
static struct files *files;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/lines.log", folder);
    clock_update();
    cr_assert_not_null(loop = loop_create());
    cr_assert_not_null(files = files_create(loop));
}

static void tear_down(void)
{
    char command[128];
    files_destroy(files);
    loop_destroy(loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(files, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- a file and what is told of it */

/* Static in the tests: the tear-down still reports. */
struct told {
    struct file *file;
    unsigned reports;
    bool ended;
    int64_t lines;                  /* that were appended, or refused */
    int64_t lost, written, waiting; /* at the last report */
};

static void on_report(void *user, bool ended)
{
    struct told *told = user;
    cr_expect(!told->ended, "nothing is told of a file that has ended");
    told->reports++;
    told->ended = ended;
    told->lost = file_number(told->file, WEIR_FILE_LOST);
    told->written = file_number(told->file, WEIR_FILE_WRITTEN);
    told->waiting = file_number(told->file, WEIR_FILE_WAITING_BYTES);
}

static void open_as(struct told *told, const char *name, uint32_t flags, uint32_t queue_bytes)
{
    const weir_file_options options = {
        .size = sizeof(options), .flags = flags, .queue_bytes = queue_bytes};
    *told = (struct told){NULL};
    told->file = file_open(files, (weir_str){name, strlen(name)}, &options, on_report, told);
    cr_assert_not_null(told->file);
}

static weir_status append(struct told *told, const char *text)
{
    told->lines++;
    return file_append(told->file, (weir_str){text, strlen(text)});
}

#define NUMBER(told, what) file_number((told).file, WEIR_FILE_##what)
/* The writer does not wake the loop, so the loop turns every 10 ms. */
#define WAIT_FOR(condition)                                                    \
    do {                                                                       \
        uint64_t until_us_ = clock_precise_us() + 10000000;                    \
        while (!(condition)) {                                                 \
            cr_assert_lt(clock_precise_us(), until_us_, "never: " #condition); \
            (void)usleep(10000);                                               \
            loop_poll(loop);                                                   \
        }                                                                      \
    } while (0)
#define WAIT_WRITTEN(told) WAIT_FOR(NUMBER(told, WAITING_BYTES) == 0)

static const char *read_name(const char *name)
{
    size_t size = 0;
    FILE *file = fopen(name, "rb");
    if (file != NULL) {
        size = fread(content, 1, sizeof(content) - 1, file);
        cr_expect_eq(fclose(file), 0);
    }
    content[size] = '\0';
    return content;
}

/* ---- lines */

Test(files, lines_come_whole_and_in_order)
{
    struct stat facts;
    static struct told told;
    (void)umask(0);
    open_as(&told, path, 0, 4096);
    cr_expect_neq(stat(path, &facts), 0, "nothing is made before there is a line");
    cr_expect_eq(append(&told, "one"), WEIR_SUCCESS);
    cr_expect_eq(append(&told, ""), WEIR_SUCCESS);
    cr_expect_eq(append(&told, "three"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_expect_str_eq(read_name(path), "one\n\nthree\n");
    cr_expect_eq(NUMBER(told, WRITTEN), 3);
    cr_expect_eq(NUMBER(told, LOST), 0);
    cr_expect_eq(file_number(told.file, 99), WEIR_UNSET);
    cr_expect_eq(stat(path, &facts), 0);
    cr_expect_eq(facts.st_mode & 0777, 0644);
}

Test(files, what_is_no_line_is_lost_and_counted)
{
    static struct told told;
    open_as(&told, path, 0, 4096);
    cr_expect_eq(append(&told, "a\nb"), WEIR_INVALID);
    cr_expect_eq(file_append(told.file, (weir_str){NULL, 0}), WEIR_INVALID);
    cr_expect_eq(NUMBER(told, LOST), 2);
    cr_expect_eq(access(path, F_OK), -1);
    WAIT_FOR(told.reports >= 1);
    cr_expect_eq(told.lost, 2);
}

/* The writer's id, 0: there is none. */
static int find_writer(char *out_blocked, size_t size)
{
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    const struct dirent *task;
    while ((task = readdir(tasks)) != NULL) {
        char name[300], status[4096] = "";
        (void)snprintf(name, sizeof(name), "/proc/self/task/%s/status", task->d_name);
        FILE *file = fopen(name, "r");
        if (file == NULL)
            continue;
        (void)!fread(status, 1, sizeof(status) - 1, file);
        (void)fclose(file);
        const char *blocked = strstr(status, "SigBlk:");
        if (strstr(status, "weir-files") == NULL || blocked == NULL)
            continue;
        found = atoi(task->d_name);
        (void)snprintf(out_blocked, size, "%.16s", blocked + 8);
    }
    (void)closedir(tasks);
    return found;
}

Test(files, the_thread_comes_with_the_first_line_and_takes_no_signals)
{
    char blocked[32] = "";
    static struct told told;
    open_as(&told, path, 0, 4096);
    cr_expect_eq(find_writer(blocked, sizeof(blocked)), 0);
    cr_expect_eq(append(&told, "x"), WEIR_SUCCESS);
    WAIT_FOR(find_writer(blocked, sizeof(blocked)) != 0);
    uint64_t mask = strtoull(blocked, NULL, 16);
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGPIPE, SIGCHLD};
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        cr_expect(mask & UINT64_C(1) << (signals[i] - 1), "signal %d in %s", signals[i], blocked);
    WAIT_WRITTEN(told);
}

/* ---- names */

Test(files, a_renamed_file_is_begun_anew_within_a_second)
{
    char old[128];
    static struct told told;
    (void)snprintf(old, sizeof(old), "%s.1", path);
    open_as(&told, path, 0, 4096);
    cr_expect_eq(append(&told, "1"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_assert_eq(rename(path, old), 0);
    unsigned lines = 1;
    while (access(path, F_OK) != 0 && lines < 1000) {
        cr_expect_eq(append(&told, "2"), WEIR_SUCCESS);
        lines++;
        WAIT_WRITTEN(told);
    }
    size_t there = strlen(read_name(path)), before = strlen(read_name(old));
    cr_expect_geq(there, 2);
    cr_expect_eq((there + before) / 2, lines, "no line is missing");
    cr_expect_geq(before, 4, "not looked at again for each line");
}

Test(files, reopen_follows_at_once)
{
    char old[128];
    static struct told told;
    (void)snprintf(old, sizeof(old), "%s.1", path);
    open_as(&told, path, WEIR_FILE_REOPEN, 4096);
    cr_expect_eq(append(&told, "1"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_assert_eq(rename(path, old), 0);
    cr_expect_eq(append(&told, "2"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_expect_str_eq(read_name(old), "1\n");
    cr_expect_str_eq(read_name(path), "2\n");
}

Test(files, what_cannot_be_written_now_is_written_later)
{
    char name[128], made[96];
    static struct told told;
    (void)snprintf(made, sizeof(made), "%s/no", folder);
    (void)snprintf(name, sizeof(name), "%s/such.log", made);
    open_as(&told, name, 0, 4096);
    cr_expect_eq(append(&told, "1"), WEIR_SUCCESS);
    WAIT_FOR(NUMBER(told, ERROR) == ENOENT);
    cr_expect_eq(append(&told, "2"), WEIR_SUCCESS);
    WAIT_FOR(told.reports >= 1 && told.waiting == 4);
    cr_assert_eq(mkdir(made, 0755), 0);
    WAIT_WRITTEN(told);
    cr_expect_str_eq(read_name(name), "1\n2\n");
    cr_expect_eq(NUMBER(told, ERROR), 0);
    WAIT_FOR(told.waiting == 0); /* that all is well again is told, too */
    cr_expect_eq(NUMBER(told, LOST), 0);
}

/* ---- bounds: four lines of ten bytes for a file that cannot be opened */

static const struct {
    const char *reason;
    uint32_t flags, queue_bytes;
    int64_t lost;
    const char *kept;
} bounds[] = {
    {"the newest are lost", 0, 25, 2, "line0001.\nline0002.\n"},
    {"the oldest are lost", WEIR_FILE_DROP_OLDEST, 25, 2, "line0003.\nline0004.\n"},
    {"all fit", 0, 40, 0, "line0001.\nline0002.\nline0003.\nline0004.\n"},
    {"one may always wait", 0, 0, 3, "line0001.\n"},
    {"a longer one than all does not push out others", WEIR_FILE_DROP_OLDEST, 5, 3, "line0001.\n"},
};

Test(files, the_queue_is_bounded)
{
    static struct told told[COUNT_OF(bounds)];
    char names[COUNT_OF(bounds)][128], made[96];
    (void)snprintf(made, sizeof(made), "%s/no", folder);
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%s/%zu.log", made, i);
        open_as(&told[i], names[i], bounds[i].flags, bounds[i].queue_bytes);
        for (int k = 1; k <= 4; k++) {
            char line[16];
            (void)snprintf(line, sizeof(line), "line%04d.", k);
            weir_status status = append(&told[i], line);
            cr_expect(status == WEIR_SUCCESS || status == WEIR_FULL);
        }
        cr_expect_eq(NUMBER(told[i], LOST), bounds[i].lost, "%s", bounds[i].reason);
    }
    cr_assert_eq(mkdir(made, 0755), 0);
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        WAIT_WRITTEN(told[i]);
        cr_expect_str_eq(read_name(names[i]), bounds[i].kept, "%s", bounds[i].reason);
    }
}

/* A limit of the file's size cuts a line in the middle, as a full disk does. */
static void cut_a_line(bool between, const char *want)
{
    struct rlimit before, tight;
    static struct told told;
    (void)signal(SIGXFSZ, SIG_IGN);
    open_as(&told, path, 0, 4096);
    cr_expect_eq(append(&told, "first"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 10;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
    cr_expect_eq(append(&told, "second"), WEIR_SUCCESS);
    WAIT_FOR(NUMBER(told, ERROR) == EFBIG);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    if (between) {
        int other = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        cr_assert_eq(write(other, "of another\n", 11), 11);
        (void)close(other);
    }
    cr_expect_eq(append(&told, "third"), WEIR_SUCCESS);
    WAIT_WRITTEN(told);
    cr_expect_str_eq(read_name(path), want);
    cr_expect_eq(NUMBER(told, WRITTEN), 3);
}

Test(files, a_line_that_was_cut_is_continued_later)
{
    cut_a_line(false, "first\nsecond\nthird\n");
}

Test(files, a_line_that_was_cut_is_begun_anew_behind_one_of_another)
{
    cut_a_line(true, "first\nsecoof another\n\nsecond\nthird\n");
}

/* ---- pipes */

static size_t read_all(int fd, char *out, size_t size)
{
    size_t at = 0;
    for (ssize_t got = 0; at < size && (got = read(fd, out + at, size - at)) > 0;)
        at += (size_t)got;
    return at;
}

static int make_pipe(void)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    return reader;
}

Test(files, a_pipe_whose_reader_is_behind_gets_every_line)
{
    char line[6001]; /* longer than what a pipe takes in one piece */
    static struct told told;
    size_t size = 0;
    int reader = make_pipe();
    open_as(&told, path, 0, 1 << 20);
    for (int i = 0; i < 40; i++) {
        memset(line, 'a' + i % 26, sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        cr_expect_eq(append(&told, line), WEIR_SUCCESS);
    }
    WAIT_FOR((size += read_all(reader, content + size, sizeof(content) - size)) == 40 * 6001);
    for (int i = 0; i < 40; i++) {
        memset(line, 'a' + i % 26, sizeof(line) - 1);
        line[sizeof(line) - 1] = '\n';
        cr_expect_eq(memcmp(content + i * 6001, line, 6001), 0, "line %d", i);
    }
    cr_expect_eq(NUMBER(told, ERROR), 0);
    cr_expect_eq(close(reader), 0);
}

/* Little at a time, so that the pipe is nearly always full. */
static size_t read_some(int fd, char *out, size_t size)
{
    ssize_t got = read(fd, out, size);
    return got < 0 ? 0 : (size_t)got;
}

Test(files, lines_of_two_workers_do_not_mix_in_a_pipe)
{
    enum { LINES = 300, SIZE = 1000 };
    static struct told told[2];
    struct files *workers[2] = {files, files_create(loop)};
    char line[SIZE + 1];
    size_t size = 0, seen[2] = {0, 0};
    int reader = make_pipe();
    cr_assert_not_null(workers[1]);
    for (int i = 0; i < 2; i++) {
        files = workers[i];
        open_as(&told[i], path, 0, 1 << 20);
        memset(line, 'a' + i, SIZE);
        line[SIZE] = '\0';
        for (int k = 0; k < LINES; k++)
            cr_expect_eq(append(&told[i], line), WEIR_SUCCESS);
    }
    files = workers[0];
    WAIT_FOR((size += read_some(reader, content + size, 9000)) == (size_t)2 * LINES * (SIZE + 1));
    for (const char *at = content; at < content + size; at += SIZE + 1) {
        for (size_t k = 1; k < SIZE; k++)
            cr_assert_eq(at[k], at[0], "line %zu is mixed", (size_t)(at - content) / (SIZE + 1));
        cr_assert_eq(at[SIZE], '\n');
        seen[at[0] - 'a']++;
    }
    cr_expect(seen[0] == LINES && seen[1] == LINES);
    cr_expect_eq(close(reader), 0);
    files_destroy(workers[1]);
}

/* Half of the first line is out already: it is finished, the ones behind it make room. */
Test(files, the_oldest_that_is_lost_is_not_the_one_under_way)
{
    char line[3001];
    static struct told told;
    size_t size = 0, lines = 0;
    int reader = make_pipe();
    open_as(&told, path, WEIR_FILE_DROP_OLDEST, 50000);
    for (int i = 0; i < 100; i++) {
        memset(line, 'a' + i % 26, sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        cr_expect_eq(append(&told, line), WEIR_SUCCESS);
        (void)usleep(1000);
    }
    cr_expect_eq(append(&told, "last"), WEIR_SUCCESS);
    cr_expect_gt(NUMBER(told, LOST), 0);
    WAIT_FOR((size += read_all(reader, content + size, sizeof(content) - size)) >= 5 &&
             memcmp(content + size - 5, "last\n", 5) == 0);
    for (const char *at = content; at < content + size - 5; at += 3001, lines++)
        for (size_t k = 1; k < 3000; k++)
            cr_assert_eq(at[k], at[0], "line %zu is mixed", lines);
    cr_expect_eq((int64_t)lines + 1, NUMBER(told, WRITTEN));
    cr_expect_eq(NUMBER(told, WRITTEN) + NUMBER(told, LOST), 101);
    cr_expect_eq(close(reader), 0);
}

/* ---- a write that does not come back: a full pipe whose descriptor was made to block */

static void block_writer(const char *name)
{
    bool found = false;
    DIR *folder_of_fds = opendir("/proc/self/fd");
    cr_assert_not_null(folder_of_fds);
    const struct dirent *entry;
    while ((entry = readdir(folder_of_fds)) != NULL) {
        char link[300], target[300] = "";
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
        if (readlink(link, target, sizeof(target) - 1) < 0 || strcmp(target, name) != 0)
            continue;
        int fd = atoi(entry->d_name), flags = fcntl(fd, F_GETFL);
        if ((flags & O_ACCMODE) != O_WRONLY)
            continue;
        cr_assert_eq(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
        found = true;
    }
    (void)closedir(folder_of_fds);
    cr_assert(found);
}

/* The reader; `told` is a full pipe that the writer hangs in, with a full queue. */
static int hang(struct told *told, uint32_t queue_bytes)
{
    static char line[1001];
    int reader = make_pipe();
    memset(line, 'x', sizeof(line) - 1);
    open_as(told, path, 0, queue_bytes);
    cr_expect_eq(append(told, "first"), WEIR_SUCCESS);
    WAIT_WRITTEN(*told);
    block_writer(path);
    for (int i = 0; i < 1000; i++)
        (void)append(told, line);
    WAIT_FOR(NUMBER(*told, STALLED_MS) > 0);
    while (append(told, line) == WEIR_SUCCESS)
        continue;
    return reader;
}

Test(files, a_write_that_hangs_holds_up_neither_the_loop_nor_the_end)
{
    char other_path[128];
    static struct told told, other;
    static char line[1001];
    int reader = hang(&told, 100000);
    memset(line, 'y', sizeof(line) - 1);
    (void)snprintf(other_path, sizeof(other_path), "%s/other.log", folder);
    open_as(&other, other_path, 0, 4096);
    uint64_t begun_us = clock_precise_us();
    unsigned refused = 0;
    for (int i = 0; i < 10000; i++)
        refused += append(&told, line) == WEIR_FULL;
    cr_expect_eq(refused, 10000);
    cr_expect_eq(append(&other, "waits"), WEIR_SUCCESS);
    cr_expect_lt(clock_precise_us() - begun_us, 1000000);
    cr_expect_eq(NUMBER(told, ERROR), 0);
    cr_expect_leq(NUMBER(told, WAITING_BYTES), 100000);
    cr_expect_gt(NUMBER(other, STALLED_MS), 0, "it says why its lines wait");
    begun_us = clock_precise_us();
    files_destroy(TAKE(files));
    cr_expect_lt(clock_precise_us() - begun_us, 3000000);
    cr_expect(told.ended && other.ended);
    cr_expect_eq(told.lost + told.written, told.lines);
    cr_expect_eq(other.lost, 1);
    /* The thread is still there; it may come back. */
    WAIT_FOR(read_all(reader, content, sizeof(content)) == 0);
    cr_expect_eq(close(reader), 0);
}

Test(files, a_closed_file_that_hangs_ends_and_the_others_go_on_later)
{
    char other_path[128];
    static struct told told, other;
    int reader = hang(&told, 100000);
    (void)snprintf(other_path, sizeof(other_path), "%s/other.log", folder);
    open_as(&other, other_path, 0, 4096);
    cr_expect_eq(append(&other, "waits"), WEIR_SUCCESS);
    file_close(told.file);
    WAIT_FOR(told.ended);
    cr_expect_eq(told.lost + told.written, told.lines);
    cr_expect_gt(NUMBER(other, WAITING_BYTES), 0);
    WAIT_FOR(read_all(reader, content, sizeof(content)) == 0 && NUMBER(other, WAITING_BYTES) == 0);
    cr_expect_str_eq(read_name(other_path), "waits\n");
    cr_expect_eq(close(reader), 0);
}

/* ---- the end */

Test(files, a_closed_file_is_written_and_ends)
{
    static struct told told, unused;
    open_as(&told, path, 0, 4096);
    open_as(&unused, path, 0, 4096);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(append(&told, "0123456789"), WEIR_SUCCESS);
    file_close(told.file);
    file_close(unused.file);
    cr_expect(!told.ended && !unused.ended, "never from inside the call");
    WAIT_FOR(told.ended && unused.ended);
    cr_expect_eq(told.written, 100);
    cr_expect_eq(told.lost, 0);
    cr_expect_eq(strlen(read_name(path)), 1100);
}

Test(files, the_end_writes_what_waits)
{
    static struct told told;
    open_as(&told, path, 0, 100000);
    for (int i = 0; i < 1000; i++)
        cr_expect_eq(append(&told, "0123456789"), WEIR_SUCCESS);
    uint64_t begun_us = clock_precise_us();
    files_destroy(TAKE(files));
    cr_expect_lt(clock_precise_us() - begun_us, 1000000);
    cr_expect(told.ended);
    cr_expect_eq(told.written, 1000);
    cr_expect_eq(strlen(read_name(path)), 11000);
}

Test(files, a_full_disk_does_not_delay_the_end)
{
    static struct told told;
    open_as(&told, "/dev/full", 0, 4096);
    cr_expect_eq(append(&told, "1"), WEIR_SUCCESS);
    WAIT_FOR(NUMBER(told, ERROR) == ENOSPC);
    uint64_t begun_us = clock_precise_us();
    files_destroy(TAKE(files));
    cr_expect_lt(clock_precise_us() - begun_us, 1000000);
    cr_expect(told.ended);
    cr_expect_eq(told.lost, 1);
}

Test(files, a_pipe_that_nobody_reads_delays_the_end_by_a_moment)
{
    static char line[60001];
    static struct told told;
    int reader = make_pipe();
    memset(line, 'x', sizeof(line) - 1);
    open_as(&told, path, 0, 1 << 20);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(append(&told, line), WEIR_SUCCESS);
    uint64_t begun_us = clock_precise_us();
    files_destroy(TAKE(files));
    uint64_t took_us = clock_precise_us() - begun_us;
    cr_expect(took_us > 1400000 && took_us < 2500000, "%llu us", (unsigned long long)took_us);
    cr_expect_eq(told.written + told.lost, 4);
    cr_expect_geq(told.lost, 2);
    cr_expect_eq(close(reader), 0);
}
