/* A process that runs plugin code and ends by a fatal signal leaves a record in memory it shares
 * with the master: the signal, whose code ran, and a backtrace as places in files, because the
 * mappings are gone when the master reads it. The record is written by a signal handler on a stack
 * of its own, so it must be taken for what it is: the last words of a process gone wild. Reading
 * and naming: crash_report.c. */
#ifndef WEIR_PROCESS_CRASH_H
#define WEIR_PROCESS_CRASH_H

#include <sys/types.h>

#include "base/buf.h"
#include "plugin_host/blame.h"

enum { CRASH_FRAMES = 32, CRASH_MODULES = 16, CRASH_PATH = 512, CRASH_NOWHERE = 255 };

struct crash_frame {
    uint64_t address;
    uint64_t offset; /* in the file */
    uint32_t module; /* CRASH_NOWHERE: in none */
};

struct crash_record {
    int32_t pid;    /* whose; 0: empty */
    int32_t signal; /* what it ended by */
    int32_t code;   /* si_code */
    uint64_t address;
    uint32_t beside; /* 1: it was not the thread of the loop */
    struct blame_facts blame;
    uint32_t frame_count, module_count;
    struct crash_frame frames[CRASH_FRAMES]; /* the first is where it happened */
    char modules[CRASH_MODULES][CRASH_PATH]; /* paths; empty: the program itself */
};

/* `count` records for processes forked from now on. NULL without memory. */
WEIR_MUST_USE struct crash_record *crash_records_create(uint32_t count);
void crash_records_destroy(struct crash_record *records, uint32_t count);

/* From here on this process leaves its last words in `record`, and on descriptor `print` (-1: none)
 * as text. Then the handler that was there before runs (a sanitizer's), else the default action: a
 * core when the system is set so. Without memory for a stack it works but for stack overflows. */
void crash_catch(struct crash_record *record, int print);
/* Who can tell whose code runs; NULL: nobody any more. */
void crash_set_host(const struct plugin_host *host);

/* ---- in the master */

/* The end of a worker or a trial, for the log and for whoever decides about builds. */
struct death {
    uint32_t worker;
    int status;  /* of waitpid() */
    int signal;  /* what it died of, even when a sanitizer turned it into an exit code; 0: it exited
                  */
    bool hung;   /* the watchdog ended it */
    bool blamed; /* code of a plugin ran; the rest says whose */
    bool has_record;     /* and its own last words say so */
    uint32_t policy;     /* index in `generation`, UINT32_MAX: none (it was loading) */
    uint32_t place;      /* enum phase or enum blame_place */
    uint64_t generation; /* number of the configuration, 0: not known */
    char plugin[64], version[32];
    char hash[IMAGE_HASH_TEXT + 1]; /* of the build; empty: not known */
    char route[64], request[33];
};

/* What `record` says of the process `pid`; false: nothing. `death` has its status already. */
bool crash_tell(const struct crash_record *record, pid_t pid, struct death *death);
/* "SIGSEGV in tenant-quota 1.0.1 (build 9f3c01ab22d0), access, route r7, request 0b1f…" */
void death_describe(const struct death *death, struct buf *out);
/* Its second half: " in tenant-quota 1.0.1 (build 9f3c01ab22d0), access, …"; nothing when no plugin
 * is to blame. */
void death_blame(const struct death *death, struct buf *out);
/* A line for each frame: "  #0 tenant-quota.9f3c01ab22d0.so+0x1a2b (access_phase+0x1b)". Nothing
 * when there is no record of `pid`. Reads the files' symbol tables, runs nothing of them. */
void crash_backtrace(const struct crash_record *record, pid_t pid, struct buf *out);
/* "tenant-quota.9f3c01ab22d0.so" of the path of a private copy, else the file's name. */
void crash_module_name(const char *path, char *out, size_t size);

#endif
