/* What two outcomes of a request differ in, a line each. */
#include <stdio.h>
#include <string.h>

#include "replay.h"

/* Of which request, for every line about it. */
struct place {
    struct report *report;
    size_t number; /* 0: none, it is about the whole run */
    const char *method, *path;
    bool recorded; /* the first of the two is what was recorded */
    size_t found;
};

/* ---- telling */

static void put_value(struct buf *out, bool json, struct span value)
{
    if (json && !span_is_set(value))
        buf_text(out, "null");
    else if (json)
        buf_json(out, value);
    else if (!span_is_set(value))
        buf_text(out, "(none)");
    else
        buf_span(out, value);
}

static void print(struct buf *line)
{
    buf_byte(line, '\n');
    if (!line->failed)
        (void)fwrite(line->data, 1, line->size, stdout);
}

static void tell_json(const struct place *place, const char *what, struct span name,
                      struct span old, struct span new)
{
    AUTO_BUF line = BUF_INIT;
    buf_byte(&line, '{');
    if (place->number > 0) {
        buf_printf(&line, "\"request\": %zu, \"method\": ", place->number);
        buf_json(&line, span_text(place->method));
        buf_text(&line, ", \"path\": ");
        buf_json(&line, span_text(place->path));
        buf_text(&line, ", ");
    }
    buf_printf(&line, "\"what\": \"%s\", \"name\": ", what);
    put_value(&line, true, name);
    buf_text(&line, place->recorded ? ", \"recorded\": " : ", \"old\": ");
    put_value(&line, true, old);
    buf_text(&line, ", \"new\": ");
    put_value(&line, true, new);
    buf_byte(&line, '}');
    print(&line);
}

static void tell_text(const struct place *place, const char *what, struct span name,
                      struct span old, struct span new)
{
    AUTO_BUF line = BUF_INIT;
    if (place->number > 0)
        buf_printf(&line, "request %zu %s %s: ", place->number, place->method, place->path);
    if (place->recorded)
        buf_text(&line, "recorded ");
    buf_printf(&line, "%s%s%.*s ", what, span_is_empty(name) ? "" : " ", SPAN_ARG(name));
    put_value(&line, false, old);
    buf_text(&line, " -> ");
    put_value(&line, false, new);
    print(&line);
}

/* Unset: there is none. */
static void tell(struct place *place, const char *what, struct span name, struct span old,
                 struct span new)
{
    place->found++;
    if (place->recorded)
        place->report->from_recorded++;
    else
        place->report->differences++;
    (place->report->json ? tell_json : tell_text)(place, what, name, old, new);
}

static void compare_texts(struct place *place, const char *what, struct span old, struct span new)
{
    if (span_is_set(old) != span_is_set(new) || !span_equal(old, new))
        tell(place, what, SPAN_NONE, old, new);
}

/* ---- lines "KEY<separator>VALUE" */

/* How a line is taken apart: where its key ends. */
typedef size_t key_end(struct span line);

static size_t end_of_hook(struct span line) /* "access key-auth NEXT" */
{
    size_t first = span_find(line, ' ');
    return first == line.size ? first : first + 1 + span_find(span_from(line, first + 1), ' ');
}

static size_t end_of_field(struct span line) /* "Name: value" */
{
    return span_find(line, ':');
}

static size_t end_of_series(struct span line) /* "name{label="value"} 1" */
{
    size_t end = line.size;
    while (end > 0 && line.data[end - 1] != ' ')
        end--;
    return end == 0 ? line.size : end - 1;
}

static size_t end_of_line(struct span line)
{
    return line.size;
}

/* The nth line with that key; unset: there are fewer. */
static struct span find_line(struct span rest, key_end *ends, struct span key, size_t nth)
{
    struct span line;
    while (span_split(&rest, '\n', &line))
        if (line.size > 0 && span_equal_nocase(span_first(line, ends(line)), key) && nth-- == 0)
            return line;
    return SPAN_NONE;
}

static size_t count_before(struct span text, const char *line_data, key_end *ends, struct span key)
{
    size_t count = 0;
    struct span line;
    while (span_split(&text, '\n', &line) && line.data < line_data)
        count += line.size > 0 && span_equal_nocase(span_first(line, ends(line)), key);
    return count;
}

