/* `weir record` as the master runs it: the first ready worker makes the file, then all of them
 * record, each up to the same bounds; who asked is told when the last has ended. One recording at a
 * time. [master] */
#ifndef WEIR_PROCESS_RECORD_H
#define WEIR_PROCESS_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct control_client;
struct master;
struct seat;

#define EVENT_RECORD ((uint64_t)1 << 40) /* what clients of "record" wait for */
enum { RECORD_WORDS_MAX = 4096 + 512 };

struct record {
    bool active;
    uint64_t number;
    uint32_t first; /* the seat that makes the file */
    bool begun;     /* it has */
    uint32_t told, refused;
    uint32_t workers, gone; /* that began; that ended before they could say what they had */
    uint64_t written, lost, left_out;
    char words[RECORD_WORDS_MAX];
};

/* "record WORDS" (see recording.h) or "record stop"; false: it is another question. */
bool record_ask(struct master *master, struct control_client *client, struct span question);
void record_on_began(struct seat *seat, uint64_t number, struct span why);
void record_on_ended(struct seat *seat, uint64_t number, struct span numbers);
void record_on_death(struct seat *seat);

/* The words of a worker's order: a fresh key and `words`; `first`: it makes the file. False: they
 * do not fit. */
bool record_words(char *out, size_t size, const char key[], bool first, struct span words);
/* A key for these. */
enum { RECORD_KEY_TEXT = 64 + 1 };
void record_key(char out[RECORD_KEY_TEXT]);
/* "WRITTEN LOST LEFT_OUT" added to the three. */
bool record_add(struct span numbers, uint64_t *written, uint64_t *lost, uint64_t *left_out);
/* What the answer says. */
struct buf;
void record_tell(struct buf *out, uint64_t written, uint32_t workers, uint64_t lost,
                 uint64_t left_out); /* whole lines */

#endif
