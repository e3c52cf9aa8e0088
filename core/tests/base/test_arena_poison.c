/* Under AddressSanitizer a pointer kept over a reset must be found, not silently read the next
 * exchange's bytes. */
#include <criterion/criterion.h>

#include "base/arena.h"

#ifdef ARENA_POISON
Test(arena, bytes_are_poison_until_handed_out_and_after_a_reset)
{
    struct arena_pool *pool = arena_pool_create(4096, 2);
    struct arena *arena = arena_create(pool);
    char *kept = arena_bytes(arena, 5);
    cr_assert_not_null(kept);
    cr_expect_eq(__asan_address_is_poisoned(kept + 4), 0);
    cr_expect_neq(__asan_address_is_poisoned(kept + 5), 0, "one past the end");
    arena_reset(arena);
    cr_expect_neq(__asan_address_is_poisoned(kept), 0);
    arena_destroy(arena);
    cr_expect_neq(__asan_address_is_poisoned(kept), 0, "idle in the pool");
    arena_pool_destroy(pool);
}
#endif
