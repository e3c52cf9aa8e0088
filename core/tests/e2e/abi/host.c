/* A host of another minor for one plugin: HOST PLUGIN.so NAME SCENARIO. Its table ends where a page
 * ends that may not be touched, every slot that the scenario does not offer says its name and gives
 * up, and the descriptor is read by the gateway's own negotiate(). Built against the headers of
 * that minor; prints what the plugin was seen to do. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugin_host/negotiate.h"

static weir_str said;
static weir_token parked;
static weir_wake_hook *on_wake;
static weir_fetch_hook *on_fetched;
static void *fetched_for;
static int64_t hits[2];

static void give_up(const char *what)
{
    (void)fprintf(stdout, "unexpected: %s\n", what);
    exit(3);
}

/* In every slot that is not offered. */
static void not_offered(void)
{
    give_up("a slot that no one was promised");
}

/* ---- the calls that the corpus makes */

static void error_at(weir_error *error, const char *path, const char *format, ...)
    WEIR_PRINTF_ARGS(3, 4);
static void error_at(weir_error *error, const char *path, const char *format, ...)
{
    (void)error, (void)format;
    give_up(path == NULL ? "error_at" : path);
}
static void write_log(const weir_host *host, weir_request *request, uint32_t level,
                      const char *format, ...) WEIR_PRINTF_ARGS(4, 5);
static void write_log(const weir_host *host, weir_request *request, uint32_t level,
                      const char *format, ...)
{
    (void)host, (void)request, (void)level;
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)puts("");
}
static void *allocate(const void *owner, size_t size)
{
    (void)owner;
    return calloc(1, size + 1);
}
static void *request_alloc(weir_request *request, size_t size)
{
    return allocate(request, size);
}
static weir_header_id header_intern(const weir_host *host, weir_str name)
{
    (void)host;
    return (weir_header_id)name.size;
}
static weir_str header_get(weir_request *request, uint32_t side, weir_header_id id, size_t nth)
{
    (void)request, (void)side;
    return id == sizeof("X-Tenant") - 1 && nth == 0 ? (weir_str){"ann", 3} : (weir_str){NULL, 0};
}
static weir_status header_set(weir_request *request, uint32_t side, weir_header_id id,
                              weir_str value)
{
    (void)request, (void)side, (void)id;
    char *copy = malloc(value.size + 1);
    if (copy == NULL)
        return WEIR_NO_MEMORY;
    memcpy(copy, value.data, value.size);
    said = (weir_str){copy, value.size};
    return WEIR_SUCCESS;
}
static weir_dict *dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                            uint32_t entries, uint32_t value_size)
{
    (void)error, (void)self, (void)name, (void)layout, (void)entries, (void)value_size;
    return (weir_dict *)(void *)hits;
}
static weir_status dict_take(weir_dict *dict, weir_take *counters, size_t count, size_t stride)
{
    (void)dict;
    for (size_t i = 0; i < count; i++)
        ((weir_take *)(void *)((char *)counters + i * stride))->value = ++hits[i];
    return WEIR_SUCCESS;
}
static weir_status dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                            int64_t *out_value)
{
    (void)dict, (void)key, (void)ttl_ms;
    *out_value = hits[1] += delta;
    return WEIR_SUCCESS;
}
static weir_status dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value)
{
    (void)dict, (void)key;
    if (hits[1] != expected)
        return WEIR_FULL;
    hits[1] = value;
    return WEIR_SUCCESS;
}
static weir_metric *metric_open(weir_error *error, const void *self, uint32_t kind, weir_str name,
                                weir_str help, const char *const *labels, const double *buckets,
                                size_t bucket_count)
{
    (void)error, (void)self, (void)kind, (void)name, (void)help, (void)labels, (void)buckets;
    return bucket_count == 2 ? (weir_metric *)(void *)hits : NULL;
}
static weir_token park(weir_request *request, uint32_t deadline_ms, weir_wake_hook *hook)
{
    (void)request, (void)deadline_ms;
    on_wake = hook;
    return parked = 77;
}
static weir_status wake(const weir_host *host, weir_token token)
{
    (void)host;
    return token == parked ? WEIR_SUCCESS : WEIR_GONE;
}
static weir_fetch *fetch_start(const void *self, const weir_fetch_request *request,
                               weir_fetch_hook *done, void *user)
{
    (void)self;
    (void)printf("fetch of %u bytes\n", request->size);
    on_fetched = done;
    fetched_for = user;
    return (weir_fetch *)(void *)hits;
}

