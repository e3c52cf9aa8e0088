/* A file that lines are appended to, and the lines that wait for it. Nothing here blocks: what the
 * file does not take at once waits in a bounded queue and is tried again from a timer. */
#ifndef FILE_LOG_SINK_H
#define FILE_LOG_SINK_H

#include <sys/types.h>

#include <weir/weir.h>

typedef struct sink sink;

/* Called after each attempt. `request` NULL: from the timer. */
typedef void sink_report(void *policy, weir_request *request);

struct sink {
    /* Set by the owner before sink_line(); `file` lives as long as the sink. */
    void *policy; /* whose timers they are */
    const char *file;
    bool reopen;      /* open it for each attempt */
    size_t limit;     /* bytes that may wait */
    bool drop_oldest; /* when there is no room; else the new line is lost */
    sink_report *report;

    /* To be read by the owner. */
    int failure;   /* errno of the last attempt, EAGAIN included; 0: it went well */
    uint64_t lost; /* lines, ever */

    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;        /* of what was open last */
    bool is_regular;    /* several workers append to it: a line is begun anew, not continued */
    bool is_shared;     /* the description is somebody else's, who did not ask for O_NONBLOCK */
    bool checked;       /* checked_us holds */
    int64_t checked_us; /* when fd was last compared with the name, or opening it failed */

    char *bytes; /* the waiting lines, each with its newline, are bytes[from, end) */
    size_t from, end, capacity;
    size_t sent; /* of the first one, by a pipe */
    bool cut;    /* what was written last misses its newline */
    weir_timer *timer;
};

/* Write it, or keep it for later, or lose it. */
void sink_line(sink *to, weir_request *request, weir_str line);
/* One last attempt; what waits still is lost. Then everything is given back. */
void sink_close(sink *to);
static inline size_t sink_waiting(const sink *of)
{
    return of->end - of->from;
}

#endif
