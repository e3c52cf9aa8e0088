/* Calls of the table that are not about an exchange. The loop is a row of slots that the test fires
 * by hand. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "http/headers.h"
#include "plugin_host/calls.h"
#include "plugin_host/table.h"
#include "policy_fixture.h"

/* ---- a loop by hand */

enum { SLOTS = 8 };
static struct slot {
    void (*fire)(void *arg);
    void (*ready)(void *arg, uint32_t events);
    void *arg;
    uint32_t repeat_ms, events;
    bool used;
} slots[SLOTS];

static struct slot *take_slot(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (!slots[i].used) {
            slots[i] = (struct slot){.used = true};
            return &slots[i];
        }
    }
    return NULL;
}
static void *start(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                   void *arg)
{
    (void)user, (void)delay_ms;
    struct slot *slot = take_slot();
    if (slot != NULL) {
        slot->fire = fire;
        slot->arg = arg;
        slot->repeat_ms = repeat_ms;
    }
    return slot;
}
static void *watch(void *user, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
                   void *arg)
{
    (void)user, (void)fd;
    struct slot *slot = take_slot();
    if (slot != NULL) {
        slot->ready = ready;
        slot->arg = arg;
        slot->events = events;
    }
    return slot;
}
static void set_events(void *user, void *io, uint32_t events)
{
    (void)user;
    ((struct slot *)io)->events = events;
}
static void release(void *user, void *slot)
{
    (void)user;
    cr_expect(((struct slot *)slot)->used, "released once");
    ((struct slot *)slot)->used = false;
}
static size_t slots_used(void)
{
    size_t count = 0;
    for (size_t i = 0; i < SLOTS; i++)
        count += slots[i].used;
    return count;
}
/* A loop forgets a timer that does not repeat before it calls it. */
static void fire_slot(size_t i)
{
    cr_assert(slots[i].used);
    slots[i].used = slots[i].repeat_ms > 0;
    slots[i].fire(slots[i].arg);
}

static const struct host_services services = {
    .timer_start = start,
    .timer_stop = release,
    .io_add = watch,
    .io_set = set_events,
    .io_remove = release,
};

static struct fixture f;
static weir_host *table;

