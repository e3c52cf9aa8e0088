/* What the parts of smuggle.c share: the streams under way, the figures, the way to fail. */
#ifndef WEIR_TEST_BENCH_H
#define WEIR_TEST_BENCH_H

#include "reference.h"
#include "streams.h"

enum {
    STREAMS_KEPT = 1024, /* one that is over may still be read of by a late part of it */
    PATIENCE_MS = 30000,
    LISTED_ROWS = 16,
    STATUS_MAX = 600,
};

/* One connection of a client. */
struct stream {
    uint32_t number;
    char *bytes;
    size_t size;
    struct plan plan;
    unsigned next;   /* request that the upstream may see next */
    unsigned killed; /* index + 1 of the one that the upstream took and did not answer */
    bool tainted;    /* the upstream's answer was broken: this client may be told anything */
};

struct options {
    uint64_t seed;
    uint32_t first, streams, parallel;
    int listener;
    uint16_t proxy_port, target_port;
    const char *broken; /* the self-test: how the upstream misreports */
    const char *replay; /* this file is the only stream */
    const char *folder; /* failing streams go here */
    bool bad_answers;
};

struct figures {
    uint64_t streams, bytes, planned, passed, parts, local, cut_short, refused, silent;
    uint64_t by_status[STATUS_MAX];
    uint64_t killed, left, resent, lost, failed, bad_answers;
    uint64_t peers, reused;
    uint64_t stricter, compared, listed[LISTED_ROWS];
};

/* First member of what epoll tells of. */
enum kind { KIND_LISTENER, KIND_CLIENT, KIND_PEER };

struct bench {
    struct options options;
    struct figures figures;
    int epoll;
    struct stream streams[STREAMS_KEPT];
    unsigned clients; /* open */
    uint64_t now_ms;
};
extern struct bench bench;

/* Print why, and the stream; write it to a file; end. `stream` may be NULL. */
_Noreturn void fail(const struct stream *stream, const char *format, ...) WEIR_PRINTF(2, 3);

/* 127.x.y.z tells which stream a connection is of. */
void stream_ip(uint32_t number, char out[16]);
/* NULL: nobody's. */
struct stream *stream_of_ip(struct span ip);

void watch(int fd, enum kind *what);

/* ---- clients.c */
void client_start(uint32_t number);
void client_readable(void *client);
/* Each sends its next piece. True: there is more to send at once. */
bool clients_send(void);

/* ---- upstream.c */
void peer_accept(int listener);
void peer_readable(void *peer);
void peers_tick(void);
/* Connections with a part of a request. */
unsigned peers_unfinished(void);
/* The body with which the upstream answers that request. */
size_t answer_body(uint32_t number, unsigned request, char out[512]);

#endif
