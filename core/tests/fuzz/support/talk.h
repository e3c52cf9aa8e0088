/* What the two conversation targets share: the script in an input, the client's end with all it was
 * told, and what holds of every conversation whatever was said in it. */
#ifndef WEIR_TESTS_FUZZ_TALK_H
#define WEIR_TESTS_FUZZ_TALK_H

#include "message.h"
#include "policies.h"

/* An input is bytes to be sent; 0xff and a byte behind it is an action, with one more byte for
 * ACTION_PASS. 0xff 0xff and what is no action of the target's are bytes as well. */
enum { ACTION = 0xff, ACTION_PASS = 'p' };

struct script {
    struct span rest;
    const char *actions; /* the letters of this target */
};
/* The next piece: bytes, or an action in *out_action (else 0) with its argument. False: the end. */
bool script_next(struct script *script, struct span *out_bytes, char *out_action,
                 unsigned *out_argument);

/* Like CHECK_THAT, with the bytes in question. */
#define TALK_CHECK(that, why, bytes) ((that) ? (void)0 : talk_fail(#that, why, bytes))
__attribute__((noreturn)) void talk_fail(const char *that, const char *why, struct span bytes);

/* ---- the client's end */

struct caller {
    int fd; /* -1: it has left */
    bool deaf, ended;
    struct buf got;
};

void caller_open(struct world *world, struct caller *caller, bool tcp);
/* In as many turns as it needs; what the gateway does not take is dropped. */
void caller_send(struct world *world, struct caller *caller, struct span bytes);
void caller_read(struct caller *caller);
void caller_leave(struct world *world, struct caller *caller, bool reset);
void caller_free(struct caller *caller);

/* One final answer; an interim one has no number of its own. */
struct answer {
    unsigned client, number;
    const struct record *record;
    bool replaced; /* by one of weir's own, when its hooks had run: it has no mark */
    const struct message *message;
    enum reading reading;
    struct span text, rest; /* all of it, and what came behind it */
};
typedef void answer_judge(const struct answer *answer);
/* Well formed, each with the mark of its request, one for each, in order, nothing behind the last;
 * one that is not whole is the last and has a connection that ended. Each goes to `judge` too. */
void caller_check(const struct caller *caller, unsigned client, answer_judge *judge);

/* ---- what holds at the end */

void talk_begin(struct world *world);
/* Long enough passes that every deadline is over: nobody may be left, though nobody has left. */
void talk_outlast(struct world *world, void (*serve)(void));
/* Everybody leaves: nothing is left, not even a descriptor. */
void talk_end(struct world *world);

#endif
