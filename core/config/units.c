/* Durations and sizes with units. */
#include "base/text.h"
#include "config/schema.h"
#include "config/settings.h"

struct unit {
    struct span name;
    double factor;
};

static bool read_unit(struct span text, const struct unit *units, size_t count, int64_t *out_value)
{
    size_t digits = 0;
    double number = 0;
    text = span_trim(text);
    while (digits < text.size && strchr("0123456789.", text.data[digits]) != NULL)
        digits++;
    if (digits == 0 || !text_to_double(span_first(text, digits), &number))
        return false;
    struct span suffix = span_trim(span_from(text, digits));
    for (size_t i = 0; i < count; i++) {
        double value = number * units[i].factor;
        if (span_equal_nocase(suffix, units[i].name) && value < 9007199254740992.0) {
            *out_value = (int64_t)(value + 0.5);
            return true;
        }
    }
    return false;
}

bool schema_parse_duration(struct span text, int64_t *out_ms)
{
    static const struct unit units[] = {{{"", 0}, 1000},       {{"ms", 2}, 1},
                                        {{"s", 1}, 1000},      {{"m", 1}, 60000},
                                        {{"h", 1}, 3600000.0}, {{"d", 1}, 86400000.0}};
    return read_unit(text, units, COUNT_OF(units), out_ms);
}

bool schema_parse_bytes(struct span text, int64_t *out_bytes)
{
    static const struct unit units[] = {
        {{"", 0}, 1}, {{"k", 1}, 1024}, {{"m", 1}, 1048576.0}, {{"g", 1}, 1073741824.0}};
    return read_unit(text, units, COUNT_OF(units), out_bytes);
}

bool settings_parse_duration(struct span text, int64_t *out_ms)
{
    return schema_parse_duration(text, out_ms);
}

bool settings_parse_bytes(struct span text, int64_t *out_bytes)
{
    return schema_parse_bytes(text, out_bytes);
}
