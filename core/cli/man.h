/* The manual page, written from the table of verbs and the texts of --help: it cannot say anything
 * else than the program does. The build makes weir.1 with `weir help --man`. */
#ifndef WEIR_CLI_MAN_H
#define WEIR_CLI_MAN_H

#include "base/buf.h"

/* In this order: start, every verb, end. Appends roff with the macros of man(7). A page that did
 * not fit into memory has `page->failed`. */
void man_start(struct buf *page);
/* `details` as verbs.h describes them, or NULL. */
void man_verb(struct buf *page, const char *name, const char *arguments, const char *help,
              const char *details);
/* Settings, files, environment and exit codes. */
void man_end(struct buf *page);

#endif