static void set_up(void)
{
    fixture_open(&f, &services);
    fixture_plugin(&f, "p", "-DPRIORITY=1 -DCAPABILITIES=WEIR_CAP_SHARED_MEMORY");
    fixture_load(&f, "_format_version: \"3.0\"\n"
                     "consumers: [{username: ann, custom_id: '7'}]\n"
                     "services: [{name: s, host: up.test}]\n"
                     "routes: [{name: r, paths: [/]}]\n"
                     "plugins: [{name: p, instance_name: one, config: {tag: dict}},"
                     " {name: p, route: r, service: s, consumer: ann}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    cr_assert_not_null(table = plugin_table_create(f.plugins.host, SPAN("p")));
}

static void tear_down(void)
{
    plugin_table_destroy(table);
    fixture_close(&f);
    cr_expect_eq(slots_used(), 0, "every timer and watch ended with its policy");
}

TestSuite(calls, .init = set_up, .fini = tear_down, .timeout = 60);

static void *self_of(size_t index)
{
    return policies_at(f.policies, index)->policy->self;
}

static void expect_text(weir_str have, const char *want, const char *why)
{
    cr_expect_eq(have.data == NULL, want == NULL, "%s", why);
    cr_expect(span_equal(span_of_str(have), span_text(want)), "%s: %.*s", why,
              SPAN_ARG(span_of_str(have)));
}

/* ---- names */

Test(calls, header_names_get_an_id_that_stays_and_keep_their_spelling)
{
    static const struct {
        const char *why, *name, *stored; /* NULL: no id */
        weir_header_id id;
    } rows[] = {
        {"the first", "X-Tenant", "X-Tenant", HTTP_HEADER_COUNT},
        {"the second", "x-other", "x-other", HTTP_HEADER_COUNT + 1},
        {"the same again", "X-Tenant", "X-Tenant", HTTP_HEADER_COUNT},
        {"another spelling", "X-TENANT", "X-TENANT", HTTP_HEADER_COUNT + 2},
        {"a well-known one keeps its spelling too", "Content-type", "Content-type",
         HTTP_HEADER_COUNT + 3},
        {"no name", "", NULL, 0},
        {"not a token", "a b", NULL, 0},
        {"a line break", "a\r\nb", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        weir_str name = {rows[i].name, strlen(rows[i].name)};
        weir_header_id id = table->header_intern(table, name);
        cr_expect_eq(id, rows[i].id, "%s: %u", rows[i].why, id);
        if (rows[i].stored != NULL)
            cr_expect(
                span_equal(plugin_host_header_name(f.plugins.host, id), span_text(rows[i].stored)),
                "%s", rows[i].why);
    }
    cr_expect(!span_is_set(plugin_host_header_name(f.plugins.host, HTTP_HEADER_COUNT + 4)));
    cr_expect(!span_is_set(plugin_host_header_name(f.plugins.host, HTTP_HEADER_HOST)));
}

Test(calls, the_table_of_names_is_bounded)
{
    char name[32];
    weir_header_id last = 0;
    for (int i = 0; i < HOST_NAMES_MAX; i++) {
        int size = snprintf(name, sizeof(name), "x-%d", i);
        last = table->header_intern(table, (weir_str){name, (size_t)size});
        cr_assert_neq(last, 0, "%s", name);
    }
    cr_expect_eq(table->header_intern(table, WEIR_LIT("x-more")), 0);
    cr_expect_eq(table->header_intern(table, (weir_str){name, strlen(name)}), last);
}

/* ---- policies and consumers */

Test(calls, a_policy_knows_its_scope_and_the_consumers)
{
    expect_text(call_policy_text(self_of(0), WEIR_POLICY_INSTANCE_NAME), "one", "its name");
    expect_text(call_policy_text(self_of(0), WEIR_POLICY_ROUTE_ID), NULL, "global");
    expect_text(call_policy_text(self_of(0), 99), NULL, "a question from the future");
    cr_expect(span_equal(span_of_str(call_policy_text(self_of(1), WEIR_POLICY_ROUTE_ID)),
                         fixture_route(&f, "r")->id));
    const struct consumer *ann = fixture_consumer(&f, "ann");
    const weir_consumer *found = call_consumer_find(self_of(0), WEIR_LIT("ann"));
    cr_expect_eq((const void *)found, (const void *)ann);
    expect_text(call_consumer_text(found, WEIR_CONSUMER_CUSTOM_ID), "7", "custom id");
    expect_text(call_consumer_text(found, WEIR_CONSUMER_USERNAME), "ann", "username");
    weir_str id = call_consumer_text(found, WEIR_CONSUMER_ID);
    cr_expect_eq(call_consumer_find(self_of(0), id), found, "by id");
    cr_expect_null(call_consumer_find(self_of(0), WEIR_LIT("bob")));
    cr_expect_null(call_consumer_find(self_of(0), (weir_str){0}));
    expect_text(call_consumer_text(NULL, WEIR_CONSUMER_ID), NULL, "nobody");
}

/* ---- shared memory */

Test(calls, two_policies_that_open_one_dictionary_share_it)
{
    weir_dict *first = call_dict_open(NULL, self_of(0), WEIR_LIT("hits"), 1, 16, 8);
    weir_dict *second = call_dict_open(NULL, self_of(1), WEIR_LIT("hits"), 1, 16, 8);
    weir_dict *other = call_dict_open(NULL, self_of(0), WEIR_LIT("misses"), 1, 16, 8);
    cr_assert_not_null(first);
    cr_expect_eq(first, second);
    cr_assert_not_null(other);
    cr_expect_neq(first, other);
    int64_t value = 0;
    cr_expect_eq(call_dict_add(first, WEIR_LIT("k"), 5, 0, &value), WEIR_SUCCESS);
    cr_expect_eq(call_dict_get(second, WEIR_LIT("k"), &value, sizeof(value)), WEIR_SUCCESS);
    cr_expect_eq(value, 5);
    cr_expect_eq(call_dict_get(other, WEIR_LIT("k"), &value, sizeof(value)), WEIR_NOT_FOUND);
    cr_expect_eq(call_dict_get(NULL, WEIR_LIT("k"), &value, sizeof(value)), WEIR_GONE);
}

Test(calls, one_metric_has_one_handle_and_another_shape_is_refused)
{
    static const char *const labels[] = {"route", NULL}, *const others[] = {"service", NULL};
    weir_metric *first = call_metric_open(NULL, self_of(0), WEIR_METRIC_COUNTER, WEIR_LIT("hits"),
                                          WEIR_LIT("Hits."), labels, NULL, 0);
    cr_assert_not_null(first);
    cr_expect_eq(call_metric_open(NULL, self_of(1), WEIR_METRIC_COUNTER, WEIR_LIT("hits"),
                                  WEIR_LIT("Hits."), labels, NULL, 0),
                 first);
    struct weir_error error = {.problems = f.problems, .policy = f.config->policies[0]};
    cr_expect_null(call_metric_open(&error, self_of(0), WEIR_METRIC_COUNTER, WEIR_LIT("hits"),
                                    WEIR_LIT("Hits."), others, NULL, 0));
    cr_expect_eq(error.count, 1);
}

/* ---- structs of other minors */

Test(calls, structs_that_begin_with_their_size)
{
    struct later {
        uint32_t size, flags; /* what 1.0 had */
        uint64_t added, added_later;
    };
    static const struct {
        const char *reason;
        uint32_t size;
        uint64_t added, added_later; /* given; taken, when `size` reaches so far */
        bool fits;
    } rows[] = {
        {"of 1.0: what came later is zero", 8, 5, 6, true},
        {"of a minor between", 16, 5, 6, true},
        {"of this minor", 24, 5, 0, true},
        {"of a later one, which asks for nothing new", 32, 5, 0, true},
        {"its size was forgotten", 0, 0, 0, false},
        {"less than 1.0 had", 4, 0, 0, false},
        {"of a size that cannot be", 5000, 0, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct {
            struct later ours;
            uint64_t theirs[640];
        } given = {{rows[i].size, 3, rows[i].added, rows[i].added_later}, {0}};
        struct later taken;
        memset(&taken, 0xff, sizeof(taken));
        cr_expect_eq(copy_sized(&taken, sizeof(taken), 8, &given), rows[i].fits, "%s",
                     rows[i].reason);
        if (!rows[i].fits)
            continue;
        cr_expect_eq(taken.flags, 3, "%s", rows[i].reason);
        cr_expect_eq(taken.added, rows[i].size >= 16 ? rows[i].added : 0, "%s", rows[i].reason);
        cr_expect_eq(taken.added_later, rows[i].size >= 24 ? rows[i].added_later : 0, "%s",
                     rows[i].reason);
    }
    struct {
        struct later ours;
        uint64_t theirs;
    } used = {{sizeof(used), 3, 0, 0}, 1};
    struct later taken;
    cr_expect(!copy_sized(&taken, sizeof(taken), 8, &used), "it asks for what we do not know");
    cr_expect(!copy_sized(&taken, sizeof(taken), 8, NULL));
}

/* ---- capabilities */

Test(calls, a_capability_that_was_not_declared_is_refused)
{
    plugin_table_grant(table, 0);
    int64_t value = 0;
    weir_str none = {0};
    cr_expect_eq(table->dict_get(NULL, none, &value, sizeof(value)), WEIR_DENIED);
    cr_expect_eq(table->dict_set(NULL, none, &value, sizeof(value), 0), WEIR_DENIED);
    cr_expect_eq(table->dict_remove(NULL, none), WEIR_DENIED);
    cr_expect_eq(table->dict_add(NULL, none, 1, 0, &value), WEIR_DENIED);
    cr_expect_eq(table->dict_swap(NULL, none, 1, 2), WEIR_DENIED);
    cr_expect_eq(table->dict_take(NULL, NULL, 0, 0), WEIR_DENIED);
    cr_expect_null(table->dict_open(NULL, self_of(0), none, 1, 1, 8));
    cr_expect_null(table->io_add(self_of(0), 0, WEIR_IO_READ, NULL, NULL));
    cr_expect_eq(table->io_set(NULL, 0), WEIR_DENIED);
    cr_expect_null(table->file_open(self_of(0), none, NULL));
    cr_expect_eq(table->file_append(NULL, none), WEIR_DENIED);
    cr_expect_eq(table->file_number(NULL, WEIR_FILE_LOST), WEIR_UNSET);
    cr_expect_eq(table->body_read(NULL, 0, NULL), WEIR_DENIED);
    cr_expect_eq(table->body_emit(NULL, 0, none), WEIR_DENIED);
    cr_expect_eq(table->body_replace(NULL, 0, none), WEIR_DENIED);
    cr_expect_null(table->body_get(NULL, 0).data);
    weir_host *full = plugin_table_create(f.plugins.host, SPAN("p"));
    cr_assert_not_null(full);
    weir_host before = *full;
    plugin_table_grant(full,
                       WEIR_CAP_SHARED_MEMORY | WEIR_CAP_NETWORK | WEIR_CAP_BODY | WEIR_CAP_FILES);
    cr_expect_eq(memcmp(&before, full, sizeof(before)), 0, "declared: the calls themselves");
    for (size_t at = 8; at < sizeof(*full); at += sizeof(void *)) {
        void *slot;
        memcpy(&slot, (const char *)full + at, sizeof(slot));
        cr_expect_not_null(slot, "the slot at %zu", at);
    }
    plugin_table_destroy(full);
}

/* ---- log and clock */

static char seen[512];
static uint32_t seen_level;
static void see(void *user, uint32_t level, struct span text)
{
    (void)user;
    seen_level = level;
    (void)snprintf(seen, sizeof(seen), "%.*s", SPAN_ARG(text));
}

Test(calls, a_log_line_says_who_and_for_which_request)
{
    plugin_host_watch_log(f.plugins.host, see, NULL);
    table->log(table, NULL, WEIR_LOG_DEBUG, "%d of %d", 1, 2);
    cr_expect_str_eq(seen, "plugin p: 1 of 2");
    cr_expect_eq(seen_level, WEIR_LOG_DEBUG);
    struct weir_request request = {.route = fixture_route(&f, "r")};
    memcpy(request.id, "0123456789abcdef0123456789abcdef", sizeof(request.id));
    table->log(table, &request, WEIR_LOG_DEBUG, "slow");
    cr_expect_str_eq(seen, "plugin p: slow (request 0123456789abcdef0123456789abcdef, route r)");
    request.route = NULL;
    table->log(table, &request, WEIR_LOG_DEBUG, "slow");
    cr_expect_str_eq(seen, "plugin p: slow (request 0123456789abcdef0123456789abcdef)");
}

Test(calls, clock_chance_and_extensions)
{
    clock_freeze(7000, 5000000);
    cr_expect_eq(table->now_ms(table), 5000);
    cr_expect_eq(table->mono_us(table), 7000);
    cr_expect_null(table->ext(table, "weir.nothing/1"));
    unsigned char bytes[13] = {0}, zeros[13] = {0};
    table->random(table, bytes, sizeof(bytes) - 1);
    cr_expect_neq(memcmp(bytes, zeros, sizeof(bytes)), 0);
    cr_expect_eq(bytes[12], 0, "not past the end");
    char one[36], two[36];
    table->uuid(table, one);
    table->uuid(table, two);
    cr_expect_neq(memcmp(one, two, sizeof(one)), 0);
    cr_expect_eq(one[14], '4');
}

/* ---- timers and watches */

static int calls;
static weir_timer *timer;
static weir_io *io;
static void count_call(void *self, void *user)
{
    cr_expect_eq(self, self_of(0));
    calls += *(int *)user;
}
static void stop_itself(void *self, void *user)
{
    count_call(self, user);
    call_timer_stop(timer);
}
static void remove_itself(void *self, void *user, int fd, uint32_t events)
{
    count_call(self, user);
    cr_expect_eq(fd, 3);
    cr_expect_eq(events, WEIR_IO_READ);
    call_io_remove(io);
}

Test(calls, timers_run_once_or_until_they_are_stopped)
{
    int one = 1;
    timer = call_timer_start(self_of(0), 5, 0, count_call, &one);
    cr_assert_not_null(timer);
    fire_slot(0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(slots_used(), 0);
    timer = call_timer_start(self_of(0), 5, 5, count_call, &one);
    fire_slot(0);
    fire_slot(0);
    cr_expect_eq(calls, 3);
    call_timer_stop(timer);
    cr_expect_eq(slots_used(), 0);
    call_timer_stop(NULL);
    timer = call_timer_start(self_of(0), 5, 5, stop_itself, &one);
    fire_slot(0);
    cr_expect_eq(slots_used(), 0, "stopped by its own hook");
    timer = call_timer_start(self_of(0), 5, 0, stop_itself, &one);
    fire_slot(0);
    cr_expect_eq(calls, 5);
    cr_expect_not_null(call_timer_start(self_of(0), 5, 5, count_call, &one),
                       "left to policies_stop");
}

Test(calls, watches_see_events_until_they_are_removed)
{
    int one = 1;
    io = call_io_add(self_of(0), 3, WEIR_IO_WRITE, remove_itself, &one);
    cr_assert_not_null(io);
    cr_expect_eq(call_io_set(io, WEIR_IO_READ), WEIR_SUCCESS);
    cr_expect_eq(slots[0].events, WEIR_IO_READ);
    slots[0].ready(slots[0].arg, WEIR_IO_READ);
    cr_expect_eq(calls, 1);
    cr_expect_eq(slots_used(), 0);
    cr_expect_null(call_io_add(self_of(0), -1, WEIR_IO_READ, remove_itself, &one));
    cr_expect_eq(call_io_set(NULL, WEIR_IO_READ), WEIR_GONE);
    cr_expect_not_null(call_io_add(self_of(1), 3, WEIR_IO_READ, remove_itself, &one),
                       "left to policies_stop");
}