static struct span value_of(struct span line, key_end *ends)
{
    if (!span_is_set(line))
        return SPAN_NONE;
    struct span value = span_from(line, ends(line));
    if (span_starts_with(value, SPAN(":")))
        value = span_from(value, 1);
    value = span_trim(value);
    return value.size == 0 ? SPAN("") : value;
}

/* A line that is the key alone says that it is there. */
static void tell_line(struct place *place, const char *what, key_end *ends, struct span key,
                      struct span old, struct span new)
{
    if (ends == end_of_line)
        tell(place, what, SPAN_NONE, old, new);
    else
        tell(place, what, key, value_of(old, ends), value_of(new, ends));
}

static void compare_lines(struct place *place, const char *what, key_end *ends, struct span old,
                          struct span new)
{
    struct span rest = old, line;
    if (span_equal(old, new))
        return;
    while (span_split(&rest, '\n', &line)) {
        struct span key = span_first(line, ends(line));
        if (line.size == 0 || line.data[0] == '#')
            continue;
        struct span other = find_line(new, ends, key, count_before(old, line.data, ends, key));
        if (!span_is_set(other) || !span_equal(value_of(line, ends), value_of(other, ends)))
            tell_line(place, what, ends, key, line, other);
    }
    rest = new;
    while (span_split(&rest, '\n', &line)) {
        struct span key = span_first(line, ends(line));
        if (line.size == 0 || line.data[0] == '#')
            continue;
        if (!span_is_set(find_line(old, ends, key, count_before(new, line.data, ends, key))))
            tell_line(place, what, ends, key, SPAN_NONE, line);
    }
}

/* ---- bodies */

static bool is_short_text(struct span body)
{
    for (size_t i = 0; i < body.size; i++)
        if ((unsigned char)body.data[i] < ' ')
            return false;
    return body.size <= 60;
}

static void compare_bodies(struct place *place, const char *what, struct span old, struct span new)
{
    char before[64], after[64];
    size_t same = 0;
    if (span_equal(old, new))
        return;
    if (is_short_text(old) && is_short_text(new)) {
        tell(place, what, SPAN_NONE, old.size == 0 ? SPAN("") : old,
             new.size == 0 ? SPAN("") : new);
        return;
    }
    while (same < old.size && same < new.size &&old.data[same] == new.data[same])
        same++;
    (void)snprintf(before, sizeof(before), "%zu bytes", old.size);
    (void)snprintf(after, sizeof(after), "%zu bytes, other from byte %zu on", new.size, same);
    tell(place, what, SPAN_NONE, span_text(before), span_text(after));
}

/* ---- one request */

static struct span status_text(char *out, size_t size, int status)
{
    (void)snprintf(out, size, "%d", status);
    return status == 0 ? SPAN("(no answer)") : span_text(out);
}

static void compare_status(struct place *place, int old, int new)
{
    char before[16], after[16];
    if (old != new)
        tell(place, "status", SPAN_NONE, status_text(before, sizeof(before), old),
             status_text(after, sizeof(after), new));
}

static void compare_sent(struct place *place, const struct outcome *old, const struct outcome *new)
{
    if (old->proxied != new->proxied) {
        tell(place, "to target", SPAN_NONE, old->proxied ? SPAN("sent") : SPAN("not sent"),
             new->proxied ? SPAN("sent") : SPAN("not sent"));
        return;
    }
    compare_texts(place, "method to target", buf_view(&old->method), buf_view(&new->method));
    compare_texts(place, "path to target", buf_view(&old->path), buf_view(&new->path));
    compare_texts(place, "query to target", buf_view(&old->query), buf_view(&new->query));
    compare_texts(place, "host to target", buf_view(&old->host), buf_view(&new->host));
    compare_texts(place, "target", buf_view(&old->target), buf_view(&new->target));
    compare_lines(place, "header to target", end_of_field, buf_view(&old->sent_fields),
                  buf_view(&new->sent_fields));
    compare_bodies(place, "body to target", buf_view(&old->sent_body), buf_view(&new->sent_body));
}

