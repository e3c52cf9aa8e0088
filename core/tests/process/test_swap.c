/* What stands behind swaps: the judgement over a new build, the ledger, the queue of orders, and
 * the files of builds. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/build_files.h"
#include "process/watch.h"

TestSuite(process_swap, .timeout = 30);

/* ---- the judgement */

Test(process_swap, a_new_build_is_judged_beside_the_old_one)
{
    static const struct {
        const char *why;
        struct watch_counts before, after;
        const char *said; /* NULL: it does well */
    } rows[] = {
        {"nothing happened yet", {1000, 0, 0, 1000, 0}, {0, 0, 0, 0, 0}, NULL},
        {"as good as the old one", {1000, 0, 0, 1000000, 0}, {1000, 0, 0, 1000000, 0}, NULL},
        {"four are no rate", {1000, 0, 0, 1000, 0}, {4, 0, 4, 4, 0}, NULL},
        {"five of a hundred",
         {1000, 0, 0, 1000, 0},
         {100, 0, 5, 100, 0},
         "it failed 5 times in 100"},
        {"one of a hundred is within the margin", {1000, 0, 0, 1, 0}, {1000, 0, 10, 1, 0}, NULL},
        {"the old one fails as often", {1000, 0, 50, 1000, 0}, {1000, 0, 60, 1000, 0}, NULL},
        {"three times as often",
         {1000, 0, 50, 1000, 0},
         {1000, 0, 150, 1000, 0},
         "it failed 150 times"},
        {"answers of 5xx",
         {1000, 0, 0, 1000, 0},
         {200, 20, 0, 200, 0},
         "20 of 200 answers were 5xx"},
        {"the target fails with both", {1000, 300, 0, 1, 0}, {1000, 400, 0, 1, 0}, NULL},
        {"no old one to compare with", {0, 0, 0, 0, 0}, {100, 10, 0, 100, 0}, "10 of 100 answers"},
        {"slower by far",
         {1000, 0, 0, 1000 * 1000, 0},
         {1000, 0, 0, 1000 * 9000, 0},
         "exchanges take 9.0 ms on average (with the old one 1.0 ms)"},
        {"its own code is slow, and the clock of exchanges does not see it",
         {1000, 0, 0, 1000, 1000 * 10},
         {1000, 0, 0, 1000, 1000 * 6000},
         "its own code takes 6.0 ms on average (with the old one 0.0 ms)"},
        {"slower, but too few to say", {199, 0, 0, 199, 0}, {1000, 0, 0, 1000 * 900000, 0}, NULL},
        {"twice as slow and little in all",
         {1000, 0, 0, 1000 * 100, 0},
         {1000, 0, 0, 1000 * 5000, 0},
         NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char why[256] = "";
        bool worse = watch_is_worse(&rows[i].before, &rows[i].after, why, sizeof(why));
        cr_expect_eq(worse, rows[i].said != NULL, "%s: %s", rows[i].why, why);
        if (rows[i].said != NULL)
            cr_expect(strstr(why, rows[i].said) != NULL, "%s: %s", rows[i].why, why);
    }
}

/* ---- the ledger */

static struct build_hash hash_of(char letter)
{
    struct build_hash hash;
    memset(hash.text, letter, sizeof(hash.text) - 1);
    hash.text[sizeof(hash.text) - 1] = '\0';
    return hash;
}

Test(process_swap, the_ledger_keeps_what_ran_before_for_a_while)
{
    struct ledger ledger = {0};
    cr_assert_null(ledger_find(&ledger, "a", false));
    struct plugin_record *record = ledger_find(&ledger, "a", true);
    cr_assert_not_null(record);
    cr_expect_eq(ledger_find(&ledger, "a", true), record, "one for each name");
    cr_expect_null(ledger_previous(&ledger, "a", 0), "nothing ran before");
    record->previous = hash_of('b');
    record->previous_until_ms = 1000;
    cr_assert_not_null(ledger_previous(&ledger, "a", 999));
    cr_expect_str_eq(ledger_previous(&ledger, "a", 999)->text, record->previous.text);
    cr_expect_null(ledger_previous(&ledger, "a", 1000), "its time is over");
    cr_expect_null(ledger_previous(&ledger, "b", 0));
    char name[32];
    for (size_t i = 1; i < LEDGER_MAX; i++) {
        (void)snprintf(name, sizeof(name), "plugin-%zu", i);
        cr_expect_not_null(ledger_find(&ledger, name, true), "%s", name);
    }
    cr_expect_null(ledger_find(&ledger, "one more", true), "it is bounded");
    cr_expect_not_null(ledger_find(&ledger, "a", false));
    ledger_free(&ledger);
}

Test(process_swap, deaths_count_within_their_window_and_by_build)
{
    struct ledger ledger = {0};
    struct plugin_record *record = ledger_find(&ledger, "a", true);
    struct build_hash one = hash_of('1'), two = hash_of('2');
    cr_assert_not_null(record);
    cr_expect_eq(ledger_death(record, &one, 1000, 500), 1);
    cr_expect_eq(ledger_death(record, &one, 1400, 500), 2);
    cr_expect_eq(ledger_death(record, &one, 1600, 500), 2, "the first is too long ago");
    cr_expect_eq(ledger_death(record, &two, 1601, 500), 1, "another build begins anew");
    for (uint32_t i = 2; i < 40; i++)
        cr_expect_eq(ledger_death(record, &two, 1601, 500),
                     i < LEDGER_DEATHS_MAX ? i : (uint32_t)LEDGER_DEATHS_MAX);
    ledger_free(&ledger);
}

/* ---- orders */

Test(process_swap, orders_wait_in_turn_and_urgent_ones_come_first)
{
    struct orders orders;
    orders_init(&orders);
    cr_expect_null(orders_take(&orders));
    struct order *reload = orders_add(&orders, ORDER_RELOAD);
    struct order *swap = orders_add(&orders, ORDER_SWAP);
    cr_assert(reload != NULL && swap != NULL);
    cr_expect_eq(orders_add(&orders, ORDER_RELOAD), reload, "one reload does for both");
    cr_expect_neq(orders_add(&orders, ORDER_SWAP), swap, "two swaps are two");
    cr_expect_neq(reload->event, swap->event);
    struct order *rollback = orders_add_urgent(&orders, ORDER_ROLLBACK);
    cr_assert_not_null(rollback);
    cr_expect(rollback->automatic && rollback->event == 0, "nobody waits for it");
    cr_expect_eq(orders_take(&orders), rollback);
    cr_expect_eq(orders_take(&orders), reload);
    cr_expect_eq(orders_take(&orders), swap);
    free(rollback);
    free(reload);
    free(swap);
    for (size_t i = 1; i < ORDERS_MAX; i++)
        cr_expect_not_null(orders_add(&orders, ORDER_SWAP));
    cr_expect_null(orders_add(&orders, ORDER_SWAP), "it is bounded");
    cr_expect_not_null(orders_add_urgent(&orders, ORDER_QUARANTINE),
                       "for the master there is room");
    orders_free(&orders);
    cr_expect_null(orders_take(&orders));
}

/* ---- files */

static struct prefix prefix;
static struct arena *arena;

static void make_prefix(void)
{
    char folder[] = "/tmp/weir-swap-XXXXXX", why[256] = "";
    cr_assert_not_null(mkdtemp(folder));
    cr_assert(prefix_take(&prefix, span_text(folder), why, sizeof(why)), "%s", why);
    cr_assert_not_null(arena = arena_create(NULL));
}

static void drop_prefix(void)
{
    arena_destroy(arena);
    prefix_leave(&prefix);
    (void)rmdir(prefix.images);
    (void)rmdir(prefix.builds);
    (void)rmdir(prefix.path);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

/* As a trial leaves it: the copy in the folder of the configuration, then sealed. */
static void put_build(uint64_t number, const char *plugin, const struct build_hash *hash)
{
    char path[8192];
    (void)snprintf(path, sizeof(path), "%s/%s.%s.so", prefix_build(&prefix, number), plugin,
                   hash->text);
    if (access(path, F_OK) != 0)
        put(path, "image");
}

Test(process_swap, builds_of_a_configuration_are_links_to_images, .init = make_prefix,
     .fini = drop_prefix)
{
    struct build_hash hash = hash_of('a');
    struct plugin_source *items;
    size_t count;
    cr_assert(prefix_build_make(&prefix, 1));
    put_build(1, "p.with.dots", &hash);
    cr_assert(prefix_build_seal(&prefix, 1));
    cr_assert_eq(build_files_list(&prefix, 1, 3, arena, &items, &count), WEIR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(items[0].name, "p.with.dots");
    cr_expect_str_eq(items[0].path, image_file(&prefix, arena, "p.with.dots", &hash));
    cr_expect_eq(access(items[0].path, R_OK), 0);
    cr_assert_eq(build_files_list(&prefix, 7, 3, arena, &items, &count), WEIR_OK);
    cr_expect_eq(count, 0, "there is no such configuration");

    /* The next one has the same build: the file is the same one, before and after. */
    struct stat before, after;
    const char *image = image_file(&prefix, arena, "p.with.dots", &hash);
    cr_assert_eq(stat(image, &before), 0);
    cr_assert(prefix_build_make(&prefix, 2));
    build_files_offer(&prefix, 2, "p.with.dots", image);
    build_files_offer(&prefix, 2, "other", image);
    build_files_offer(&prefix, 2, "p.with.dots", "/etc/passwd");
    build_files_offer(&prefix, 2, "p.with.dots", NULL);
    put_build(2, "p.with.dots", &hash);
    cr_assert(prefix_build_seal(&prefix, 2));
    cr_assert_eq(stat(image, &after), 0);
    cr_expect_eq(after.st_ino, before.st_ino, "nothing was copied");
    cr_expect_eq(after.st_nlink, 1, "and only one name is left");
    cr_assert_eq(build_files_list(&prefix, 2, 0, arena, &items, &count), WEIR_OK);
    cr_expect_eq(count, 1);
}

static bool keep_b(void *user, struct span plugin, struct span hash)
{
    (void)user;
    return span_equal(plugin, SPAN("p")) && hash.data[0] == 'b';
}

Test(process_swap, images_nobody_links_to_are_swept, .init = make_prefix, .fini = drop_prefix)
{
    struct build_hash a = hash_of('a'), b = hash_of('b'), c = hash_of('c');
    for (uint64_t number = 1; number <= 3; number++) {
        cr_assert(prefix_build_make(&prefix, number));
        put_build(number, "p", number == 1 ? &a : number == 2 ? &b : &c);
        cr_assert(prefix_build_seal(&prefix, number));
    }
    prefix_build_remove(&prefix, 1);
    prefix_build_remove(&prefix, 2);
    images_sweep(&prefix, keep_b, NULL);
    cr_expect_neq(access(image_file(&prefix, arena, "p", &a), F_OK), 0, "nobody wants it");
    cr_expect_eq(access(image_file(&prefix, arena, "p", &b), F_OK), 0, "a rollback would");
    cr_expect_eq(access(image_file(&prefix, arena, "p", &c), F_OK), 0, "it is linked");
}

Test(process_swap, quarantine_is_told_to_workers_by_a_file, .init = make_prefix,
     .fini = drop_prefix)
{
    struct build_hash a = hash_of('a');
    struct plugin_source items[] = {{.name = "p", .quarantined = a.text}, {.name = "q"}};
    struct plugin_sources sources = {items, COUNT_OF(items)}, got;
    cr_assert(prefix_build_make(&prefix, 1));
    cr_assert_eq(quarantine_read(prefix_build(&prefix, 1), arena, &got), WEIR_OK);
    cr_expect_eq(got.count, 0);
    cr_assert(quarantine_write(&prefix, 1, &sources));
    cr_assert_eq(quarantine_read(prefix_build(&prefix, 1), arena, &got), WEIR_OK);
    cr_assert_eq(got.count, 1);
    cr_expect_str_eq(got.items[0].name, "p");
    cr_expect_str_eq(got.items[0].quarantined, a.text);
    cr_expect_null(got.items[0].path);
    cr_assert(prefix_build_seal(&prefix, 1), "no image, left alone");
    char path[8192];
    (void)snprintf(path, sizeof(path), "%s/quarantine", prefix_build(&prefix, 1));
    put(path, "p\nq short\n\np ");
    cr_assert_eq(quarantine_read(prefix_build(&prefix, 1), arena, &got), WEIR_OK);
    cr_expect_eq(got.count, 0, "what is none of ours is skipped");
}
