/* What each call on a dictionary answers, on a clock that stands still unless it is moved. Two
 * processes and sudden deaths: shared_dict_processes.c. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "plugin_host/dict.h"

static struct shared *region;
static char why[256];

static void set_up(void)
{
    clock_freeze(1000000, 1000000);
    region = shared_create(32 << 20, 1);
    cr_assert_not_null(region);
}

static void tear_down(void)
{
    shared_destroy(region);
}

TestSuite(shared_dict, .init = set_up, .fini = tear_down, .timeout = 60);

static weir_dict *open_sized(uint32_t layout, uint32_t entries, uint32_t value_size)
{
    weir_dict *dict = dict_open(region, SPAN("plugin"), SPAN("name"), layout, entries, value_size,
                                why, sizeof(why));
    cr_assert_not_null(dict, "%s", why);
    return dict;
}

static int64_t value_of(weir_dict *dict, weir_str key)
{
    int64_t value = 0;
    weir_status status = dict_get(dict, key, &value, sizeof(value));
    return status == WEIR_SUCCESS ? value : -1;
}

static weir_str numbered(char out[24], int number)
{
    return (weir_str){out, (size_t)snprintf(out, 24, "key-%d", number)};
}

static const struct {
    const char *reason;
    const char *name;
    uint32_t entries, value_size;
    const char *why;
} refusals[] = {
    {"a name is what makes it findable", "", 10, 8,
     "dictionary \"\": its name must have 1 to 127 bytes"},
    {"no entries, no dictionary", "d", 0, 8, "dictionary \"d\": entries must be 1 to 67108864"},
    {"bounded", "d", 67108865, 8, "dictionary \"d\": entries must be 1 to 67108864"},
    {"a value has a size", "d", 10, 0, "dictionary \"d\": value_size must be 1 to 4096"},
    {"bounded", "d", 10, 4097, "dictionary \"d\": value_size must be 1 to 4096"},
};

Test(shared_dict, refusals_say_why)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        weir_dict *dict = dict_open(region, SPAN("p"), span_text(refusals[i].name), 1,
                                    refusals[i].entries, refusals[i].value_size, why, sizeof(why));
        cr_expect_null(dict, "%s", refusals[i].reason);
        cr_expect_str_eq(why, refusals[i].why, "%s", refusals[i].reason);
    }
}

Test(shared_dict, a_full_region_says_so_and_loses_nothing)
{
    size_t used = shared_usage(region).used;
    cr_expect_null(dict_open(region, SPAN("p"), SPAN("big"), 1, 1 << 24, 64, why, sizeof(why)));
    cr_expect_not_null(strstr(why, "dictionary \"big\": the shared memory is full"), "%s", why);
    cr_expect_eq(shared_usage(region).used, used, "a refusal takes nothing");
    dict_close(open_sized(1, 100, 8));
}

Test(shared_dict, get_set_remove)
{
    weir_dict *dict = open_sized(1, 100, 16);
    char out[16] = "";
    cr_expect_eq(dict_get(dict, WEIR_LIT("a"), out, 16), WEIR_NOT_FOUND);
    cr_expect_eq(dict_set(dict, WEIR_LIT("a"), "0123456789abcdef", 16, 0), WEIR_SUCCESS);
    cr_expect_eq(dict_get(dict, WEIR_LIT("a"), out, 16), WEIR_SUCCESS);
    cr_expect_arr_eq(out, "0123456789abcdef", 16);
    cr_expect_eq(dict_set(dict, WEIR_LIT("a"), "xyz", 3, 0), WEIR_SUCCESS);
    cr_expect_eq(dict_get(dict, WEIR_LIT("a"), out, 16), WEIR_SUCCESS);
    cr_expect_arr_eq(out, "xyz\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "nothing of the old value is left");
    cr_expect_eq(dict_set(dict, WEIR_LIT("a"), out, 17, 0), WEIR_INVALID, "larger than a value");
    cr_expect_eq(dict_get(dict, WEIR_LIT("a"), out, 17), WEIR_INVALID);
    cr_expect_eq(dict_set(dict, WEIR_LIT("a"), out, 1, -1), WEIR_INVALID, "no such ttl");
    cr_expect_eq(dict_remove(dict, WEIR_LIT("a")), WEIR_SUCCESS);
    cr_expect_eq(dict_remove(dict, WEIR_LIT("a")), WEIR_NOT_FOUND);
    cr_expect_eq(dict_get(dict, WEIR_LIT("a"), out, 16), WEIR_NOT_FOUND);
    dict_close(dict);
}

Test(shared_dict, the_empty_key_is_a_key)
{
    weir_dict *dict = open_sized(1, 100, 8);
    weir_str absent = {NULL, 0}, broken = {NULL, 3};
    int64_t value = 0;
    cr_expect_eq(dict_add(dict, absent, 4, 0, &value), WEIR_SUCCESS);
    cr_expect_eq(dict_add(dict, WEIR_LIT(""), 1, 0, &value), WEIR_SUCCESS);
    cr_expect_eq(value, 5, "absent and empty are the same key");
    cr_expect_eq(dict_add(dict, broken, 1, 0, &value), WEIR_INVALID);
    dict_close(dict);
}

Test(shared_dict, add_and_swap)
{
    weir_dict *dict = open_sized(1, 100, 8);
    int64_t value = 77;
    cr_expect_eq(dict_swap(dict, WEIR_LIT("n"), 0, 1), WEIR_NOT_FOUND);
    cr_expect_eq(dict_add(dict, WEIR_LIT("n"), -3, 0, NULL), WEIR_SUCCESS);
    cr_expect_eq(dict_swap(dict, WEIR_LIT("n"), 3, 1), WEIR_FULL, "it is -3");
    cr_expect_eq(dict_swap(dict, WEIR_LIT("n"), -3, INT64_MAX), WEIR_SUCCESS);
    cr_expect_eq(dict_add(dict, WEIR_LIT("n"), 1, 0, &value), WEIR_FULL, "no wrapping around");
    cr_expect_eq(value, 77, "an output keeps its value on failure");
    cr_expect_eq(value_of(dict, WEIR_LIT("n")), INT64_MAX);
    dict_close(dict);

    weir_dict *small = open_sized(9, 100, 7);
    weir_take take = {.key = WEIR_LIT("n"), .limit = 1};
    cr_expect_eq(dict_add(small, WEIR_LIT("n"), 1, 0, NULL), WEIR_INVALID, "no room for a counter");
    cr_expect_eq(dict_swap(small, WEIR_LIT("n"), 1, 0), WEIR_INVALID);
    cr_expect_eq(dict_take(small, &take, 1), WEIR_INVALID);
    dict_close(small);
}

Test(shared_dict, entries_end_at_their_time)
{
    weir_dict *dict = open_sized(1, 100, 8);
    int64_t value = 0;
    cr_expect_eq(dict_add(dict, WEIR_LIT("n"), 5, 100, &value), WEIR_SUCCESS);
    clock_advance_us(60 * 1000);
    cr_expect_eq(dict_add(dict, WEIR_LIT("n"), 5, 100, &value), WEIR_SUCCESS);
    cr_expect_eq(value, 10);
    clock_advance_us(39 * 1000);
    cr_expect_eq(value_of(dict, WEIR_LIT("n")), 10, "1 ms before its end");
    clock_advance_us(1000);
    cr_expect_eq(value_of(dict, WEIR_LIT("n")), -1, "the second add did not move the end");
    cr_expect_eq(dict_swap(dict, WEIR_LIT("n"), 10, 1), WEIR_NOT_FOUND);
    cr_expect_eq(dict_remove(dict, WEIR_LIT("n")), WEIR_NOT_FOUND);
    cr_expect_eq(dict_add(dict, WEIR_LIT("n"), 1, 50, &value), WEIR_SUCCESS);
    cr_expect_eq(value, 1, "it starts anew");
    clock_advance_us(50 * 1000);
    weir_take take = {.key = WEIR_LIT("n"), .limit = 1, .ttl_ms = 10};
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_SUCCESS);
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_FULL);
    clock_advance_us(10 * 1000);
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_SUCCESS, "the next window");
    cr_expect_eq(shared_usage(region).evictions, 0, "what has ended is not evicted");
    dict_close(dict);
}

Test(shared_dict, who_makes_room)
{
    weir_dict *dict = open_sized(1, 8, 8);
    char text[24];
    /* 0 to 3 never end, 4 to 7 end in 400 to 700 ms. */
    for (int i = 0; i < 8; i++)
        cr_assert_eq(dict_add(dict, numbered(text, i), i, i < 4 ? 0 : i * 100, NULL), WEIR_SUCCESS);
    for (int i = 0; i < 8; i++)
        cr_expect_eq(value_of(dict, numbered(text, i)), i, "all eight fit");

    cr_expect_eq(dict_add(dict, WEIR_LIT("new"), 50, 5000, NULL), WEIR_SUCCESS);
    cr_expect_eq(value_of(dict, numbered(text, 4)), -1, "the one nearest its end is gone");
    cr_expect_eq(shared_usage(region).evictions, 1);

    clock_advance_us(600 * 1000); /* 5 and 6 have ended: room for two */
    cr_expect_eq(dict_add(dict, WEIR_LIT("new2"), 51, 5000, NULL), WEIR_SUCCESS);
    cr_expect_eq(dict_add(dict, WEIR_LIT("new3"), 52, 5000, NULL), WEIR_SUCCESS);
    cr_expect_eq(shared_usage(region).evictions, 1, "ended ones are used first");
    cr_expect_eq(value_of(dict, numbered(text, 7)), 7);

    for (int i = 0; i < 4; i++) /* 7, then the three new ones */
        cr_expect_eq(dict_add(dict, numbered(text, 100 + i), 60, 0, NULL), WEIR_SUCCESS);
    cr_expect_eq(shared_usage(region).evictions, 5);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(value_of(dict, numbered(text, i)), i, "what never ends goes last");
    cr_expect_eq(dict_add(dict, WEIR_LIT("more"), 1, 0, NULL), WEIR_SUCCESS);
    cr_expect_eq(shared_usage(region).evictions, 6, "only then");
    dict_close(dict);
}

