#include "plugin_host/negotiate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    ROWS_MAX = 4096,   /* of one table */
    STRIDE_MAX = 4096, /* bytes of a row */
    DEPTH_MAX = 8,     /* of records in records: a table may not lead back to itself */
    SELF_MAX = 64 * 1024 * 1024,
    CONTEXT_MAX = 1024 * 1024
};

/* All bits of 1.0 and of the minors since. */
static const uint64_t capabilities_known = WEIR_CAP_SHARED_MEMORY | WEIR_CAP_NETWORK |
                                           WEIR_CAP_BODY | WEIR_CAP_SECRETS | WEIR_CAP_ADMIN |
                                           WEIR_CAP_THREADS | WEIR_CAP_FILES;
static const uint32_t plugin_flags_known =
    WEIR_PLUGIN_AUTHENTICATES | WEIR_PLUGIN_NO_CONSUMER_SCOPE | WEIR_PLUGIN_LAYERED;
static const uint32_t field_flags_known = WEIR_REQUIRED | WEIR_SECRET | WEIR_DEPRECATED |
                                          WEIR_POSITIVE | WEIR_NOT_NEGATIVE | WEIR_EMPTY_ALLOWED |
                                          WEIR_HEADER_NAME | WEIR_UNIQUE | WEIR_CONSUMER_NAME |
                                          WEIR_REGEX | WEIR_PATH;
static const uint32_t credential_flags_known = WEIR_RANDOM_KEY;

static enum weir_err refuse(struct negotiation *talk, const char *format, ...) WEIR_PRINTF(2, 3);
static enum weir_err refuse(struct negotiation *talk, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(talk->why, sizeof(talk->why), format, args);
    va_end(args);
    return WEIR_ERR_INVALID;
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

struct rows {
    const void *at;
    uint32_t count, stride;
    uint32_t room; /* of fields: size of the struct their members are in */
};

/* A copy with rows of `want` bytes each. */
static enum weir_err take_rows(struct negotiation *talk, const char *what, struct rows given,
                               uint32_t want, void **out_rows)
{
    *out_rows = NULL;
    if (given.count == 0)
        return WEIR_OK;
    if (given.at == NULL || given.stride == 0 || given.stride > STRIDE_MAX ||
        given.count > ROWS_MAX)
        return refuse(talk, "field '%s': have %u rows of %u bytes, want at most %d rows", what,
                      given.count, given.stride, (int)ROWS_MAX);
    char *copy = arena_zalloc_array(talk->arena, given.count, want);
    if (copy == NULL)
        return (void)refuse(talk, "no memory"), WEIR_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < given.count; i++) {
        const unsigned char *row = (const unsigned char *)given.at + (size_t)i * given.stride;
        if (given.stride > want && !is_zero(row + want, given.stride - want))
            return refuse(talk, "field '%s': row %u has %u bytes and uses the last, want %u", what,
                          i, given.stride, want);
        memcpy(copy + (size_t)i * want, row, given.stride < want ? given.stride : want);
    }
    *out_rows = copy;
    return WEIR_OK;
}

static uint64_t member_size(const weir_field *field)
{
    static const uint8_t sizes[] = {
        [WEIR_TYPE_BOOLEAN] = sizeof(bool),  [WEIR_TYPE_INTEGER] = sizeof(int64_t),
        [WEIR_TYPE_NUMBER] = sizeof(double), [WEIR_TYPE_STRING] = sizeof(weir_str),
        [WEIR_TYPE_ENUM] = sizeof(weir_str), [WEIR_TYPE_DURATION] = sizeof(int64_t),
        [WEIR_TYPE_BYTES] = sizeof(int64_t), [WEIR_TYPE_LIST] = sizeof(weir_list),
        [WEIR_TYPE_MAP] = sizeof(weir_list),
    };
    return field->type == WEIR_TYPE_RECORD ? field->size : sizes[field->type];
}

static enum weir_err check_field(struct negotiation *talk, const weir_field *field, uint32_t row,
                                 uint32_t room)
{
    if (field->name == NULL || field->name[0] == '\0')
        return refuse(talk, "field 'fields': row %u has no name, want that of its member", row);
    if (field->type < WEIR_TYPE_BOOLEAN || field->type > WEIR_TYPE_RECORD)
        return refuse(talk, "field 'fields': row %u has type %u, want 1 to %u", row, field->type,
                      WEIR_TYPE_RECORD);
    if ((field->flags & ~field_flags_known) != 0)
        return refuse(talk, "field 'fields': row %u has flags 0x%x, want bits of 0x%x", row,
                      field->flags, field_flags_known);
    if (field->also == NULL && field->offset + member_size(field) > room)
        return refuse(talk,
                      "field 'fields': row %u has a member that ends at %" PRIu64
                      ", want at most %u, the struct's size",
                      row, field->offset + member_size(field), room);
    return WEIR_OK;
}

static const char *key_of(const weir_field *field)
{
    return field->key == NULL ? field->name : field->key;
}

static enum weir_err check_keys(struct negotiation *talk, const weir_field *rows, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(key_of(&rows[i]), key_of(&rows[j])) == 0)
                return refuse(talk,
                              "field 'fields': row %u has key '%.63s', want another than row %u", i,
                              key_of(&rows[i]), j);
    return WEIR_OK;
}

