/* What every other room relies on. Expected values come from published definitions, not from us. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/random.h"
#include "base/text.h"

static void expect_span(struct span have, const char *want)
{
    cr_expect(span_equal(have, span_text(want)), "have '%.*s', want '%s'", SPAN_ARG(have), want);
}

Test(span, an_absent_span_is_not_an_empty_one)
{
    cr_expect(!span_is_set(SPAN_NONE));
    cr_expect(span_is_set(SPAN("")));
    cr_expect(span_is_empty(SPAN("")));
}

Test(span, only_ascii_case_is_folded)
{
    cr_expect(span_equal_nocase(SPAN("Content-Type"), SPAN("cONTENT-tYPE")));
    cr_expect(!span_equal_nocase(SPAN("@["), SPAN("`{")), "neighbours of the letters differ");
    cr_expect(!span_equal_nocase(SPAN("\xc3\x84"), SPAN("\xc3\xa4")));
    cr_expect(!span_equal_nocase(SPAN("ab"), SPAN("abc")));
    cr_expect(span_starts_with_nocase(SPAN("Bearer x"), SPAN("bearer ")));
}

Test(span, split_keeps_empty_items_and_ends)
{
    struct span rest = SPAN("a,,b,"), item;
    const char *want[] = {"a", "", "b", ""};
    size_t count = 0;
    while (span_split(&rest, ',', &item)) {
        cr_assert_lt(count, 4);
        expect_span(item, want[count++]);
    }
    cr_expect_eq(count, 4);
}

Test(span, cutting_stays_inside)
{
    static const struct {
        const char *why, *text;
        size_t at;
        const char *from, *first;
    } rows[] = {
        {"nothing cut", "abc", 0, "abc", ""}, {"in the middle", "abc", 1, "bc", "a"},
        {"at the end", "abc", 3, "", "abc"},  {"past the end", "abc", 9, "", "abc"},
        {"of nothing", "", 1, "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span s = span_text(rows[i].text);
        cr_expect(span_equal(span_from(s, rows[i].at), span_text(rows[i].from)), "%s", rows[i].why);
        cr_expect(span_equal(span_first(s, rows[i].at), span_text(rows[i].first)), "%s",
                  rows[i].why);
    }
    cr_expect(!span_is_set(span_from(SPAN_NONE, 5)), "absent stays absent");
    cr_expect(span_ends_with(SPAN("a.so"), SPAN(".so")) && !span_ends_with(SPAN("o"), SPAN(".so")));
}

Test(span, search_trim_compare)
{
    cr_expect_eq(span_search(SPAN("abcabd"), SPAN("abd")), 3);
    cr_expect_eq(span_search(SPAN("abc"), SPAN("x")), 3);
    expect_span(span_trim(SPAN(" \ta b\t ")), "a b");
    cr_expect_eq(span_compare(SPAN("ab"), SPAN("abc")), -1);
    cr_expect_eq(span_compare(SPAN("\xff"), SPAN("a")), 1, "bytes are unsigned");
    cr_expect(span_equal_secret(SPAN("sesame"), SPAN("sesame")));
    cr_expect(!span_equal_secret(SPAN("sesame"), SPAN("sesamf")));
}

Test(arena, pieces_are_aligned_apart_and_zeroed)
{
    struct arena *arena = arena_create(NULL);
    cr_assert_not_null(arena);
    char *before = NULL;
    for (size_t size = 0; size < 3000; size += 7) {
        char *text = arena_bytes(arena, 3);
        unsigned char *piece = arena_zalloc(arena, size);
        cr_assert(text != NULL && piece != NULL);
        cr_expect_eq((uintptr_t)piece % 16, 0);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(piece[i], 0);
        memset(piece, 0xee, size);
        cr_expect(before == NULL || strcmp(before, "ok") == 0, "an earlier piece was overwritten");
        memcpy(text, "ok", 3);
        before = text;
    }
    arena_destroy(arena);
}

Test(arena, many_pieces_of_every_size_are_zeros_and_stay_what_they_are)
{
    static const size_t sizes[] = {24, 5000, 300000, 24, 3000000, 70000, 24, 200000};
    enum { ROUNDS = 12 };
    struct arena *arena = arena_create(NULL);
    unsigned char *pieces[ROUNDS * COUNT_OF(sizes)];
    size_t total = 0, wrong = 0;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        size_t size = sizes[i % COUNT_OF(sizes)];
        pieces[i] = arena_zalloc(arena, size);
        cr_assert_not_null(pieces[i]);
        for (size_t at = 0; at < size; at++)
            wrong += pieces[i][at] != 0;
        memset(pieces[i], (int)(i + 1), size);
        total += size;
    }
    cr_expect_eq(wrong, 0, "every byte is zero when it is handed out");
    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        for (size_t at = 0; at < sizes[i % COUNT_OF(sizes)]; at++)
            wrong += pieces[i][at] != (unsigned char)(i + 1);
    cr_expect_eq(wrong, 0, "no piece lies in another one");
    cr_expect(arena_used(arena) >= total && arena_used(arena) < total + 16 * COUNT_OF(pieces),
              "%zu of %zu", arena_used(arena), total);
    cr_expect(arena_extra(arena) >= total - 16384, "the first chunk has 16 KiB at the most");
    arena_limit(arena, arena_used(arena) + 1000000);
    cr_expect_null(arena_zalloc(arena, 1000001), "past the limit, a large piece too");
    cr_expect_not_null(arena_zalloc(arena, 900000));
    cr_expect_null(arena_zalloc(arena, 200000));
    arena_reset(arena);
    cr_expect_eq(arena_used(arena), 0);
    cr_expect_eq(arena_extra(arena), 0);
    unsigned char *again = arena_zalloc(arena, 100);
    for (size_t at = 0; at < 100; at++)
        wrong += again[at] != 0;
    cr_expect_eq(wrong, 0, "the first chunk is used again, and cleared");
    arena_destroy(arena);
}

Test(arena, a_reset_arena_uses_the_same_memory_again)
{
    struct arena_pool *pool = arena_pool_create(4096, 8);
    struct arena *arena = arena_create(pool);
    cr_assert_not_null(arena);
    void *first = arena_alloc(arena, 100);
    for (int i = 0; i < 100; i++)
        cr_assert_not_null(arena_alloc(arena, 1000));
    arena_reset(arena);
    cr_expect_eq(arena_used(arena), 0);
    cr_expect_eq(arena_alloc(arena, 100), first);
    arena_destroy(arena);
    arena_pool_destroy(pool);
}

Test(arena, other_chunks_go_back_to_the_pool_and_come_from_it)
{
    struct arena_pool *pool = arena_pool_create(4096, 4);
    struct arena *one = arena_create(pool), *two = arena_create(pool);
    cr_assert(one != NULL && two != NULL);
    char *first = arena_bytes(one, 3000), *second = arena_bytes(one, 3000);
    cr_assert(first != NULL && second != NULL);
    cr_expect_eq(arena_used(one), 6000);
    arena_reset(one);
    cr_expect_not_null(arena_bytes(two, 3000), "fills the first chunk of its own");
    cr_expect_eq(arena_bytes(two, 3000), second, "the chunk the other arena gave back");
    cr_expect_not_null(arena_alloc(two, 100000), "larger than a chunk: one of its own size");
    arena_destroy(one);
    arena_destroy(two);
    arena_pool_destroy(pool);
}

Test(arena, a_limit_counts_over_chunks_and_survives_a_reset)
{
    struct arena_pool *pool = arena_pool_create(1024, 2);
    struct arena *arena = arena_create(pool);
    arena_limit(arena, 5000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            cr_assert_not_null(arena_bytes(arena, 500));
        cr_expect_eq(arena_used(arena), 5000);
        cr_expect_null(arena_bytes(arena, 1));
        cr_expect_null(arena_alloc(arena, 0), "even a piece of no bytes takes one");
        arena_reset(arena);
    }
    arena_limit(arena, 0);
    cr_expect_not_null(arena_alloc(arena, 9000), "no bound any more");
    arena_destroy(arena);
    arena_pool_destroy(pool);
}

Test(arena, pieces_of_no_bytes_have_addresses_of_their_own)
{
    struct arena *arena = arena_create(NULL);
    void *one = arena_alloc(arena, 0), *two = arena_alloc(arena, 0);
    cr_expect(one != NULL && two != NULL && one != two);
    cr_expect_neq((void *)arena_bytes(arena, 0), (void *)arena_bytes(arena, 0));
    arena_destroy(arena);
    arena_destroy(NULL);
}

Test(arena, limits_and_overflows_are_refused_and_leave_it_usable)
{
    struct arena *arena = arena_create(NULL);
    arena_limit(arena, 1000);
    cr_expect_null(arena_alloc(arena, 2000));
    cr_expect_null(arena_alloc(arena, SIZE_MAX));
    cr_expect_null(arena_alloc(arena, SIZE_MAX - 8));
    cr_expect_null(arena_zalloc_array(arena, SIZE_MAX / 2, 4));
    cr_expect_not_null(arena_alloc(arena, 900));
    cr_expect_null(arena_alloc(arena, 200));
    arena_destroy(arena);
}

Test(arena, copies_are_terminated)
{
    struct arena *arena = arena_create(NULL);
    struct span copy = arena_copy(arena, span_of("abcdef", 3));
    cr_expect_str_eq(copy.data, "abc");
    cr_expect(!span_is_set(arena_copy(arena, SPAN_NONE)));
    cr_expect(span_is_set(arena_copy(arena, SPAN(""))));
    expect_span(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    arena_destroy(arena);
}

Test(buf, json_strings_are_valid_whatever_the_bytes)
{
    static const struct {
        const char *why, *text, *json;
    } rows[] = {
        {"plain", "abc", "\"abc\""},
        {"quotes and backslashes", "a\"\\b", "\"a\\\"\\\\b\""},
        {"named controls", "\n\r\t\b\f", "\"\\n\\r\\t\\b\\f\""},
        {"other controls", "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"UTF-8 passes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a lone continuation byte", "a\x80z", "\"a\\ufffdz\""},
        {"a cut sequence", "\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"an overlong slash", "\xc0\xaf", "\"\\ufffd\\ufffd\""},
        {"a surrogate", "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO_BUF out = BUF_INIT;
        buf_json(&out, span_text(rows[i].text));
        cr_expect(span_equal(buf_view(&out), span_text(rows[i].json)), "%s: %.*s", rows[i].why,
                  SPAN_ARG(buf_view(&out)));
    }
    AUTO_BUF zero = BUF_INIT;
    buf_json(&zero, span_of("a\0b", 3));
    expect_span(buf_view(&zero), "\"a\\u0000b\"");
}

Test(buf, a_full_buffer_fails_once_and_for_all)
{
    AUTO_BUF buf = {.limit = 10};
    buf_text(&buf, "0123456789");
    cr_expect(!buf.failed);
    buf_byte(&buf, 'x');
    cr_expect(buf.failed);
    cr_expect_eq(buf.size, 10);
}

Test(buf, files_above_the_limit_are_refused)
{
    char path[] = "/tmp/weir-test-buf-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    char piece[40000];
    memset(piece, 'a', sizeof(piece));
    cr_assert_eq(write(fd, piece, sizeof(piece)), (ssize_t)sizeof(piece));
    AUTO_BUF whole = BUF_INIT;
    cr_expect_eq(buf_read_file(&whole, path, 40000), WEIR_OK);
    cr_expect_eq(whole.size, sizeof(piece));
    AUTO_BUF large = BUF_INIT;
    cr_expect_eq(buf_read_file(&large, path, 39999), WEIR_ERR_LIMIT);
    AUTO_BUF none = BUF_INIT;
    cr_expect_eq(buf_read_file(&none, "/nonexistent", 10), WEIR_ERR_SYSTEM);
    (void)close(fd);
    (void)unlink(path);
}

Test(map, ten_thousand_keys_come_and_go)
{
    static char keys[10000][8];
    AUTO(map_destroy) struct map *map = map_create(0);
    cr_assert_not_null(map);
    for (size_t i = 0; i < 10000; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        cr_assert_eq(map_add(map, span_text(keys[i]), keys[i]), WEIR_OK);
    }
    cr_expect_eq(map_add(map, SPAN("k5"), keys[6]), WEIR_ERR_EXISTS);
    cr_expect_eq(map_find(map, SPAN("k5")), keys[5]);
    for (size_t i = 0; i < 10000; i += 2)
        cr_assert_eq(map_remove(map, span_text(keys[i])), keys[i]);
    for (size_t i = 0; i < 10000; i++)
        cr_assert_eq(map_find(map, span_text(keys[i])), i % 2 == 0 ? NULL : keys[i]);
    cr_expect_eq(map_count(map), 5000);
    size_t cursor = 0, seen = 0;
    struct span key;
    void *value;
    while (map_next(map, &cursor, &key, &value))
        seen++;
    cr_expect_eq(seen, 5000);
}

Test(map, set_replaces_and_an_absent_key_is_a_key_of_no_bytes)
{
    AUTO(map_destroy) struct map *map = map_create(100);
    int one, two;
    cr_assert_eq(map_set(map, SPAN("a"), &one), WEIR_OK);
    cr_assert_eq(map_set(map, SPAN("a"), &two), WEIR_OK);
    cr_expect_eq(map_find(map, SPAN("a")), &two);
    cr_expect_eq(map_count(map), 1);
    cr_assert_eq(map_add(map, SPAN(""), &one), WEIR_OK);
    cr_expect_eq(map_find(map, SPAN_NONE), &one);
    cr_expect_null(map_remove(map, SPAN("b")));
}

Test(hash, is_siphash_1_3)
{
    /* The values of CPython 3.11's hash() with PYTHONHASHSEED=0, whose key is zero; the last two
     * rows have the key of the SipHash paper's own test. */
    static const struct hash_key zero = {0, 0};
    static const struct hash_key paper = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    static const struct {
        const char *why;
        const struct hash_key *key;
        const char *text;
        size_t size;
        uint64_t hash;
    } rows[] = {
        {"one byte", &zero, "a", 1, 0x407448d2b89b1813U},
        {"one short of a word", &zero, "abcdefg", 7, 0x6db12aae9070f506U},
        {"a whole word", &zero, "abcdefgh", 8, 0x3f7b849c0b8e35eaU},
        {"a word and seven", &zero, "abcdefghijklmno", 15, 0x1fd27a29b0e9dc7aU},
        {"nothing", &paper, "", 0, 0xabac0158050fc4dcU},
        {"a zero byte counts", &paper, "\0", 1, 0xc9f49bf37d57ca93U},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(hash_span(rows[i].key, span_of(rows[i].text, rows[i].size)), rows[i].hash,
                     "%s", rows[i].why);
}