Test(shared_dict, as_many_entries_as_promised)
{
    static const uint32_t sizes[] = {8, 9, 60, 1000, 20000};
    char text[24];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint64_t before = shared_usage(region).evictions;
        weir_dict *dict = open_sized((uint32_t)i, sizes[i], 8);
        for (int k = 0; k < (int)sizes[i]; k++)
            cr_assert_eq(dict_add(dict, numbered(text, k), k, 0, NULL), WEIR_SUCCESS);
        /* Keys are placed by chance: a handful of twenty thousand is within it, not more. */
        cr_expect_leq(shared_usage(region).evictions - before, sizes[i] / 2000, "%u", sizes[i]);
        dict_close(dict);
    }
}

Test(shared_dict, take_counts_up_to_the_limit)
{
    weir_dict *dict = open_sized(1, 100, 8);
    weir_take take = {.key = WEIR_LIT("k"), .limit = 2, .value = 99};
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_SUCCESS);
    cr_expect_eq(take.value, 1);
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_SUCCESS);
    cr_expect_eq(take.value, 2);
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_FULL);
    cr_expect_eq(take.value, 2, "what it is now");
    take.limit = 3;
    cr_expect_eq(dict_take(dict, &take, 1), WEIR_SUCCESS, "a raised limit has room again");
    weir_take none = {.key = WEIR_LIT("other"), .limit = 0, .value = 99};
    cr_expect_eq(dict_take(dict, &none, 1), WEIR_FULL);
    cr_expect_eq(none.value, 0, "0 when absent");
    cr_expect_eq(value_of(dict, WEIR_LIT("other")), -1, "and not made");
    dict_close(dict);
}

