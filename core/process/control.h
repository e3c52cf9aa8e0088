/* The control socket PREFIX/weir.sock: one line in, text out, see process_ask(). Knows nothing of
 * what is asked; whoever runs the gateway answers when it can. */
#ifndef WEIR_PROCESS_CONTROL_H
#define WEIR_PROCESS_CONTROL_H

#include <stdint.h>

#include "base/buf.h"

struct control;
struct control_client; /* one question, waiting for its answer */
struct loop;

enum { CONTROL_CLIENTS_MAX = 64, CONTROL_LINE_MAX = 4096 + 256 };

/* Listens at `path` (mode 0600). `asked` gets every question, without its line feed, and answers at
 * once or later with control_answer(). NULL with a sentence in `why`. */
WEIR_MUST_USE struct control *control_open(struct loop *loop, const char *path,
                                           void (*asked)(struct control_client *client,
                                                         struct span question, void *user),
                                           void *user, char *why, size_t why_size);
/* Clients that still wait are cut; the path goes unless `keep_path` (in a child). NULL is fine. */
void control_close(struct control *control, bool keep_path);

/* "ok" or "failed CODE", then `text`; the client is gone after that. */
void control_answer(struct control_client *client, int code, struct span text);
/* Wait for event `number` (of the caller's choice). */
void control_wait(struct control_client *client, uint64_t number);
/* The same answer for everybody who waits for event `number`. */
void control_answer_all(struct control *control, uint64_t number, int code, struct span text);

#endif