Test(hash, depends_on_key_and_every_byte)
{
    struct hash_key key = {1, 2}, other = {1, 3};
    cr_expect_eq(hash_span(&key, SPAN("abc")), hash_span(&key, SPAN("abc")));
    cr_expect_neq(hash_span(&key, SPAN("abc")), hash_span(&other, SPAN("abc")));
    cr_expect_neq(hash_span(&key, SPAN("abcdefgh1")), hash_span(&key, SPAN("abcdefgh2")));
    cr_expect_neq(hash_span(&key, span_of("\0", 1)), hash_span(&key, SPAN("")));
}

Test(text, numbers)
{
    char digits[TEXT_U64_MAX];
    expect_span(span_of(digits, text_from_u64(digits, UINT64_MAX)), "18446744073709551615");
    expect_span(span_of(digits, text_from_u64(digits, 0)), "0");
    for (uint64_t power = 1, more = 1; more != 0; more = power > UINT64_MAX / 10 ? 0 : 1) {
        for (uint64_t value = power - 1; value <= power + 1; value++) { /* where a digit comes */
            char expected[TEXT_U64_MAX + 1];
            (void)snprintf(expected, sizeof(expected), "%llu", (unsigned long long)value);
            expect_span(span_of(digits, text_from_u64(digits, value)), expected);
        }
        power *= 10;
    }
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } rows[] = {
        {"0", true, 0},     {"9223372036854775807", true, INT64_MAX},
        {"-1", true, -1},   {"-9223372036854775808", true, INT64_MIN},
        {"", false, 0},     {"9223372036854775808", false, 0},
        {"+1", false, 0},   {"1 ", false, 0},
        {"0x10", false, 0}, {"-", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t value = 42;
        cr_expect_eq(text_to_i64(span_text(rows[i].text), &value), rows[i].good, "%s",
                     rows[i].text);
        cr_expect_eq(value, rows[i].good ? rows[i].value : 42, "%s", rows[i].text);
    }
    double number;
    cr_expect(text_to_double(SPAN("0.5e1"), &number) && number >= 5 && number <= 5);
    cr_expect(!text_to_double(SPAN("inf"), &number));
    cr_expect(!text_to_double(SPAN("0x1"), &number));
    cr_expect(!text_to_double(SPAN("1e999"), &number));
}