Test(shared_dict, take_is_all_or_none)
{
    weir_dict *dict = open_sized(1, 5000, 8);
    weir_take takes[3] = {{.key = WEIR_LIT("second"), .limit = 2, .ttl_ms = 1000},
                          {.key = WEIR_LIT("minute"), .limit = 3, .ttl_ms = 60000},
                          {.key = WEIR_LIT("hour"), .limit = 100, .ttl_ms = 0}};
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_SUCCESS);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_SUCCESS);
    cr_expect_eq(takes[2].value, 2);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_FULL);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(takes[i].value, 2, "none was counted");
    clock_advance_us(1000 * 1000);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_SUCCESS, "a new second");
    cr_expect_eq(takes[0].value, 1);
    cr_expect_eq(takes[1].value, 3);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_FULL, "now the minute is full");
    cr_expect_eq(takes[0].value, 1);
    cr_expect_eq(value_of(dict, WEIR_LIT("second")), 1);
    clock_advance_us(59 * 1000 * 1000);
    cr_expect_eq(value_of(dict, WEIR_LIT("minute")), -1, "its ttl is its own");
    cr_expect_eq(value_of(dict, WEIR_LIT("hour")), 3);
    dict_close(dict);
}

Test(shared_dict, take_with_the_same_key_twice)
{
    weir_dict *dict = open_sized(1, 100, 8);
    weir_take takes[3] = {{.key = WEIR_LIT("k"), .limit = 4},
                          {.key = WEIR_LIT("other"), .limit = 9},
                          {.key = WEIR_LIT("k"), .limit = 5}};
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_SUCCESS);
    cr_expect_eq(takes[0].value, 2, "one for each time it is named");
    cr_expect_eq(takes[2].value, 2);
    cr_expect_eq(takes[1].value, 1);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_SUCCESS);
    cr_expect_eq(dict_take(dict, takes, 3), WEIR_FULL, "6 would pass both limits");
    cr_expect_eq(takes[0].value, 4);
    cr_expect_eq(takes[1].value, 2);
    dict_close(dict);
}

