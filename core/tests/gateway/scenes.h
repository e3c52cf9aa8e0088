/* The scenes of the walk (walk.c): how an exchange comes to wait in each state of its table, and
 * the actors that bring it there: a client, a target and policies that do all they can, but what
 * the scene holds back. */
#ifndef WEIR_TESTS_GATEWAY_SCENES_H
#define WEIR_TESTS_GATEWAY_SCENES_H

#include "world.h"

enum hold { /* what the target does not do until it is let go */
            HOLD_NOTHING,
            HOLD_CONNECT,   /* its queue is full */
            HOLD_NAME,      /* its name has no answer */
            HOLD_SERVICE,   /* nobody listens */
            HOLD_READ,      /* it accepts and reads nothing */
            HOLD_ANSWER,    /* it reads, and says nothing */
            HOLD_FINAL,     /* it says 103 alone */
            HOLD_HALF_HEAD, /* a part of the head */
            HOLD_BODY,      /* the head and half of the body */
};

enum outcome {             /* what the client sees instead of a status */
               CUT = -1,   /* the connection ends before the end of an answer, or without one */
               AS_EVER = 0 /* what it sees when nothing happens */
};

struct scene {
    const char *name;
    enum state state;                        /* STATE_COUNT: no exchange */
    bool (*waits)(const struct exchange *x); /* and this holds; NULL: nothing more */
    const char *head;                        /* of the request */
    size_t body, sent; /* bytes of its body; how much of all goes first, 0: all */
    const char *ahead; /* what comes behind it */
    enum hold hold;
    size_t answer;             /* bytes of the answer's body */
    bool deaf;                 /* the client does not read */
    int park;                  /* enum phase whose hook parks; -1: none */
    const weir_plugin *plugin; /* scene_plugins */
    uint32_t wait_ms;          /* so much passes before it is there */
    int usual;                 /* status when nothing happens */
    uint32_t pass_ms;          /* the deadline, passed */
    int late, gone; /* what the client sees when it has passed, and when the target leaves */
    int reset;      /* the same with a RST */
    bool unseen;    /* nobody looks whether the client is gone */
};
extern const struct scene scenes[];
extern const size_t scene_count;

enum { CLIENT_ROOM = 8 << 20 };

/* The two sides as they stand. */
struct performance {
    struct world world;
    const struct scene *scene;
    int client, target; /* -1: none; the target's newest connection */
    bool beginning;     /* the scene is set up */
    bool free;          /* nothing is held back any more */
    bool parked;        /* a hook has parked and was not woken */
    bool has_parked;
    weir_token token;
    size_t sent;     /* of the client's bytes */
    size_t request;  /* bytes the target has read on this connection */
    size_t answered; /* bytes it has sent on it */
    unsigned connections;
    char tail[8]; /* of what it has read */
    bool head_over;
    bool client_over; /* the client has seen the end */
    char *got;        /* CLIENT_ROOM bytes: what the client read */
    size_t got_size;
    unsigned logs;
};

/* World and actors; `scene` is not played yet. */
void walk_open(struct performance *walk, const struct scene *scene);
void walk_close(struct performance *walk);
/* Everybody does what it can until nothing moves. With `free` nothing is held back. */
void walk_play(struct performance *walk, bool free);
/* Until it is where the scene wants it, or nothing moves any more. */
void walk_begin_scene(struct performance *walk);
/* The exchange waits where the scene says. */
bool walk_is_there(const struct performance *walk);

/* The loop's part, with allocations armed. */
void walk_settle(struct performance *walk);
void walk_pass(struct performance *walk, uint32_t ms);

struct verdict {
    int status;     /* of the last whole answer; CUT: none */
    unsigned whole; /* answers */
    bool partial;   /* bytes of another one follow */
    bool corrupt;   /* none of the above */
};
/* What the client has read, as answers to `count` requests. */
struct verdict walk_judge(const struct performance *walk, unsigned count);

#endif
