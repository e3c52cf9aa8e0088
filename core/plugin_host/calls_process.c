/* Calls about the process: its log, names, clocks and chance, timers and watched descriptors. A
 * timer or watch belongs to a policy and ends with it at the latest. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "http/headers.h"
#include "plugin_host/calls.h"
#include "plugin_host/policies.h"

/* ---- log */

static struct span route_name(const weir_request *request)
{
    const struct route *route = request->route;
    if (route == NULL)
        return SPAN_NONE;
    return span_is_set(route->name) ? route->name : route->id;
}

/* Made before anybody asks whether the level is shown: a watcher sees every line. */
void call_log(const weir_host *host, weir_request *request, uint32_t level, const char *format, ...)
{
    const struct plugin_host *process = host_of_table(host);
    enum log_level shown = level <= WEIR_LOG_ERROR ? (enum log_level)level : LOG_ERROR;
    if (!log_enabled(shown) && process->log_line == NULL)
        return;
    char text[2048], line[3072];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (request == NULL) {
        (void)snprintf(line, sizeof(line), "plugin %s: %s", table_of(host)->name, text);
    } else {
        struct span route = span_first(route_name(request), 256);
        (void)snprintf(line, sizeof(line), "plugin %s: %s (request %.*s%s%.*s)",
                       table_of(host)->name, text, (int)sizeof(request->id), request->id,
                       span_is_empty(route) ? "" : ", route ", SPAN_ARG(route));
    }
    log_line(shown, "%s", line);
    if (process->log_line != NULL)
        process->log_line(process->log_user, level, span_text(line));
}

const void *call_ext(const weir_host *host, const char *id)
{
    (void)host, (void)id; /* this host has no optional services */
    return NULL;
}

/* ---- names of headers */

static struct span lower_copy(struct span name)
{
    char *copy = malloc(name.size);
    for (size_t i = 0; copy != NULL && i < name.size; i++)
        copy[i] =
            (char)(name.data[i] >= 'A' && name.data[i] <= 'Z' ? name.data[i] | 0x20 : name.data[i]);
    return span_of(copy, copy == NULL ? 0 : name.size);
}

weir_header_id host_intern(struct plugin_host *host, struct span name)
{
    struct header_names *names = &host->names;
    if (name.size > HOST_NAME_BYTES_MAX || !http_name_is_valid(name))
        return 0;
    enum http_header_id known = http_header_id_of(name);
    if (known != HTTP_HEADER_UNKNOWN)
        return (weir_header_id)known;
    struct span copy = lower_copy(name);
    if (copy.data == NULL)
        return 0;
    const struct span *old = map_find(names->by_name, copy);
    bool room = names->count < HOST_NAMES_MAX;
    if (old == NULL && !room)
        log_warn("no room for more header names: '%.*s' and later ones are refused",
                 SPAN_ARG(copy));
    if (old != NULL || !room ||
        map_add(names->by_name, copy, &names->items[names->count]) != WEIR_OK) {
        free((void *)(uintptr_t)copy.data);
        return old == NULL ? 0 : (weir_header_id)(old - names->items) + HTTP_HEADER_COUNT;
    }
    names->items[names->count] = copy;
    return (weir_header_id)names->count++ + HTTP_HEADER_COUNT;
}

void host_names_free(struct plugin_host *host)
{
    for (uint32_t i = 0; i < host->names.count; i++)
        free((void *)(uintptr_t)host->names.items[i].data);
    free(host->names.items);
    map_destroy(host->names.by_name);
}

weir_header_id call_header_intern(const weir_host *host, weir_str name)
{
    return host_intern(host_of_table(host), span_of_str(name));
}

struct span plugin_host_header_name(const struct plugin_host *host, weir_header_id id)
{
    if (id < HTTP_HEADER_COUNT || id - HTTP_HEADER_COUNT >= host->names.count)
        return SPAN_NONE;
    return host->names.items[id - HTTP_HEADER_COUNT];
}

/* ---- clock and chance */

int64_t call_now_ms(const weir_host *host)
{
    (void)host;
    return (int64_t)clock_wall_ms();
}

int64_t call_mono_us(const weir_host *host)
{
    (void)host;
    return (int64_t)clock_mono_us();
}

void call_random(const weir_host *host, void *out, size_t size)
{
    (void)host;
    for (size_t done = 0; done < size;) {
        uint64_t word = random_u64();
        size_t part = size - done < sizeof(word) ? size - done : sizeof(word);
        memcpy((char *)out + done, &word, part);
        done += part;
    }
}

void call_uuid(const weir_host *host, char out[36])
{
    (void)host;
    uuid_v4(out);
}