Test(shared_dict, take_has_bounds)
{
    weir_dict *dict = open_sized(1, 8, 8);
    weir_take takes[17];
    char texts[17][24];
    for (int i = 0; i < 17; i++)
        takes[i] = (weir_take){.key = numbered(texts[i], i), .limit = 9, .value = 99};
    cr_expect_eq(dict_take(dict, takes, 17), WEIR_INVALID);
    cr_expect_eq(dict_take(dict, takes, 0), WEIR_SUCCESS, "nothing to do is done");
    cr_expect_eq(dict_take(dict, takes, 8), WEIR_SUCCESS);
    cr_expect_eq(dict_take(dict, takes, 9), WEIR_NO_MEMORY, "eight places, nine counters");
    cr_expect_eq(takes[0].value, 1, "and nobody was pushed out by its neighbour");
    cr_expect_eq(takes[8].value, 0);
    cr_expect_eq(dict_take(dict, takes, 8), WEIR_SUCCESS);
    takes[3].ttl_ms = -1;
    cr_expect_eq(dict_take(dict, takes, 8), WEIR_INVALID);
    cr_expect_eq(value_of(dict, takes[0].key), 2);
    cr_expect_eq(shared_usage(region).evictions, 0);
    dict_close(dict);
}

Test(shared_dict, the_same_name_is_the_same_dictionary)
{
    weir_dict *one = open_sized(1, 100, 8), *same = open_sized(1, 100, 8);
    weir_dict *larger = open_sized(1, 200, 8);
    weir_dict *foreign =
        dict_open(region, SPAN("plugi"), SPAN("nname"), 1, 100, 8, why, sizeof(why));
    cr_assert_not_null(foreign);
    cr_expect_eq(dict_add(one, WEIR_LIT("k"), 5, 0, NULL), WEIR_SUCCESS);
    cr_expect_eq(value_of(same, WEIR_LIT("k")), 5);
    cr_expect_eq(value_of(larger, WEIR_LIT("k")), -1, "another size is another dictionary");
    cr_expect_eq(value_of(foreign, WEIR_LIT("k")), -1, "so is another plugin's");
    dict_close(one);
    one = open_sized(1, 100, 8);
    cr_expect_eq(value_of(one, WEIR_LIT("k")), 5, "closing loses nothing");
    dict_close(one);
    dict_close(same);
    dict_close(larger);
    dict_close(foreign);
}

