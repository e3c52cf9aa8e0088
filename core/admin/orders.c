#include "admin/orders.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/ask.h"
#include "admin/swap_body.h"
#include "admin/views.h"
#include "base/list.h"
#include "base/log.h"

enum {
    WAITING_MAX = 16, /* of one worker; the master has room for 64 */
    LIST_MS = 5000,
    STEPS_MS = 300000, /* each has up to 30 s, and more with a large configuration */
    WATCH_MAX_MS = 24 * 3600 * 1000,
    NAME_MAX_SIZE = 63,
};

struct admin_orders {
    const struct admin_options *node;
    struct list waiting;
    size_t count;
};

enum order { ORDER_LIST, ORDER_SWAP, ORDER_ROLLBACK, ORDER_RELOAD };

struct request { /* one, while it is looked at */
    struct admin_orders *orders;
    const struct server_request *from;
    struct server_reply *reply;
    struct span plugin; /* of the path */
    enum order order;
};

struct waiting { /* a client, for the master's answer */
    struct list link;
    struct admin_orders *orders;
    struct client *client;
    struct ask *ask;
    enum order order;
};

static void say(struct server_reply *reply, unsigned status, const char *message)
{
    reply->status = status;
    view_message(message, &reply->body);
}

/* ---- the answer */

static void forget(struct waiting *waiting)
{
    list_remove(&waiting->link);
    waiting->orders->count--;
    free(waiting);
}

static void on_gone(void *user)
{
    struct waiting *waiting = user;
    ask_cancel(waiting->ask);
    forget(waiting);
}

/* What was asked of the master and how it went, as {"message", "lines"}. */
static void put_lines(struct server_reply *reply, bool good, struct span text)
{
    struct span rest = text, line;
    struct buf *out = &reply->body;
    while (span_split(&rest, '\n', &line) && span_is_empty(line))
        continue;
    buf_text(out, "{\"message\":");
    buf_json(out, text.size > 0 ? line : good ? SPAN("done") : SPAN("refused"));
    buf_text(out, ",\"lines\":[");
    bool first = true;
    while (span_split(&text, '\n', &line)) {
        if (span_is_empty(line))
            continue;
        buf_text(out, first ? "" : ",");
        buf_json(out, line);
        first = false;
    }
    buf_text(out, "]}");
}

static void put_answer(const struct waiting *waiting, struct server_reply *reply, struct span text)
{
    struct span line = SPAN_NONE;
    bool good = span_split(&text, '\n', &line) && span_equal(line, SPAN("ok"));
    reply->status = good ? 200 : 409;
    if (good && waiting->order == ORDER_LIST)
        buf_span(&reply->body, text);
    else if (good || span_starts_with(line, SPAN("failed ")))
        put_lines(reply, good, text);
    else
        say(reply, 503, "the master answers what cannot be understood");
}

static void on_answer(void *user, enum weir_err err, struct span text)
{
    struct waiting *waiting = user;
    struct server_reply reply = {.content_type = SPAN("application/json; charset=utf-8")};
    struct client *client = waiting->client;
    if (err == WEIR_OK)
        put_answer(waiting, &reply, text);
    else if (err == WEIR_ERR_TIMEOUT)
        say(&reply, 504,
            "the master has not answered in time, what was asked for may still happen");
    else
        say(&reply, 503, "the master does not answer");
    forget(waiting);
    server_answer(client, &reply);
}

/* ---- asking */

static void ask(const struct request *request, struct span question, uint32_t timeout_ms)
{
    struct admin_orders *orders = request->orders;
    const struct admin_options *node = orders->node;
    struct waiting *waiting;
    if (node->control == NULL) {
        say(request->reply, 503, "the master does not answer");
        return;
    }
    if (orders->count >= WAITING_MAX) {
        say(request->reply, 503, "too much is asked for already");
        return;
    }
    if ((waiting = calloc(1, sizeof(*waiting))) == NULL) {
        request->reply->body.failed = true;
        return;
    }
    *waiting = (struct waiting){
        .orders = orders, .client = request->from->client, .order = request->order};
    enum weir_err err = ask_start(node->loop, node->control, question, timeout_ms, on_answer,
                                  waiting, &waiting->ask);
    if (err != WEIR_OK) {
        free(waiting);
        request->reply->body.failed = true;
        return;
    }
    list_push_back(&orders->waiting, &waiting->link);
    orders->count++;
    request->reply->gone = on_gone;
    request->reply->waiting = waiting;
    if (request->order != ORDER_LIST)
        log_notice("asked over HTTP: %.*s", SPAN_ARG(question));
}

static void ask_list(const struct request *request)
{
    ask(request, SPAN("plugins json"), LIST_MS);
}

static void ask_reload(const struct request *request)
{
    ask(request, SPAN("reload"), STEPS_MS);
}

static void ask_rollback(const struct request *request)
{
    AUTO_BUF question = BUF_INIT;
    buf_printf(&question, "rollback %.*s", SPAN_ARG(request->plugin));
    ask(request, buf_view(&question), STEPS_MS);
}

