#include "process/orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "process/master.h"

/* ---- the queue */

void orders_init(struct orders *orders)
{
    *orders = (struct orders){0};
    list_init(&orders->queue);
}

void orders_free(struct orders *orders)
{
    struct order *order;
    while ((order = orders_take(orders)) != NULL)
        free(order);
}

void orders_refuse(struct master *master, struct span why)
{
    LIST_FOREACH (node, &master->orders.queue) {
        const struct order *order = LIST_ENTRY(node, struct order, link);
        if (order->event != 0)
            control_answer_all(master->control, order->event, EXIT_FAILED, why);
    }
    orders_free(&master->orders);
}

static struct order *find_reload(const struct orders *orders)
{
    LIST_FOREACH (node, &orders->queue)
        if (LIST_ENTRY(node, struct order, link)->kind == ORDER_RELOAD)
            return LIST_ENTRY(node, struct order, link);
    return NULL;
}

struct order *orders_add(struct orders *orders, enum order_kind kind)
{
    struct order *order = kind == ORDER_RELOAD ? find_reload(orders) : NULL;
    if (order != NULL)
        return order;
    order = orders->count < ORDERS_MAX ? calloc(1, sizeof(*order)) : NULL;
    if (order == NULL)
        return NULL;
    order->kind = kind;
    order->event = ++orders->last_event;
    orders->count++;
    list_push_back(&orders->queue, &order->link);
    return order;
}

struct order *orders_add_urgent(struct orders *orders, enum order_kind kind)
{
    struct order *order = calloc(1, sizeof(*order));
    if (order == NULL)
        return NULL;
    order->kind = kind;
    order->automatic = true;
    orders->count++;
    list_push_front(&orders->queue, &order->link);
    return order;
}

struct order *orders_take(struct orders *orders)
{
    if (list_is_empty(&orders->queue))
        return NULL;
    struct order *order = LIST_ENTRY(orders->queue.next, struct order, link);
    list_remove(&order->link);
    orders->count--;
    return order;
}

/* ---- questions */

struct asking {
    struct master *master;
    struct order order; /* what is asked, not queued yet */
    char why[256];
};

static bool refuse(struct asking *asking, const char *why, struct span word)
{
    (void)snprintf(asking->why, sizeof(asking->why), "%s '%.*s'", why,
                   SPAN_ARG(span_first(word, 128)));
    return false;
}

/* "2" or "25%": at least one worker, and never all of them. */
static bool read_canary(struct asking *asking, struct span value)
{
    uint64_t number = 0;
    uint32_t workers = asking->master->instance->workers;
    bool percent = span_ends_with(value, SPAN("%"));
    if (!text_to_u64(percent ? span_first(value, value.size - 1) : value, &number) || number == 0 ||
        number > (percent ? 100U : SHARED_WORKERS_MAX))
        return refuse(asking, "canary: expected a number of workers or a percentage, have", value);
    if (percent)
        number = (number * workers + 99) / 100;
    if (workers < 2 || number >= workers)
        return refuse(asking, "canary: expected fewer than all workers, have", value);
    asking->order.canary = (uint32_t)number;
    return true;
}

static bool read_watch(struct asking *asking, struct span value)
{
    double seconds = 0;
    if (!text_to_double(value, &seconds) || !(seconds >= 0) || seconds * 1000 > WATCH_MAX_MS)
        return refuse(asking, "watch: expected seconds, at most a day, have", value);
    asking->order.watch_ms = (uint32_t)(seconds * 1000);
    return true;
}

static bool read_wait(struct asking *asking, struct span value)
{
    if (!span_is_empty(value))
        return refuse(asking, "wait: expected no value, have", value);
    asking->order.waits = true;
    return true;
}

static bool read_file(struct asking *asking, struct span value)
{
    if (value.size >= sizeof(asking->order.file) || value.size == 0 || value.data[0] != '/')
        return refuse(asking, "file: expected an absolute path, have", value);
    memcpy(asking->order.file, value.data, value.size);
    return true;
}

static bool read_word(struct asking *asking, struct span word)
{
    static const struct {
        const char *key;
        bool (*read)(struct asking *asking, struct span value);
    } keys[] = {
        {"canary=", read_canary},
        {"watch=", read_watch},
        {"wait", read_wait},
        {"file=", read_file},
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (span_starts_with(word, span_text(keys[i].key)))
            return keys[i].read(asking, span_from(word, strlen(keys[i].key)));
    return refuse(asking, "unknown word", word);
}

static bool read_name(struct asking *asking, struct span *rest, struct span verb)
{
    struct span name;
    if (!span_split(rest, ' ', &name) || span_is_empty(name))
        return refuse(asking, "the name of a plugin is missing after", verb);
    if (name.size >= sizeof(asking->order.plugin))
        return refuse(asking, "no plugin", name);
    memcpy(asking->order.plugin, name.data, name.size);
    if (manifest_find(&asking->master->manifest, asking->order.plugin) == NULL)
        return refuse(asking, "the configuration does not use a plugin", name);
    return true;
}

static bool read_swap(struct asking *asking, struct span rest)
{
    asking->order.watch_ms = (uint32_t)asking->master->instance->settings.swap_watch_ms;
    if (!read_name(asking, &rest, SPAN("swap")))
        return false;
    while (!span_is_empty(rest)) {
        struct span word = rest;
        if (span_starts_with(rest, SPAN("file=")))
            rest = SPAN_NONE;
        else
            (void)span_split(&rest, ' ', &word);
        if (!span_is_empty(word) && !read_word(asking, word))
            return false;
    }
    return true;
}

static bool read_rollback(struct asking *asking, struct span rest)
{
    if (!read_name(asking, &rest, SPAN("rollback")))
        return false;
    const struct build_hash *previous =
        ledger_previous(&asking->master->ledger, asking->order.plugin, clock_mono_ms());
    if (previous == NULL)
        return refuse(asking, "no earlier build is kept of plugin",
                      span_text(asking->order.plugin));
    asking->order.build = *previous;
    return true;
}

static void queue(struct asking *asking, struct control_client *client)
{
    struct order *order = orders_add(&asking->master->orders, asking->order.kind);
    if (order == NULL) {
        control_answer(client, EXIT_FAILED, SPAN("too much is asked for already\n"));
        return;
    }
    asking->order.event = order->event;
    asking->order.link = order->link;
    *order = asking->order;
    control_wait(client, order->event);
    transaction_next(asking->master);
}

bool orders_ask(struct master *master, struct control_client *client, struct span question)
{
    static const struct {
        const char *word;
        enum order_kind kind;
        bool (*read)(struct asking *asking, struct span rest);
    } questions[] = {
        {"swap ", ORDER_SWAP, read_swap},
        {"rollback ", ORDER_ROLLBACK, read_rollback},
    };
    for (size_t i = 0; i < COUNT_OF(questions); i++) {
        if (!span_starts_with(question, span_text(questions[i].word)))
            continue;
        struct asking asking = {.master = master, .order = {.kind = questions[i].kind}};
        if (master->starting || master->stop != STOP_NONE) {
            control_answer(client, EXIT_FAILED, SPAN("the gateway is starting or stopping\n"));
        } else if (questions[i].read(&asking, span_from(question, strlen(questions[i].word)))) {
            queue(&asking, client);
        } else {
            AUTO_BUF text = BUF_INIT;
            buf_printf(&text, "%s\n", asking.why);
            control_answer(client, EXIT_FAILED, buf_view(&text));
        }
        return true;
    }
    return false;
}
