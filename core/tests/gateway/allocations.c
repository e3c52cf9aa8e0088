#include "allocations.h"

#include <errno.h>
#include <stddef.h>

static unsigned fail_at, counted;
static bool all_after, is_armed, has_failed;

void allocations_fail(unsigned at, bool after)
{
    fail_at = at;
    all_after = after;
    counted = 0;
    is_armed = has_failed = false;
}

void allocations_arm(bool armed)
{
    is_armed = armed;
}

bool allocations_failed(void)
{
    return has_failed;
}

static bool fails(void)
{
    if (!is_armed || fail_at == 0)
        return false;
    counted++;
    if (counted != fail_at && !(all_after && counted > fail_at))
        return false;
    has_failed = true;
    errno = ENOMEM;
    return true;
}

/* The names are the linker's: NOLINTBEGIN(bugprone-reserved-identifier) */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}
char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}
char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : __real_strndup(text, size);
}
/* NOLINTEND(bugprone-reserved-identifier) */
