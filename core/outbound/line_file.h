/* A file on disk that lines are appended to: opened by name, followed through a rotation, each
 * piece one write on a descriptor that only appends. Knows neither queue nor thread; a regular file
 * may block for as long as its disk pleases, so this is for the writer of files.c alone. */
#ifndef WEIR_OUTBOUND_LINE_FILE_H
#define WEIR_OUTBOUND_LINE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct line_file {
    const char *path; /* borrowed */
    bool reopens;     /* by name, for each piece */
    mode_t mode;      /* of one that is made */

    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;         /* of what was open last */
    bool is_regular;     /* several workers append to it: a line is continued only when nobody came
                            between, else begun anew */
    bool is_shared;      /* the description is somebody else's, who did not ask for O_NONBLOCK */
    bool cut;            /* what was written last misses its newline */
    size_t cut_bytes;    /* of that line, which comes first in the next piece; 0: it does not */
    off_t cut_size;      /* of the file then */
    uint64_t checked_us; /* when fd was last compared with its name; 0: never */
};

void line_file_init(struct line_file *file, const char *path, mode_t mode, bool reopens);
/* It is open for the next piece; 0, or errno. *out_is_other: not the file of last time, so what
 * that one has of a line is no use. `now_us` is monotonic. */
int line_file_prepare(struct line_file *file, uint64_t now_us, bool *out_is_other);
/* How many of the bytes were taken; *out_failure is errno when they were not all (EAGAIN also for a
 * short write). Prepared before. */
size_t line_file_write(struct line_file *file, const char *bytes, size_t size, int *out_failure);
void line_file_close(struct line_file *file);

#endif
