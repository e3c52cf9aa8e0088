/* What the cache (resolve.c) and the queries (resolve_ares.c) share. */
#ifndef WEIR_NET_RESOLVE_INTERNAL_H
#define WEIR_NET_RESOLVE_INTERNAL_H

#include <ares.h>

#include "base/map.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "net/resolve.h"

struct name {
    struct resolver *resolver;
    struct list recent;  /* resolver->recent, the last asked first */
    struct list waiting; /* struct lookup, ours */
    struct loop_task query, tell;
    struct resolution answer; /* addresses are ours */
    uint64_t retry_ms;        /* a stale answer is not refreshed before */
    bool known;               /* there is an answer */
    bool querying;
    bool telling;
    char text[]; /* folded, terminated */
};

struct resolver {
    struct loop *loop;
    struct map *names;   /* text -> struct name */
    struct list recent;  /* all of them */
    struct list sockets; /* resolve_ares.c's, ours */
    ares_channel channel;
    struct deadline timeout;
    bool stopping;
    struct name nobody; /* those who asked for what cannot be a name; last: it ends in an array */
};

/* The end of a query; takes `addresses` over. */
void name_answered(struct name *name, enum weir_err error, struct address *addresses, size_t count,
                   uint64_t ttl_ms);

bool resolver_start_ares(struct resolver *resolver, const char *nameservers);
/* Queries under way end without name_answered(). */
void resolver_stop_ares(struct resolver *resolver);
void resolver_query(struct name *name);

#endif