static const struct generation *current(const struct request *request)
{
    const struct admin_options *node = request->orders->node;
    return node->gateway == NULL ? NULL : gateway_current(node->gateway);
}

static void ask_swap(const struct request *request)
{
    const struct server_request *from = request->from;
    const struct generation *now = current(request);
    struct swap_body swap = {.plugin = request->plugin,
                             .plugin_path = request->orders->node->plugin_path,
                             .usual_watch_ms =
                                 now == NULL ? 0 : (uint32_t)now->settings.swap_watch_ms};
    if (from->body_size > from->body.size)
        say(request->reply, 413, "the body of a swap has 8 KiB at most");
    else if (!swap_body_read(&swap, from->body))
        say(request->reply, swap.status, swap.why);
    else
        ask(request, buf_view(&swap.question),
            STEPS_MS + (swap.watch_ms < WATCH_MAX_MS / 2 ? 2 * swap.watch_ms : WATCH_MAX_MS));
    buf_free(&swap.question);
}

/* ---- paths */

static const struct way {
    struct span last; /* of the path */
    bool of_plugin;   /* /weir/plugins/NAME/… */
    bool posted;
    bool swaps; /* only a master can */
    void (*ask)(const struct request *request);
} ways[] = {
    [ORDER_LIST] = {SPAN("plugins"), false, false, true, ask_list},
    [ORDER_SWAP] = {SPAN("swap"), true, true, true, ask_swap},
    [ORDER_ROLLBACK] = {SPAN("rollback"), true, true, true, ask_rollback},
    [ORDER_RELOAD] = {SPAN("reload"), false, true, false, ask_reload},
};

static bool find_way(struct request *request, struct span path)
{
    struct span plugin = SPAN_NONE;
    static const struct span root = {"/weir/", 6}, plugins = {"/weir/plugins/", 14};
    if (span_ends_with(path, SPAN("/")))
        path.size--;
    if (!span_starts_with(path, root))
        return false;
    struct span last = span_from(path, root.size);
    if (span_starts_with(path, plugins)) {
        last = span_from(path, plugins.size);
        plugin = span_first(last, span_find(last, '/'));
        last = span_from(last, plugin.size + 1);
    }
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        if (ways[i].of_plugin != span_is_set(plugin) || !span_equal(last, ways[i].last))
            continue;
        request->order = (enum order)i;
        request->plugin = plugin;
        return true;
    }
    return false;
}

/* It becomes a word of the question. */
static bool is_plugin_name(struct span name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
        if (!fine)
            return false;
    }
    return name.size > 0 && name.size <= NAME_MAX_SIZE;
}

static bool is_used(const struct request *request)
{
    const struct generation *now = current(request);
    if (now == NULL)
        return true; /* the master knows better */
    for (size_t i = 0; i < now->config->policy_count; i++)
        if (span_equal(now->config->policies[i]->name, request->plugin))
            return true;
    return false;
}

/* A page of another site makes a browser send this: no operator does. */
static bool is_foreign(const struct http_request_head *head)
{
    struct span origin = http_headers_get(&head->headers, HTTP_HEADER_ORIGIN);
    size_t scheme = span_search(origin, SPAN("://"));
    return span_is_set(origin) &&
           (scheme == origin.size ||
            !span_equal_nocase(span_from(origin, scheme + 3), http_request_host(head)));
}

static void answer(const struct request *request)
{
    const struct http_request_head *head = request->from->head;
    const struct way *way = &ways[request->order];
    struct server_reply *reply = request->reply;
    unsigned method = head->method_id;
    bool reads = method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD;
    if (way->posted ? method != HTTP_METHOD_POST : !reads) {
        reply->allow = way->posted ? SPAN("POST") : SPAN("GET, HEAD");
        say(reply, 405, "Method not allowed");
    } else if (way->swaps && request->orders->node->single_process) {
        say(reply, 501, "a single process has no master, which is what swaps plugins");
    } else if (way->posted && is_foreign(head)) {
        say(reply, 403, "orders are not taken from the pages of another site");
    } else if (way->of_plugin && !is_plugin_name(request->plugin)) {
        say(reply, 400, "that is no name of a plugin");
    } else if (way->of_plugin && !is_used(request)) {
        say(reply, 404, "the configuration does not use this plugin");
    } else {
        way->ask(request);
    }
}

bool admin_orders_answer(struct admin_orders *orders, const struct server_request *from,
                         struct server_reply *reply)
{
    struct request request = {.orders = orders, .from = from, .reply = reply};
    if (!find_way(&request, from->head->path))
        return false;
    answer(&request);
    return true;
}

struct admin_orders *admin_orders_create(const struct admin_options *node)
{
    struct admin_orders *orders = calloc(1, sizeof(*orders));
    if (orders == NULL)
        return NULL;
    orders->node = node;
    list_init(&orders->waiting);
    return orders;
}

void admin_orders_destroy(struct admin_orders *orders)
{
    if (orders == NULL)
        return;
    CHECK_THAT(list_is_empty(&orders->waiting));
    free(orders);
}