Test(shared_dict, another_layout_starts_empty)
{
    weir_dict *first = open_sized(1, 100, 8);
    cr_expect_eq(dict_add(first, WEIR_LIT("k"), 1, 0, NULL), WEIR_SUCCESS);
    weir_dict *second = open_sized(2, 100, 8);
    cr_expect_eq(value_of(second, WEIR_LIT("k")), -1);
    cr_expect_eq(dict_add(second, WEIR_LIT("k"), 2, 0, NULL), WEIR_SUCCESS);
    cr_expect_eq(value_of(first, WEIR_LIT("k")), 1, "the old build still serves, or comes back");

    size_t used = shared_usage(region).used;
    weir_dict *third = open_sized(3, 50, 16);
    cr_expect_eq(shared_usage(region).used, used, "in the memory of the first");
    cr_expect_eq(dict_get(third, WEIR_LIT("k"), NULL, 0), WEIR_NOT_FOUND, "and empty");
    cr_expect_eq(dict_set(third, WEIR_LIT("k"), "0123456789abcdef", 16, 0), WEIR_SUCCESS);
    int64_t value = 0;
    weir_take take = {.key = WEIR_LIT("k"), .limit = 9};
    cr_expect_eq(dict_get(first, WEIR_LIT("k"), &value, 8), WEIR_GONE, "its handle knows");
    cr_expect_eq(dict_take(first, &take, 1), WEIR_GONE);
    cr_expect_eq(value_of(second, WEIR_LIT("k")), 2, "the one before stays");

    weir_dict *fourth = open_sized(4, 100000, 8);
    cr_expect_gt(shared_usage(region).used, used, "too large for what is there");
    weir_dict *back = open_sized(3, 50, 16);
    cr_expect_eq(dict_get(back, WEIR_LIT("k"), NULL, 0), WEIR_SUCCESS);
    weir_dict *handles[] = {first, second, third, fourth, back};
    for (size_t i = 0; i < COUNT_OF(handles); i++)
        dict_close(handles[i]);
}

Test(shared_dict, layouts_without_end_take_no_memory_without_end)
{
    size_t used = 0;
    for (uint32_t layout = 1; layout <= 50; layout++) {
        weir_dict *dict = open_sized(layout, 20000, 8);
        cr_expect_eq(value_of(dict, WEIR_LIT("k")), -1, "empty");
        cr_expect_eq(dict_add(dict, WEIR_LIT("k"), 1, 0, NULL), WEIR_SUCCESS);
        dict_close(dict);
        if (layout == 2)
            used = shared_usage(region).used;
    }
    cr_expect_eq(shared_usage(region).used, used);
}

/* ---- fingerprints */

/* Vectors of another implementation: openssl mac SIPHASH with size 16, c-rounds 1, d-rounds 3. */
Test(shared_dict, the_fingerprint_of_a_key_is_siphash_of_128_bits)
{
    static const struct hash_key zero = {0, 0}, paper = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    static const struct {
        const char *why;
        const struct hash_key *key;
        const char *text;
        uint64_t first, second; /* big-endian, as it is printed */
    } rows[] = {
        {"nothing", &zero, "", 0x0DB4D9615D933421U, 0x0333FB31D05E1CB9U},
        {"one byte", &zero, "a", 0x47F6FB72E8B51037U, 0x08043755C271CD5FU},
        {"three", &paper, "abc", 0x43753F1546FA1EE8U, 0xB2D4D501495FD601U},
        {"half a word", &paper, "abcd", 0x28F5AE0CB72C6D12U, 0x6C754FCFF7FB21A7U},
        {"one short of a word", &zero, "abcdefg", 0x326506589A7EAC06U, 0x6A8227828B100E98U},
        {"a word", &paper, "abcdefgh", 0x73A0265A47FCBD46U, 0xC8AB9F0F5A33952DU},
        {"a word and seven", &paper, "abcdefghijklmno", 0x787972739C1EC901U, 0x1FF94F41969489F0U},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct hash_pair pair = hash_span_wide(rows[i].key, span_text(rows[i].text));
        cr_expect_eq(pair.first, __builtin_bswap64(rows[i].first), "%s", rows[i].why);
        cr_expect_eq(pair.second, __builtin_bswap64(rows[i].second), "%s", rows[i].why);
    }
}

Test(shared_dict, keys_that_share_a_remembered_place_stay_apart)
{
    /* More keys than places, again and again, short ones and such that are too long to remember. */
    enum { KEYS = 300 };
    static char text[KEYS][256];
    weir_dict *dict = open_sized(1, 4096, 8);
    for (int64_t round = 1; round <= 3; round++)
        for (size_t i = 0; i < KEYS; i++) {
            int64_t value = 0;
            int size = snprintf(text[i], sizeof(text[i]), "%zu:%0*d", i,
                                (int)(i % 3 == 0 ? 1 : i % 200), 0);
            weir_str key = {text[i], (size_t)size};
            cr_assert_eq(dict_add(dict, key, 1, 0, &value), WEIR_SUCCESS);
            cr_expect_eq(value, round, "%s", text[i]);
        }
    dict_close(dict);
}