Test(text, hex_of_a_word)
{
    static const struct {
        uint64_t value;
        const char *digits;
    } rows[] = {{0, "0000000000000000"},
                {0x0123456789abcdefULL, "0123456789abcdef"},
                {UINT64_MAX, "ffffffffffffffff"},
                {0x9a0f00000000b001ULL, "9a0f00000000b001"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[17] = {0};
        text_hex64(out, rows[i].value);
        cr_expect_str_eq(out, rows[i].digits);
    }
}

Test(text, percent_codes)
{
    struct arena *arena = arena_create(NULL);
    expect_span(text_percent_decode(arena, SPAN("a%20b+c%2"), true), "a b c%2");
    expect_span(text_percent_decode(arena, SPAN("a+%zz%41"), false), "a+%zzA");
    struct span same = SPAN("plain");
    cr_expect_eq(text_percent_decode(arena, same, true).data, same.data, "borrowed when unchanged");
    expect_span(text_percent_encode(arena, SPAN("a b/\xc3\xa9~")), "a%20b%2F%C3%A9~");
    arena_destroy(arena);
}

Test(text, uuids)
{
    char out[UUID_TEXT];
    /* RFC 9562, appendix A.4 */
    static char longest[5000] = "a name that no limit holds"; /* a username, say */
    uuid_v5(out, SPAN("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), span_of(longest, sizeof(longest)));
    cr_expect(uuid_is_valid(span_of(out, UUID_TEXT)));
    uuid_v5(out, SPAN("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), SPAN("www.example.com"));
    expect_span(span_of(out, UUID_TEXT), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    uuid_v4(out);
    cr_expect(uuid_is_valid(span_of(out, UUID_TEXT)));
    cr_expect_eq(out[14], '4');
    cr_expect_not_null(strchr("89ab", out[19]));
    cr_expect(!uuid_is_valid(SPAN("2ed6657d-e927-568b-95e1-2665a8aea6ag")));
    cr_expect(!uuid_is_valid(SPAN("2ed6657de927-568b-95e1-2665a8aea6a2-")));
}

Test(text, utf8)
{
    static const struct {
        const char *why, *text;
        bool good;
    } rows[] = {
        {"nothing", "", true},
        {"one to four bytes", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true},
        {"the last code point", "\xf4\x8f\xbf\xbf", true},
        {"beyond it", "\xf4\x90\x80\x80", false},
        {"an overlong slash", "\xc0\xaf", false},
        {"an overlong three-byte form", "\xe0\x80\xaf", false},
        {"a surrogate", "\xed\xa0\x80", false},
        {"a lone continuation byte", "\x80", false},
        {"a cut sequence", "\xe2\x82", false},
        {"five bytes", "\xf8\x88\x80\x80\x80", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(text_is_utf8(span_text(rows[i].text)), rows[i].good, "%s", rows[i].why);
}

Test(text, distance_is_bounded)
{
    cr_expect_eq(text_distance(SPAN("servies"), SPAN("services"), 2), 1);
    cr_expect_eq(text_distance(SPAN("kitten"), SPAN("sitting"), 3), 3);
    cr_expect_eq(text_distance(SPAN("kitten"), SPAN("sitting"), 2), 3);
    cr_expect_eq(text_distance(SPAN("a"), SPAN("abcdef"), 2), 3);
}

Test(digest, published_vectors)
{
    unsigned char sha1[DIGEST_SHA1], sha256[DIGEST_SHA256];
    char hex[2 * DIGEST_SHA256];
    digest_sha1(sha1, SPAN("abc"));
    text_hex(hex, sha1, sizeof(sha1));
    expect_span(span_of(hex, 2 * DIGEST_SHA1), "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_sha256(sha256, SPAN("abc"));
    text_hex(hex, sha256, sizeof(sha256));
    expect_span(span_of(hex, 2 * DIGEST_SHA256),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Test(clock, a_frozen_clock_moves_by_hand)
{
    clock_freeze(5000000, 7000000);
    clock_update();
    cr_expect_eq(clock_mono_ms(), 5000);
    clock_advance_us(1500);
    cr_expect_eq(clock_mono_us(), 5001500);
    cr_expect_eq(clock_wall_ms(), 7001);
}

Test(error, each_has_a_sentence)
{
    for (unsigned err = 0; err < WEIR_ERR_COUNT; err++)
        cr_expect_gt(strlen(weir_err_text((enum weir_err)err)), 0);
    cr_expect_eq(weir_err_status(WEIR_ERR_NO_ROUTE), 404);
    cr_expect_str_eq(weir_err_text(WEIR_ERR_NO_ROUTE), "no Route matched with those values");
}

static void read_back(const char *path, struct buf *out)
{
    cr_assert_eq(buf_read_file(out, path, 100000), WEIR_OK);
}

Test(log, a_line_is_one_line_and_bounded)
{
    char path[] = "/tmp/weir-test-log-XXXXXX", filler[6000];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(log_open(path), WEIR_OK);
    log_set_role("worker 3");
    log_info("below the level");
    log_notice("two\nlines");
    AUTO_BUF short_log = BUF_INIT;
    read_back(path, &short_log);
    cr_assert_gt(short_log.size, 24);
    expect_span(span_from(buf_view(&short_log), 24), " notice worker 3: two?lines\n");
    memset(filler, 'x', sizeof(filler));
    filler[sizeof(filler) - 1] = '\0';
    log_error("%s", filler);
    AUTO_BUF long_log = BUF_INIT;
    read_back(path, &long_log);
    cr_expect_eq(long_log.size, short_log.size + 4096);
    cr_expect_eq(long_log.data[long_log.size - 1], '\n');
    cr_expect_eq(log_open("/nonexistent/weir.log"), WEIR_ERR_SYSTEM, "and the old file stays");
    log_crit("still here");
    AUTO_BUF again = BUF_INIT;
    read_back(path, &again);
    cr_expect(span_ends_with(buf_view(&again), SPAN("still here\n")));
    cr_expect_eq(log_open(NULL), WEIR_OK);
    (void)close(fd);
    (void)unlink(path);
}

Test(log, levels_have_names)
{
    enum log_level level = LOG_CRIT;
    cr_expect(log_level_parse(SPAN("warn"), &level));
    cr_expect_eq(level, LOG_WARN);
    cr_expect(!log_level_parse(SPAN("WARN"), &level) && !log_level_parse(SPAN(""), &level));
    cr_expect_eq(level, LOG_WARN, "untouched on failure");
}

struct item {
    int value;
    struct list link;
};

Test(list, removing_inside_the_loop_and_twice)
{
    struct list head;
    struct item items[4] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}};
    list_init(&head);
    for (size_t i = 0; i < 4; i++)
        list_push_back(&head, &items[i].link);
    int sum = 0;
    LIST_FOREACH (node, &head) {
        struct item *item = LIST_ENTRY(node, struct item, link);
        sum += item->value;
        if (item->value % 2 == 0)
            list_remove(node);
    }
    list_remove(&items[1].link);
    cr_expect_eq(sum, 10);
    cr_expect_eq(head.next, &items[0].link);
    cr_expect_eq(head.prev, &items[2].link);
}
