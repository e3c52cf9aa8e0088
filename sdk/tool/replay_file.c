/* The file of `weir record`: lines of JSON, the first of which says what was configured. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "replay.h"
#include "tool.h"

enum { VERSION = 1 };

const struct node *record_member(const struct node *node, const char *key)
{
    const struct node *value = node_find(node, span_text(key));
    return node_is_null(value) ? NULL : value;
}

const char *record_text(const struct node *node, const char *key)
{
    const struct node *value = record_member(node, key);
    return value == NULL || value->kind != NODE_SCALAR ? NULL : value->text.data;
}

uint64_t record_number(const struct node *node, const char *key, uint64_t otherwise)
{
    uint64_t number;
    const char *text = record_text(node, key);
    return text != NULL && text_to_u64(span_text(text), &number) ? number : otherwise;
}

static int refuse(const char *file, size_t line, const char *what)
{
    return tool_fail("replay", "%s:%zu: %s", file, line, what);
}

/* NULL: it is no line of a recording. */
static const struct node *parse(struct arena *arena, struct span line, const char *file)
{
    struct problems *problems = problems_create(arena);
    struct node *root = NULL;
    if (problems == NULL || document_parse(arena, line, file, problems, &root) != WEIR_OK ||
        root == NULL || root->kind != NODE_MAP)
        return NULL;
    return root;
}

static int read_header(struct traffic *traffic, struct span line, const char *file)
{
    const struct node *header = parse(traffic->arena, line, file);
    uint64_t version = record_number(header, "weir_record", 0);
    if (version == 0)
        return refuse(file, 1, "this is no recording of `weir record`");
    if (version > VERSION)
        return refuse(file, 1, "a later weir has recorded this");
    traffic->configuration = record_text(header, "configuration");
    return traffic->configuration == NULL ? refuse(file, 1, "it has no configuration") : TOOL_OK;
}

static int read_record(struct traffic *traffic, struct span line, const char *file, size_t at)
{
    const struct node *node = parse(traffic->arena, line, file);
    const struct node *request = record_member(node, "request");
    const char *id = record_text(node, "id");
    if (record_text(request, "method") == NULL || record_text(request, "path") == NULL ||
        id == NULL || strlen(id) != 32)
        return refuse(file, at, "this line is no request, or is cut off");
    traffic->records[traffic->count++] = (struct record){.time_ms = record_number(node, "time", 0),
                                                         .worker = record_number(node, "worker", 0),
                                                         .number = record_number(node, "number", 0),
                                                         .node = node};
    return TOOL_OK;
}

static int in_order(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    if (x->worker != y->worker)
        return x->worker < y->worker ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int read_lines(struct traffic *traffic, const char *file)
{
    struct span rest = buf_view(&traffic->text), line;
    size_t lines = 1;
    for (size_t i = 0; i < rest.size; i++)
        lines += rest.data[i] == '\n';
    traffic->records = arena_array(traffic->arena, struct record, lines);
    if (traffic->records == NULL)
        return tool_fail("replay", "out of memory");
    int code = TOOL_OK;
    for (size_t at = 1; code == TOOL_OK && span_split(&rest, '\n', &line); at++) {
        if (at == 1)
            code = read_header(traffic, line, file);
        else if (line.size > 0)
            code = read_record(traffic, line, file, at);
    }
    qsort(traffic->records, traffic->count, sizeof(struct record), in_order);
    return code;
}

int traffic_open(struct traffic *traffic, const char *file)
{
    *traffic = (struct traffic){.arena = arena_create(NULL)};
    if (traffic->arena == NULL)
        return tool_fail("replay", "out of memory");
    enum weir_err err = buf_read_file(&traffic->text, file, REPLAY_BYTES_MAX);
    if (err != WEIR_OK)
        return tool_fail("replay", "cannot read %s: %s", file,
                         err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
    return read_lines(traffic, file);
}

void traffic_close(struct traffic *traffic)
{
    buf_free(&traffic->text);
    arena_destroy(traffic->arena);
}
