/* Streams and fetches of policies: what the process lends, bounded for each policy, linked to it
 * and ended with it. A plugin never sees the process's own handle, so one that ends inside its own
 * callback is freed when the callback has returned. */
#include <stdlib.h>

#include "plugin_host/calls.h"
#include "plugin_host/policies.h"

enum { STREAMS_MAX = 64, FETCHES_MAX = 64 /* of one policy at a time */ };

struct peer {
    struct list link; /* on the policy's list; off it: ended */
    struct built_policy *policy;
    const struct host_services *services;
    void *service; /* what the process lent; NULL: gone */
    void *user;
    bool is_fetch;
    bool running; /* inside its callback */
};

struct weir_stream {
    struct peer peer; /* first */
    weir_stream_events events;
};

struct weir_fetch {
    struct peer peer; /* first */
    weir_fetch_hook *done;
};

bool copy_sized(void *out, size_t size, size_t least, const void *from)
{
    uint32_t has = 0;
    if (from == NULL)
        return false;
    memcpy(&has, from, sizeof(has));
    if (has < least || has > 4096)
        return false;
    const char *bytes = from;
    for (size_t i = size; i < has; i++)
        if (bytes[i] != 0)
            return false;
    memset(out, 0, size);
    memcpy(out, from, has < size ? has : size);
    return true;
}

/* ---- one of either kind */

static uint16_t *count_of(const struct peer *peer)
{
    return peer->is_fetch ? &peer->policy->fetch_count : &peer->policy->stream_count;
}

/* Nothing with that handle is the plugin's any more. */
static void forget(struct peer *peer)
{
    if (!list_is_linked(&peer->link))
        return;
    list_remove(&peer->link);
    (*count_of(peer))--;
}

static void end(struct peer *peer)
{
    if (!list_is_linked(&peer->link))
        return;
    forget(peer);
    void *service = TAKE(peer->service);
    if (service != NULL && peer->is_fetch)
        peer->services->fetch_cancel(peer->services->user, service);
    else if (service != NULL)
        peer->services->stream_close(peer->services->user, service);
    if (!peer->running)
        free(peer);
}

void policy_peers_end(struct built_policy *policy)
{
    while (!list_is_empty(&policy->peers))
        end(CONTAINER_OF(policy->peers.next, struct peer, link));
}

/* Around every call into the plugin. */
static void *enter(struct peer *peer)
{
    blame_policy(peer->policy, BLAME_CALLBACK);
    peer->running = true;
    return peer->policy->run.policy->self;
}

static void leave(struct peer *peer)
{
    blame_nobody(peer->policy);
    peer->running = false;
    if (!list_is_linked(&peer->link))
        free(peer);
}

/* NULL: refused. `size` is that of the whole struct. */
static void *begin(struct built_policy *policy, size_t size, bool is_fetch, void *user)
{
    uint16_t count = is_fetch ? policy->fetch_count : policy->stream_count;
    if (count >= (is_fetch ? FETCHES_MAX : STREAMS_MAX))
        return NULL;
    struct peer *peer = calloc(1, size);
    if (peer == NULL)
        return NULL;
    peer->policy = policy;
    peer->services = host_services(policy->run.policies->host);
    peer->user = user;
    peer->is_fetch = is_fetch;
    return peer;
}

static bool keep(struct peer *peer)
{
    if (peer->service == NULL) {
        free(peer);
        return false;
    }
    list_push_back(&peer->policy->peers, &peer->link);
    (*count_of(peer))++;
    return true;
}

/* ---- streams */

static void on_opened(void *arg)
{
    weir_stream *stream = arg;
    void *self = enter(&stream->peer);
    if (stream->events.opened != NULL)
        stream->events.opened(self, stream->peer.user);
    leave(&stream->peer);
}

static void on_data(void *arg, weir_str bytes)
{
    weir_stream *stream = arg;
    void *self = enter(&stream->peer);
    if (stream->events.data != NULL)
        stream->events.data(self, stream->peer.user, bytes);
    leave(&stream->peer);
}

static void on_closed(void *arg, weir_str why)
{
    weir_stream *stream = arg;
    void *self = enter(&stream->peer);
    stream->peer.service = NULL;
    forget(&stream->peer); /* another may be opened in its place */
    if (stream->events.closed != NULL)
        stream->events.closed(self, stream->peer.user, why);
    leave(&stream->peer);
}

weir_stream *call_stream_open(const void *self, const weir_peer *peer,
                              const weir_stream_events *events, void *user)
{
    static const struct stream_reports reports = {on_opened, on_data, on_closed};
    struct built_policy *policy = built_of(policy_of_self(self));
    const struct host_services *services = host_services(policy->run.policies->host);
    weir_peer whom;
    weir_stream_events what;
    if (services->stream_open == NULL || services->stream_write == NULL ||
        services->stream_close == NULL)
        return NULL;
    if (!copy_sized(&whom, sizeof(whom), SIZE_UP_TO(weir_peer, deadline_ms), peer) ||
        !copy_sized(&what, sizeof(what), SIZE_UP_TO(weir_stream_events, closed), events))
        return NULL;
    weir_stream *stream = begin(policy, sizeof(*stream), false, user);
    if (stream == NULL)
        return NULL;
    stream->events = what;
    stream->peer.service = services->stream_open(services->user, &whom, &reports, stream);
    return keep(&stream->peer) ? stream : NULL;
}

weir_status call_stream_write(weir_stream *stream, weir_str bytes)
{
    if (stream == NULL || stream->peer.service == NULL)
        return WEIR_GONE;
    const struct host_services *services = stream->peer.services;
    return services->stream_write(services->user, stream->peer.service, bytes);
}

void call_stream_close(weir_stream *stream)
{
    if (stream != NULL)
        end(&stream->peer);
}

/* ---- fetches */

static void on_done(void *arg, const weir_fetch_answer *answer)
{
    weir_fetch *fetch = arg;
    void *self = enter(&fetch->peer);
    fetch->peer.service = NULL;
    forget(&fetch->peer); /* another may be started in its place */
    fetch->done(self, fetch->peer.user, answer);
    leave(&fetch->peer);
}

weir_fetch *call_fetch_start(const void *self, const weir_fetch_request *request,
                             weir_fetch_hook *done, void *user)
{
    struct built_policy *policy = built_of(policy_of_self(self));
    const struct host_services *services = host_services(policy->run.policies->host);
    weir_fetch_request what;
    if (services->fetch_start == NULL || services->fetch_cancel == NULL || done == NULL ||
        !copy_sized(&what, sizeof(what), SIZE_UP_TO(weir_fetch_request, body_limit), request))
        return NULL;
    weir_fetch *fetch = begin(policy, sizeof(*fetch), true, user);
    if (fetch == NULL)
        return NULL;
    fetch->done = done;
    fetch->peer.service = services->fetch_start(services->user, &what, on_done, fetch);
    return keep(&fetch->peer) ? fetch : NULL;
}

void call_fetch_cancel(weir_fetch *fetch)
{
    if (fetch != NULL)
        end(&fetch->peer);
}
