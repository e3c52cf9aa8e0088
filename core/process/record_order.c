/* The words of an order to record. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "plugin_host/recorder.h"
#include "plugin_host/redact.h"
#include "process/recording.h"

struct order_reading {
    struct record_order *order;
    char *why;
    size_t why_size;
};

static bool refuse(const struct order_reading *reading, const char *what, struct span word)
{
    (void)snprintf(reading->why, reading->why_size, "%s '%.*s'", what,
                   SPAN_ARG(span_first(word, 128)));
    return false;
}

static bool read_number(const struct order_reading *reading, struct span word, struct span value,
                        uint64_t most, uint64_t *out)
{
    if (!text_to_u64(value, out) || *out == 0 || *out > most) {
        char what[96];
        (void)snprintf(what, sizeof(what), "expected a number from 1 to %llu, have",
                       (unsigned long long)most);
        return refuse(reading, what, word);
    }
    return true;
}

static bool read_redact(const struct order_reading *reading, struct span value)
{
    struct record_order *order = reading->order;
    if (order->redact_count == RECORD_REDACTS || value.size == 0 || value.size > 63)
        return refuse(reading, "redact: too many names, or no name", value);
    order->redacts[order->redact_count++] = value;
    return true;
}

static bool read_file(const struct order_reading *reading, struct span value)
{
    if (value.size == 0 || value.data[0] != '/' || value.size >= 4096)
        return refuse(reading, "file: expected an absolute path, have", value);
    reading->order->file = value;
    return true;
}

static bool read_key(const struct order_reading *reading, struct span value)
{
    for (size_t i = 0; i < value.size; i++)
        if (text_hex_digit(value.data[i]) < 0)
            return refuse(reading, "no key", SPAN("..."));
    if (value.size != 2 * REDACT_KEY)
        return refuse(reading, "no key", SPAN("..."));
    reading->order->key = value;
    return true;
}

static bool read_word(const struct order_reading *reading, struct span word)
{
    struct record_order *order = reading->order;
    size_t equals = span_find(word, '=');
    struct span name = span_first(word, equals + 1), value = span_from(word, equals + 1);
    if (span_equal(word, SPAN("bodies")))
        return order->bodies = true;
    if (span_equal(word, SPAN("header")))
        return order->header = true;
    if (span_equal(name, SPAN("count=")))
        return read_number(reading, word, value, RECORD_COUNT_MAX, &order->count);
    if (span_equal(name, SPAN("seconds=")))
        return read_number(reading, word, value, RECORD_SECONDS_MAX, &order->seconds);
    if (span_equal(name, SPAN("body_bytes=")))
        return read_number(reading, word, value, RECORD_BODY_MAX, &order->body_bytes);
    if (span_equal(name, SPAN("redact=")))
        return read_redact(reading, value);
    if (span_equal(name, SPAN("key=")))
        return read_key(reading, value);
    if (span_equal(name, SPAN("plugin=")) && value.size > 0)
        order->plugin = value;
    else if (span_equal(name, SPAN("route=")) && value.size > 0)
        order->route = value;
    else
        return refuse(reading, "unknown word", word);
    return true;
}

bool record_order_read(struct span words, struct record_order *out, char *why, size_t why_size)
{
    struct order_reading reading = {out, why, why_size};
    *out = (struct record_order){.count = 100, .seconds = 60, .body_bytes = 16384};
    while (!span_is_empty(words)) {
        struct span word;
        if (span_starts_with(words, SPAN("file=")))
            return read_file(&reading, span_from(words, 5));
        if (span_split(&words, ' ', &word) && word.size > 0 && !read_word(&reading, word))
            return false;
    }
    return refuse(&reading, "file: expected an absolute path, have", SPAN("nothing"));
}