/* The rows of a record were compiled with those around it, so they have the same stride. As deep as
 * DEPTH_MAX, no deeper. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static enum weir_err take_fields(struct negotiation *talk, struct rows given, unsigned depth,
                                 const weir_field **out_fields)
{
    void *copy;
    TRY(take_rows(talk, "field_stride", given, (uint32_t)sizeof(weir_field), &copy));
    weir_field *rows = copy;
    if (given.count > 0 && depth > DEPTH_MAX)
        return refuse(talk, "field 'fields': records are nested more than %d deep", (int)DEPTH_MAX);
    for (uint32_t i = 0; i < given.count; i++) {
        TRY(check_field(talk, &rows[i], i, given.room));
        const struct rows inner = {rows[i].fields, rows[i].field_count, given.stride, rows[i].size};
        TRY(take_fields(talk, inner, depth + 1, &rows[i].fields));
    }
    TRY(check_keys(talk, rows, given.count));
    *out_fields = rows;
    return WEIR_OK;
}

static enum weir_err take_credentials(struct negotiation *talk, weir_plugin *plugin)
{
    void *copy;
    const struct rows given = {plugin->credentials, plugin->credential_count,
                               plugin->credential_stride, 0};
    TRY(take_rows(talk, "credential_stride", given, (uint32_t)sizeof(weir_credential_kind), &copy));
    weir_credential_kind *kinds = copy;
    for (uint32_t i = 0; i < plugin->credential_count; i++) {
        if ((kinds[i].flags & ~credential_flags_known) != 0)
            return refuse(talk, "field 'credentials': row %u has flags 0x%x, want bits of 0x%x", i,
                          kinds[i].flags, credential_flags_known);
        const struct rows fields = {kinds[i].fields, kinds[i].field_count, kinds[i].field_stride,
                                    kinds[i].data_size};
        TRY(take_fields(talk, fields, 1, &kinds[i].fields));
        kinds[i].field_stride = (uint32_t)sizeof(weir_field);
    }
    plugin->credentials = kinds;
    plugin->credential_stride = (uint32_t)sizeof(weir_credential_kind);
    return WEIR_OK;
}

static enum weir_err check_sizes(struct negotiation *talk, const weir_plugin *plugin)
{
    if (plugin->version == NULL || plugin->version[0] == '\0')
        return refuse(talk, "field 'version': have none, want a text");
    if (plugin->self_size > SELF_MAX)
        return refuse(talk, "field 'self_size': have %u, want at most %d", plugin->self_size,
                      (int)SELF_MAX);
    if (plugin->context_size > CONTEXT_MAX)
        return refuse(talk, "field 'context_size': have %u, want at most %d", plugin->context_size,
                      (int)CONTEXT_MAX);
    return WEIR_OK;
}

static enum weir_err check_bits(struct negotiation *talk, const weir_plugin *plugin)
{
    if ((plugin->capabilities & ~capabilities_known) != 0)
        return refuse(talk, "field 'capabilities': have 0x%" PRIx64 ", want bits of 0x%" PRIx64,
                      plugin->capabilities, capabilities_known);
    if ((plugin->flags & ~plugin_flags_known) != 0)
        return refuse(talk, "field 'flags': have 0x%x, want bits of 0x%x", plugin->flags,
                      plugin_flags_known);
    if (plugin->request_body_need > WEIR_BODY_TEE)
        return refuse(talk, "field 'request_body_need': have %u, want at most %u",
                      plugin->request_body_need, WEIR_BODY_TEE);
    if (plugin->response_body_need > WEIR_BODY_TEE)
        return refuse(talk, "field 'response_body_need': have %u, want at most %u",
                      plugin->response_body_need, WEIR_BODY_TEE);
    return WEIR_OK;
}

/* size, major and minor first: nothing else may be read before they are understood. */
static enum weir_err check_head(struct negotiation *talk, const weir_plugin *offered)
{
    const weir_host *host = talk->host;
    const uint32_t want = (uint32_t)sizeof(weir_plugin);
    if (offered == NULL)
        return refuse(talk, "field 'descriptor': have NULL, want what weir_plugin_v1() returns");
    if (offered->major != host->major)
        return refuse(talk, "field 'major': have %u, want %u", offered->major, host->major);
    if (offered->minor > host->minor)
        return refuse(talk, "field 'minor': have %u, want at most %u", offered->minor, host->minor);
    if (offered->size < 24 || offered->size > 65536)
        return refuse(talk, "field 'size': have %u, want 24 to 65536", offered->size);
    if (offered->size > want &&
        !is_zero((const unsigned char *)offered + want, offered->size - want))
        return refuse(talk, "field 'size': have %u and the tail is used, want at most %u",
                      offered->size, want);
    return WEIR_OK;
}

enum weir_err negotiate(struct negotiation *talk, const weir_plugin *offered,
                        weir_plugin *out_plugin)
{
    weir_plugin plugin = {0};
    TRY(check_head(talk, offered));
    memcpy(&plugin, offered, offered->size < sizeof(plugin) ? offered->size : sizeof(plugin));
    if (plugin.name == NULL || strcmp(plugin.name, talk->name) != 0)
        return refuse(talk, "field 'name': have '%.63s' in the descriptor, want '%s'",
                      plugin.name == NULL ? "" : plugin.name, talk->name);
    TRY(check_sizes(talk, &plugin));
    TRY(check_bits(talk, &plugin));
    const struct rows fields = {plugin.fields, plugin.field_count, plugin.field_stride,
                                plugin.self_size};
    TRY(take_fields(talk, fields, 1, &plugin.fields));
    plugin.field_stride = (uint32_t)sizeof(weir_field);
    TRY(take_credentials(talk, &plugin));
    *out_plugin = plugin;
    return WEIR_OK;
}