static void compare_outcomes(struct place *place, const struct outcome *old,
                             const struct outcome *new)
{
    compare_lines(place, "verdict", end_of_hook, buf_view(&old->verdicts),
                  buf_view(&new->verdicts));
    compare_sent(place, old, new);
    compare_status(place, old->status, new->status);
    compare_lines(place, "header to client", end_of_field, buf_view(&old->answer_fields),
                  buf_view(&new->answer_fields));
    compare_bodies(place, "body to client", buf_view(&old->answer), buf_view(&new->answer));
    compare_lines(place, "log", end_of_line, buf_view(&old->log), buf_view(&new->log));
}

static struct place place_of(const struct traffic *traffic, size_t at, struct report *report)
{
    const struct node *request = record_member(traffic->records[at].node, "request");
    return (struct place){.report = report,
                          .number = at + 1,
                          .method = record_text(request, "method"),
                          .path = record_text(request, "path")};
}

void compare_runs(const struct traffic *traffic, const struct run *old, const struct run *new,
                  struct report *report)
{
    for (size_t i = 0; i < traffic->count; i++) {
        struct place place = place_of(traffic, i, report);
        compare_outcomes(&place, &old->outcomes[i], &new->outcomes[i]);
        report->requests += place.found > 0;
    }
    struct place whole = {.report = report};
    compare_lines(&whole, "metric", end_of_series, buf_view(&old->metrics),
                  buf_view(&new->metrics));
}

/* ---- and what was recorded */

static void put_lines(struct buf *out, const struct node *list)
{
    for (size_t i = 0; list != NULL && i < list->count; i++)
        buf_printf(out, "%.*s\n", SPAN_ARG(list->items[i]->text));
}

static void put_fields(struct buf *out, const struct node *list)
{
    for (size_t i = 0; list != NULL && i < list->count; i++)
        if (list->items[i]->kind == NODE_LIST && list->items[i]->count == 2)
            buf_printf(out, "%.*s: %.*s\n", SPAN_ARG(list->items[i]->items[0]->text),
                       SPAN_ARG(list->items[i]->items[1]->text));
}

/* The length is that of what was not taken out. */
static void drop_length(struct buf *fields)
{
    AUTO_BUF kept = BUF_INIT;
    struct span rest = buf_view(fields), line;
    while (span_split(&rest, '\n', &line))
        if (line.size > 0 && !span_starts_with_nocase(line, SPAN("content-length:")) &&
            !span_starts_with_nocase(line, SPAN("transfer-encoding:")) &&
            !span_starts_with_nocase(line, SPAN("connection:")))
            buf_printf(&kept, "%.*s\n", SPAN_ARG(line));
    fields->size = 0;
    buf_span(fields, buf_view(&kept));
}

static void compare_with_recorded(struct place *place, const struct node *node,
                                  const struct outcome *outcome)
{
    AUTO_BUF verdicts = BUF_INIT;
    AUTO_BUF log = BUF_INIT;
    AUTO_BUF then = BUF_INIT;
    AUTO_BUF now = BUF_INIT;
    const struct node *answer = record_member(node, "answer");
    put_lines(&verdicts, record_member(node, "verdicts"));
    put_lines(&log, record_member(node, "log"));
    put_fields(&then, record_member(answer, "headers"));
    buf_span(&now, buf_view(&outcome->answer_fields));
    drop_length(&then);
    drop_length(&now);
    compare_lines(place, "verdict", end_of_hook, buf_view(&verdicts), buf_view(&outcome->verdicts));
    compare_status(place, (int)record_number(answer, "status", 0), outcome->status);
    compare_lines(place, "header to client", end_of_field, buf_view(&then), buf_view(&now));
    const struct node *body = record_member(answer, "body");
    const struct node *text = record_member(body, "text");
    if (text != NULL && record_member(body, "cut") == NULL)
        compare_bodies(place, "body to client", text->text, buf_view(&outcome->answer));
    compare_lines(place, "log", end_of_line, buf_view(&log), buf_view(&outcome->log));
}

void compare_recorded(const struct traffic *traffic, const struct run *run, struct report *report)
{
    for (size_t i = 0; i < traffic->count; i++) {
        struct place place = place_of(traffic, i, report);
        place.recorded = true;
        if (!run->outcomes[i].skipped)
            compare_with_recorded(&place, traffic->records[i].node, &run->outcomes[i]);
    }
}
