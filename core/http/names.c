#include "http/names.h"

#include "http/scan.h"

struct known_name known_names[HTTP_HEADER_COUNT] = {
#define X(id, spelling, bits) \
    [HTTP_HEADER_##id] = {.text = spelling, .size = sizeof(spelling) - 1, .flags = bits},
    HTTP_HEADER_TABLE(X)
#undef X
};
uint8_t known_name_slots[NAME_SLOTS];

_Static_assert(HTTP_HEADER_COUNT < 256 && HTTP_HEADER_COUNT * 3 < NAME_SLOTS,
               "slots hold one byte, and most are free");

enum http_header_id http_header_id_of(struct span name)
{
    if (!http_name_is_valid(name))
        return HTTP_HEADER_UNKNOWN;
    return (enum http_header_id)name_id_of_token(name);
}

struct span http_header_name(enum http_header_id id)
{
    if (id == HTTP_HEADER_UNKNOWN || id >= HTTP_HEADER_COUNT)
        return SPAN("");
    return span_of(known_names[id].text, known_names[id].size);
}

uint16_t http_header_flags(enum http_header_id id)
{
    return known_names[id].flags;
}

__attribute__((constructor)) static void build_slots(void)
{
    for (unsigned id = 1; id < HTTP_HEADER_COUNT; id++) {
        struct known_name *known = &known_names[id];
        const char *text = known->text;
        size_t size = known->size;
        known->head = size >= 8 ? name_load8(text) : name_load_short(text, size);
        known->tail = size >= 8 ? name_load8(text + size - 8) : known->head;
        unsigned slot = name_slot(known->head, known->tail, size);
        while (known_name_slots[slot] != HTTP_HEADER_UNKNOWN)
            slot = (slot + 1) % NAME_SLOTS;
        known_name_slots[slot] = (uint8_t)id;
    }
}
