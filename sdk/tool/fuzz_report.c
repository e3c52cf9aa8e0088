#include "fuzz_report.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct report *report;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* threads of a plugin wake, too */

bool report_make(void)
{
    void *memory =
        mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    report = memory;
    return true;
}

struct report *report_of(void)
{
    return report;
}

bool report_has(const char *kind)
{
    for (uint32_t i = 0; i < report->count; i++)
        if (kind == NULL || strcmp(report->finds[i].kind, kind) == 0)
            return true;
    return false;
}

static void add(uint64_t site, const char *kind, const char *phase, const char *format,
                va_list args) __attribute__((format(printf, 4, 0)));
static void add(uint64_t site, const char *kind, const char *phase, const char *format,
                va_list args)
{
    if (report == NULL) /* bench: nobody asks */
        return;
    (void)pthread_mutex_lock(&lock);
    if (report->count < REPORT_FINDS && !report_has(kind)) {
        struct find *find = &report->finds[report->count];
        (void)snprintf(find->kind, sizeof(find->kind), "%s", kind);
        (void)snprintf(find->phase, sizeof(find->phase), "%s",
                       phase == NULL ? report->phase : phase);
        (void)vsnprintf(find->text, sizeof(find->text), format, args);
        find->site = site;
        report->count++;
    }
    (void)pthread_mutex_unlock(&lock);
}

void report_find(const char *kind, const char *phase, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(0, kind, phase, format, args);
    va_end(args);
}

void report_find_at(uint64_t site, const char *kind, const char *phase, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(site, kind, phase, format, args);
    va_end(args);
}

static void write_at(size_t at, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void write_at(size_t at, const char *format, va_list args)
{
    if (at + 1 < sizeof(report->scenario))
        (void)vsnprintf(report->scenario + at, sizeof(report->scenario) - at, format, args);
}

void report_scenario(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_at(0, format, args);
    va_end(args);
}

void report_step(const char *format, ...)
{
    size_t at = strnlen(report->scenario, sizeof(report->scenario));
    va_list args;
    if (at + 4 >= sizeof(report->scenario))
        return;
    (void)memcpy(report->scenario + at, "\n  ", 4);
    va_start(args, format);
    write_at(at + 3, format, args);
    va_end(args);
}