/* ---- the table */

static weir_host *make_table(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0 ||
        sizeof(weir_host) > page)
        give_up("no pages");
    weir_host *table = (weir_host *)(void *)(pages + page - sizeof(weir_host));
    void (*stub)(void) = not_offered;
    for (size_t at = offsetof(weir_host, error_at); at < sizeof(*table); at += sizeof(stub))
        memcpy((char *)table + at, &stub, sizeof(stub));
    table->size = (uint32_t)sizeof(*table);
    table->major = WEIR_MAJOR;
    table->minor = WEIR_MINOR;
    table->error_at = error_at;
    table->log = write_log;
    table->policy_alloc = allocate;
    table->request_alloc = request_alloc;
    table->header_intern = header_intern;
    table->header_get = header_get;
    table->header_set = header_set;
    table->dict_open = dict_open;
    table->dict_take = dict_take;
    table->dict_add = dict_add;
    table->dict_swap = dict_swap;
    table->metric_open = metric_open;
    table->park = park;
    table->wake = wake;
    table->fetch_start = fetch_start;
    return table;
}

/* ---- what is done with the plugin */

static void show_fields(const weir_field *fields, uint32_t count, int indent)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)printf("%*s%s %u@%u\n", indent, "", fields[i].name, fields[i].type, fields[i].offset);
        show_fields(fields[i].fields, fields[i].field_count, indent + 1);
    }
}

static void run(const weir_plugin *plugin, const char *scenario)
{
    void *self = calloc(1, plugin->self_size + 1), *context = calloc(1, plugin->context_size + 1);
    weir_request *request = calloc(1, 1);
    if (self == NULL || context == NULL || request == NULL)
        give_up("no memory");
    if (strcmp(scenario, "quota") == 0) { /* what the YAML would fill in */
        weir_str header = {"X-Tenant", 8};
        int64_t limit = 5;
        memcpy(self, &header, sizeof(header));
        memcpy((char *)self + sizeof(header), &limit, sizeof(limit));
    }
    if (plugin->configure != NULL && plugin->configure(self, NULL) != 0)
        give_up("it refuses its configuration");
    weir_verdict verdict = plugin->access(request, self, context);
    if (verdict == WEIR_WAIT) {
        weir_fetch_answer answer = {.size = (uint32_t)sizeof(answer), .status = 200};
        on_fetched(self, fetched_for, &answer);
        verdict = on_wake(request, self, context, WEIR_WOKEN);
    }
    if (verdict == WEIR_NEXT && strcmp(scenario, "quota") == 0)
        verdict = plugin->response_headers(request, self, context);
    (void)printf("verdict %u, said %.*s\n", verdict, (int)said.size, said.data);
    (void)fflush(stdout);
    free(self);
    free(context);
    free(request);
}

int main(int count, char **args)
{
    typedef const weir_plugin *entry(const weir_host *);
    if (count != 4)
        return 64;
    void *image = dlopen(args[1], RTLD_NOW | RTLD_LOCAL);
    void *symbol = image == NULL ? NULL : dlsym(image, "weir_plugin_v1");
    entry *enter;
    if (symbol == NULL)
        give_up(dlerror());
    memcpy(&enter, &symbol, sizeof(enter));
    weir_host *table = make_table();
    struct arena *arena = arena_create(NULL);
    weir_plugin plugin;
    struct negotiation talk = {.name = args[2], .host = table, .arena = arena};
    if (arena == NULL)
        give_up("no memory");
    if (negotiate(&talk, enter(table), &plugin) != WEIR_OK) {
        (void)printf("refused: %s\n", talk.why);
        return 2;
    }
    if (strcmp(args[3], "fields") == 0) {
        show_fields(plugin.fields, plugin.field_count, 0);
        for (uint32_t i = 0; i < plugin.credential_count; i++)
            show_fields(plugin.credentials[i].fields, plugin.credentials[i].field_count, 1);
    } else {
        run(&plugin, args[3]);
    }
    arena_destroy(arena);
    return 0;
}
