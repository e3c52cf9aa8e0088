/* Names to addresses: /etc/hosts, then DNS (c-ares), cached for as long as the answer says. One per
 * loop. An answer that ran out is still given for an hour while a fresh one is fetched, so a slow
 * name server does not slow traffic. IPv4 answers win; IPv6 ones are given when a name has no
 * others. */
#ifndef WEIR_NET_RESOLVE_H
#define WEIR_NET_RESOLVE_H

#include "base/auto.h"
#include "net/address.h"

struct loop;
struct lookup;
struct resolver;

struct resolution {
    enum weir_err error;       /* OK; NO_NAME: there is no such name; TIMEOUT, SYSTEM, NO_MEMORY */
    struct address *addresses; /* with port 0 */
    size_t count;              /* at least 1 when OK */
    uint64_t expires_ms;       /* on clock_mono_ms() */
};

/* `nameservers`: "10.0.0.1,[fd00::1]:5353", NULL for the system's. NULL when c-ares will not start.
 */
WEIR_MUST_USE struct resolver *resolver_create(struct loop *loop, const char *nameservers);
/* Waiting lookups are dropped, their `done` is not called. Not inside a `done`. NULL is fine. */
void resolver_destroy(struct resolver *resolver);
AUTO_DEFINE(struct resolver, resolver_destroy)

/* What is known now (IP literals and localhost always are), NULL when it must be looked up. A
 * failure known for up to 30 s (no such name) or 1 s (anything else) is an answer too. Lives until
 * control returns to the loop. */
const struct resolution *resolver_cached(struct resolver *resolver, struct span text);
/* `done` is called once, never before this returns, with an answer that lives for the call. Lookups
 * of one name share one query. NULL without memory: `done` is not called. */
WEIR_MUST_USE struct lookup *
resolver_lookup(struct resolver *resolver, struct span text,
                void (*done)(const struct resolution *resolution, void *user), void *user);
/* `done` will not be called; the query goes on for the cache. NULL is fine. */
void lookup_cancel(struct lookup *lookup);

#endif
