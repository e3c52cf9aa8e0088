/* What a fuzzing child tells its parent, in memory both see, so that it is there after a crash: how
 * far it is, inside which hook, and what it found. */
#ifndef WEIR_FUZZ_REPORT_H
#define WEIR_FUZZ_REPORT_H

#include <stdbool.h>
#include <stdint.h>

enum { REPORT_FINDS = 8, REPORT_SCENARIO = 3072 };

struct find {
    char kind[40];  /* "leak" */
    char phase[40]; /* "access"; empty: in none */
    char text[320];
    uint64_t site; /* offset in the plugin's file of the code that did it; 0: not known */
};
enum { REPORT_EXIT = 77 /* of a child that found something */ };

struct report {
    volatile uint64_t beat; /* rises as long as the child gets on */
    volatile uint32_t run;
    volatile uint32_t requests;
    volatile bool warm;             /* the first requests are over, the run itself goes on */
    char phase[40];                 /* inside which call to the plugin, else empty */
    char scenario[REPORT_SCENARIO]; /* what is tried right now, a line for each step */
    volatile uint32_t count;
    struct find finds[REPORT_FINDS];
};

/* The report of this process; the parent makes it before the child begins. false: no memory. */
bool report_make(void);
struct report *report_of(void);

/* One more find in `phase` (NULL: the one that runs). The same kind is told once. From any thread.
 */
void report_find(const char *kind, const char *phase, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same at `site`. */
void report_find_at(uint64_t site, const char *kind, const char *phase, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Is there any, or one of that kind? */
bool report_has(const char *kind);

/* What the run tries: begin anew, and a further step. */
void report_scenario(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report_step(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
