#include "admin/admin.h"

#include <stdlib.h>

#include "admin/orders.h"
#include "admin/scrape.h"
#include "admin/server.h"
#include "admin/upstreams.h"
#include "admin/views.h"

enum {
    ADMIN_CONNECTIONS = 128, /* for each kind: a crowd on one does not keep probes from the other */
    ADMIN_BODY_BYTES = 65536, /* read and dropped, so that a wrong method is told what is wrong */
    ADMIN_IDLE_MS = 60000,
    ADMIN_STALL_MS = 10000,
    ADMIN_KINDS = 2,
};

#define JSON SPAN("application/json; charset=utf-8")
#define PROMETHEUS SPAN("text/plain; charset=UTF-8")

struct side {
    const struct admin *admin;
    enum admin_kind kind;
    struct server *server; /* made with its first listener */
};

struct admin {
    struct admin_options options;
    struct admin_orders *orders;
    struct side sides[ADMIN_KINDS];
};

static void answer_root(const struct admin_options *node, struct server_reply *reply)
{
    view_root(node, &reply->body);
}

static void answer_status(const struct admin_options *node, struct server_reply *reply)
{
    view_status(node, &reply->body);
}

static void answer_ready(const struct admin_options *node, struct server_reply *reply)
{
    reply->status = view_ready(node, &reply->body) ? 200 : 503;
}

static void answer_live(const struct admin_options *node, struct server_reply *reply)
{
    view_live(node, &reply->body);
}

static bool next_metrics(void *stream, struct buf *out)
{
    return scrape_next(stream, out);
}

static void metrics_over(void *stream)
{
    scrape_destroy(stream);
}

static void answer_metrics(const struct admin_options *node, struct server_reply *reply)
{
    struct generation *now = node->gateway == NULL ? NULL : gateway_current(node->gateway);
    struct scrape *scrape = scrape_create(node->shared, now);
    if (scrape == NULL) {
        reply->body.failed = true;
        return;
    }
    reply->content_type = PROMETHEUS;
    reply->stream = scrape;
    reply->next = next_metrics;
    reply->over = metrics_over;
}

#define ON(kind) (1U << (kind))

static const struct endpoint {
    const char *path;
    unsigned kinds;
    void (*answer)(const struct admin_options *node, struct server_reply *reply);
} endpoints[] = {
    {"/", ON(ADMIN_ADMIN), answer_root},
    {"/status", ON(ADMIN_STATUS) | ON(ADMIN_ADMIN), answer_status},
    {"/status/ready", ON(ADMIN_STATUS), answer_ready},
    {"/status/live", ON(ADMIN_STATUS), answer_live},
    {"/metrics", ON(ADMIN_STATUS) | ON(ADMIN_ADMIN), answer_metrics},
};

static const struct endpoint *endpoint_of(struct span path, enum admin_kind kind)
{
    if (path.size > 1 && span_ends_with(path, SPAN("/")))
        path.size--;
    for (size_t i = 0; i < COUNT_OF(endpoints); i++) {
        if ((endpoints[i].kinds & ON(kind)) != 0 && span_equal(path, span_text(endpoints[i].path)))
            return &endpoints[i];
    }
    return NULL;
}

static void answer(const struct server_request *request, struct server_reply *reply, void *user)
{
    const struct side *side = user;
    const struct endpoint *endpoint = endpoint_of(request->head->path, side->kind);
    unsigned method = request->head->method_id;
    reply->content_type = JSON;
    if (side->kind == ADMIN_ADMIN && (upstreams_answer(&side->admin->options, request, reply) ||
                                      admin_orders_answer(side->admin->orders, request, reply)))
        return;
    if (endpoint == NULL) {
        reply->status = 404;
        view_message("Not found", &reply->body);
    } else if (method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD) {
        reply->status = 405;
        reply->allow = SPAN("GET, HEAD");
        view_message("Method not allowed", &reply->body);
    } else {
        endpoint->answer(&side->admin->options, reply);
    }
}

struct admin *admin_create(const struct admin_options *options)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return NULL;
    admin->options = *options;
    if ((admin->orders = admin_orders_create(&admin->options)) == NULL) {
        free(admin);
        return NULL;
    }
    admin->sides[ADMIN_STATUS] = (struct side){.admin = admin, .kind = ADMIN_STATUS};
    admin->sides[ADMIN_ADMIN] = (struct side){.admin = admin, .kind = ADMIN_ADMIN};
    return admin;
}

void admin_destroy(struct admin *admin)
{
    if (admin == NULL)
        return;
    for (size_t i = 0; i < ADMIN_KINDS; i++)
        server_destroy(admin->sides[i].server);
    admin_orders_destroy(admin->orders);
    free(admin);
}

enum weir_err admin_listen(struct admin *admin, int fd, enum admin_kind kind,
                           struct tls_server *tls)
{
    struct side *side = &admin->sides[kind];
    if (side->server == NULL) {
        const struct server_options options = {
            .loop = admin->options.loop,
            .answer = answer,
            .user = side,
            .name = SPAN("weir/" WEIR_VERSION),
            .connections = ADMIN_CONNECTIONS,
            .body_kept = kind == ADMIN_ADMIN ? ORDER_BODY_MAX : 0,
            .body_bytes = ADMIN_BODY_BYTES,
            .idle_ms = ADMIN_IDLE_MS,
            .stall_ms = ADMIN_STALL_MS,
        };
        side->server = server_create(&options);
    }
    if (side->server == NULL)
        return WEIR_ERR_NO_MEMORY;
    return server_listen(side->server, fd, tls);
}
