/* What a test finds in a kit, whoever left it: log lines, metrics, entries of dictionaries. */
#include <stdlib.h>

#include "kit_internal.h"
#include "plugin_host/dict.h"
#include "plugin_host/metrics.h"

/* ---- the log */

const char *kit_log_lines(struct kit *kit)
{
    CHECK(kit, KIT);
    return kit_buf_text(&kit->log);
}

void kit_log_clear(struct kit *kit)
{
    CHECK(kit, KIT);
    kit->log.size = 0;
}

size_t kit_log_count(struct kit *kit, const char *level, const char *text)
{
    size_t count = 0;
    CHECK(kit, KIT);
    struct span rest = buf_view(&kit->log);
    while (rest.size > 0) {
        size_t end = span_find(rest, '\n');
        struct span line = span_first(rest, end);
        rest = end == rest.size ? SPAN_NONE : span_from(rest, end + 1);
        bool is_level =
            level == NULL || span_equal(span_first(line, span_find(line, ':')), span_text(level));
        count += is_level && (text == NULL || span_search(line, span_text(text)) < line.size);
    }
    return count;
}

/* ---- metrics */

const char *kit_metrics(struct kit *kit)
{
    CHECK(kit, KIT);
    kit->metrics.size = 0;
    metrics_render(kit->shared, &kit->metrics);
    return kit_buf_text(&kit->metrics);
}

/* One label of `labels`, `name="value"`; what is behind it and its comma goes to *out_rest. */
static struct span take_label(struct span labels, struct span *out_rest)
{
    size_t at = span_find(labels, '"') + 1;
    while (at < labels.size && labels.data[at] != '"')
        at += labels.data[at] == '\\' ? 2 : 1;
    if (at >= labels.size)
        kit_die("kit_metric: no label: %.*s", SPAN_ARG(labels));
    struct span rest = span_from(labels, at + 1);
    *out_rest = rest.size > 0 && rest.data[0] == ',' ? span_from(rest, 1) : rest;
    return span_first(labels, at + 1);
}

static size_t count_labels(struct span labels)
{
    size_t count = 0;
    for (; labels.size > 0; count++)
        (void)take_label(labels, &labels);
    return count;
}

static bool has_label(struct span labels, struct span wanted)
{
    while (labels.size > 0)
        if (span_equal(take_label(labels, &labels), wanted))
            return true;
    return false;
}

static bool same_labels(struct span a, struct span b)
{
    if (count_labels(a) != count_labels(b))
        return false;
    while (a.size > 0)
        if (!has_label(b, take_label(a, &a)))
            return false;
    return true;
}

/* `series`: "name" or "name{…}", and what follows it. */
static void part(struct span series, struct span *out_name, struct span *out_labels,
                 struct span *out_rest)
{
    size_t end = 0, from;
    while (end < series.size && series.data[end] != '{' && series.data[end] != ' ')
        end++;
    *out_name = span_first(series, end);
    *out_labels = SPAN_NONE;
    from = end;
    if (end < series.size && series.data[end] == '{') {
        bool quoted = false;
        for (; end < series.size && (quoted || series.data[end] != '}'); end++) {
            if (quoted && series.data[end] == '\\')
                end++;
            else if (series.data[end] == '"')
                quoted = !quoted;
        }
        *out_labels = span_first(span_from(series, from + 1), end - from - 1);
        end++;
    }
    *out_rest = end < series.size ? span_from(series, end) : SPAN_NONE;
}

double kit_metric(struct kit *kit, const char *series)
{
    struct span name, labels, rest, found_name, found_labels, value;
    (void)kit_metrics(kit);
    struct span text = buf_view(&kit->metrics);
    part(span_text(series), &name, &labels, &rest);
    while (text.size > 0) {
        size_t end = span_find(text, '\n');
        struct span line = span_first(text, end);
        text = end == text.size ? SPAN_NONE : span_from(text, end + 1);
        if (line.size == 0 || line.data[0] == '#')
            continue;
        part(line, &found_name, &found_labels, &value);
        if (span_equal(found_name, name) && same_labels(found_labels, labels))
            return strtod(value.data, NULL);
    }
    return 0;
}

/* ---- dictionaries */

static weir_dict *open_dict(const struct kit *kit, const char *plugin, const char *name)
{
    CHECK(kit, KIT);
    weir_dict *dict = dict_find(kit->shared, span_text(plugin), span_text(name));
    if (dict == NULL)
        kit_die("no dictionary '%s' of plugin %s was opened", name, plugin);
    return dict;
}

size_t kit_dict_count(struct kit *kit, const char *plugin, const char *dict)
{
    weir_dict *open = open_dict(kit, plugin, dict);
    size_t count = dict_count(open);
    dict_close(open);
    return count;
}

bool kit_dict_get(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                  void *out_value, size_t size)
{
    weir_dict *open = open_dict(kit, plugin, dict);
    weir_status status = dict_get(open, key, out_value, size);
    uint32_t most = dict_value_size(open);
    dict_close(open);
    if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
        kit_die("values of dictionary '%s' have at most %u bytes, not %zu", dict, most, size);
    return status == WEIR_SUCCESS;
}

void kit_dict_set(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                  const void *value, size_t size, int64_t ttl_ms)
{
    weir_dict *open = open_dict(kit, plugin, dict);
    weir_status status = dict_set(open, key, value, size, ttl_ms);
    uint32_t most = dict_value_size(open);
    dict_close(open);
    if (status != WEIR_SUCCESS)
        kit_die("values of dictionary '%s' have at most %u bytes, not %zu", dict, most, size);
}

bool kit_dict_remove(struct kit *kit, const char *plugin, const char *dict, weir_str key)
{
    weir_dict *open = open_dict(kit, plugin, dict);
    weir_status status = dict_remove(open, key);
    dict_close(open);
    return status == WEIR_SUCCESS;
}

int64_t kit_dict_counter(struct kit *kit, const char *plugin, const char *dict, weir_str key)
{
    int64_t value = 0;
    return kit_dict_get(kit, plugin, dict, key, &value, sizeof(value)) ? value : 0;
}

void kit_dict_set_counter(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                          int64_t value, int64_t ttl_ms)
{
    kit_dict_set(kit, plugin, dict, key, &value, sizeof(value), ttl_ms);
}
