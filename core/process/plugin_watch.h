/* plugin_watch: on. Files in plugin_path that change are swapped by themselves, once they have been
 * still for a moment. For staging. [master] */
#ifndef WEIR_PROCESS_PLUGIN_WATCH_H
#define WEIR_PROCESS_PLUGIN_WATCH_H

#include <sys/stat.h>

#include "net/deadline.h"
#include "process/ledger.h"

struct master;

struct watched_file {
    char plugin[LEDGER_NAME_MAX];
    struct timespec changed; /* as it was when it was last taken */
    struct timespec seen;    /* as it was a moment ago */
    off_t size;
    ino_t inode;
};
struct plugin_watch { /* zero it before first use */
    struct watched_file *files;
    size_t count;
    struct deadline tick;
};

void plugin_watch_begin(struct master *master); /* nothing unless the setting says so */
void plugin_watch_end(struct master *master);

#endif
