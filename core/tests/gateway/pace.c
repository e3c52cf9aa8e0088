/* How slow a client may be: only its own waits count, bytes buy time back, and never more than was
 * used. */
#include "gateway/pace.h"

#include <criterion/criterion.h>

enum { CREDIT_MS = 1000, S = 1000 * 1000 };

struct look {
    uint64_t at_us, bytes;
    bool awaited;
};
static const struct row {
    const char *why;
    uint64_t rate;
    struct look looks[4]; /* up to the first at 0 */
    uint64_t left_ms;
} rows[] = {
    {"nobody has waited for it", 100, {{S, 0, false}}, 1000},
    {"half of the credit is used up", 100, {{S, 0, true}, {S + S / 2, 0, true}}, 500},
    {"the wait for somebody else is not the client's",
     100,
     {{S, 0, false}, {9 * S, 0, true}},
     1000},
    {"one byte of a hundred a second buys 10 ms", 100, {{S, 0, true}, {S + S / 2, 1, true}}, 510},
    {"more bytes than were missing buy no more than that",
     100,
     {{S, 0, true}, {S + S / 2, 9999, true}},
     1000},
    {"what was fast before excuses no stop",
     100,
     {{S, 1 << 20, true}, {S + S / 2, 1 << 20, true}},
     500},
    {"without a rate one byte buys all", 0, {{S, 0, true}, {S + S / 2, 1, true}}, 1000},
    {"without a rate no byte buys nothing", 0, {{S, 5, true}, {S + S / 2, 5, true}}, 500},
    {"a count that begins anew is no loss", 100, {{S, 50, true}, {S + S / 2, 10, true}}, 600},
    {"past the credit: at once", 100, {{S, 0, true}, {5 * S, 0, true}}, 1},
    {"more than a machine can count", 1, {{S, 0, true}, {2 * S, UINT64_MAX, true}}, 1000},
};

Test(pace, credit)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pace pace = {0};
        for (const struct look *look = rows[i].looks; look->at_us != 0; look++)
            pace_note(&pace, look->at_us, look->bytes, look->awaited, rows[i].rate);
        uint64_t left = pace_left_ms(&pace, CREDIT_MS);
        cr_expect_eq(left, rows[i].left_ms, "%s: %lu ms are left", rows[i].why, left);
    }
}
