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
#include "plugin_host/recorder.h"

/* ---- log */

static enum log_level shown_level(uint32_t level)
{
    return level <= WEIR_LOG_ERROR ? (enum log_level)level : LOG_ERROR;
}

void host_log(const struct plugin_host *host, const char *plugin, uint32_t level, const char *tag,
              const char *text)
{
    char line[3072];
    if (tag == NULL)
        (void)snprintf(line, sizeof(line), "plugin %s: %s", plugin, text);
    else
        (void)snprintf(line, sizeof(line), "plugin %s: %s (%s)", plugin, text, tag);
    log_line(shown_level(level), "%s", line);
    if (host->log_line != NULL)
        host->log_line(host->log_user, level, span_text(line));
}

/* Made before anybody asks whether the level is shown: a watcher sees every line. */
void call_log(const weir_host *host, weir_request *request, uint32_t level, const char *format, ...)
{
    const struct plugin_host *process = host_of_table(host);
    bool recorded = request != NULL && request->recording != NULL;
    if (!log_enabled(shown_level(level)) && process->log_line == NULL && !recorded)
        return;
    char text[2048], tag[REQUEST_TAG];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (recorded)
        recorder_log(request, table_of(host)->name, level, text);
    host_log(process, table_of(host)->name, level,
             request == NULL ? NULL : request_tag(request, tag, sizeof(tag)), text);
}

const void *call_ext(const weir_host *host, const char *id)
{
    (void)host, (void)id; /* this host has no optional services */
    return NULL;
}

/* ---- names of headers */

weir_header_id host_intern(struct plugin_host *host, struct span name)
{
    struct header_names *names = &host->names;
    if (name.size > HOST_NAME_BYTES_MAX || !http_name_is_valid(name))
        return 0;
    const struct http_name *old = map_find(names->by_spelling, name);
    if (old != NULL)
        return (weir_header_id)(old - names->items) + HTTP_HEADER_COUNT;
    if (names->count == HOST_NAMES_MAX) {
        log_warn("no room for more header names: '%.*s' and later ones are refused",
                 SPAN_ARG(name));
        return 0;
    }
    char *text = malloc(name.size);
    if (text == NULL)
        return 0;
    memcpy(text, name.data, name.size);
    struct http_name *made = &names->items[names->count];
    *made = (struct http_name){http_header_id_of(name), span_of(text, name.size)};
    if (map_add(names->by_spelling, made->text, made) != WEIR_OK) {
        free(text);
        return 0;
    }
    return (weir_header_id)names->count++ + HTTP_HEADER_COUNT;
}

void host_names_free(struct plugin_host *host)
{
    for (uint32_t i = 0; i < host->names.count; i++)
        free((void *)(uintptr_t)host->names.items[i].text.data);
    free(host->names.items);
    map_destroy(host->names.by_spelling);
}

weir_header_id call_header_intern(const weir_host *host, weir_str name)
{
    return host_intern(host_of_table(host), span_of_str(name));
}

struct span plugin_host_header_name(const struct plugin_host *host, weir_header_id id)
{
    const struct http_name *name = host_header_name(host, id);
    return name == NULL ? SPAN_NONE : name->text;
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
