/* A bounded list of findings and the two ways to print it. */
#include "config/problems.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

#define HIDDEN_TEXT_MIN 4
#define LINE_SHOWN 160 /* characters of a source line around the caret */

struct hidden {
    struct position start, end;
};

struct problems {
    struct arena *arena;
    const char *file;
    struct span source;
    struct problem *items;
    size_t count, capacity;
    size_t errors, warnings;
    struct hidden *hidden;
    size_t hidden_count, hidden_capacity;
    struct span *texts; /* resolved values that no message may show */
    size_t text_count, text_capacity;
    bool sorted;
};

struct problems *problems_create(struct arena *arena)
{
    struct problems *problems = arena_new(arena, struct problems);
    if (problems == NULL)
        return NULL;
    problems->arena = arena;
    problems->file = "";
    return problems;
}

void problems_set_source(struct problems *problems, const char *file, struct span source)
{
    problems->file = file == NULL ? "" : file;
    problems->source = source;
}

/* Room for one more in an arena array; the outgrown half is lost to the arena, which is fine for
 * lists this short. */
static void *grow(struct arena *arena, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t wider = *capacity == 0 ? 16 : *capacity * 2;
    void *copy = arena_zalloc_array(arena, wider, size);
    if (copy == NULL)
        return NULL;
    if (count > 0)
        memcpy(copy, items, count * size);
    *capacity = wider;
    return copy;
}

static void mask(const struct problems *problems, char *text, size_t size)
{
    for (size_t i = 0; i < problems->text_count; i++) {
        struct span hidden = problems->texts[i], rest = span_of(text, size);
        for (;;) {
            size_t at = span_search(rest, hidden);
            if (at == rest.size)
                break;
            size_t start = (size_t)(rest.data - text) + at;
            memset(text + start, '*', hidden.size);
            rest = span_from(rest, at + hidden.size);
        }
    }
}

static struct span format_text(const struct problems *problems, const char *format,
                               va_list arguments)
{
    char text[2048];
    int size = vsnprintf(text, sizeof(text), format, arguments);
    if (size < 0)
        size = 0;
    if ((size_t)size >= sizeof(text))
        size = (int)sizeof(text) - 1;
    mask(problems, text, (size_t)size);
    return arena_copy(problems->arena, span_of(text, (size_t)size));
}

static bool is_known(const struct problems *problems, const struct problem *problem)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *other = &problems->items[i];
        if (other->position.line == problem->position.line &&
            other->position.column == problem->position.column &&
            span_equal(other->text, problem->text) && span_equal(other->path, problem->path))
            return true;
    }
    return false;
}

static void add(struct problems *problems, struct problem problem, const char *path,
                const char *format, va_list arguments)
{
    if (problems->count >= PROBLEMS_MAX) {
        *(problem.level == PROBLEM_ERROR ? &problems->errors : &problems->warnings) += 1;
        return;
    }
    problem.text = format_text(problems, format, arguments);
    problem.path = path == NULL ? SPAN_NONE : arena_copy(problems->arena, span_text(path));
    problem.order = (uint32_t)problems->count;
    if (is_known(problems, &problem)) /* an aliased node is checked once per use */
        return;
    *(problem.level == PROBLEM_ERROR ? &problems->errors : &problems->warnings) += 1;
    struct problem *items = grow(problems->arena, problems->items, problems->count,
                                 &problems->capacity, sizeof(*items));
    if (items == NULL) /* still counted: the load fails all the same */
        return;
    problems->items = items;
    problems->items[problems->count++] = problem;
    problems->sorted = false;
}

void problem_add(struct problems *problems, enum problem_level level, struct position position,
                 const char *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(problems, (struct problem){.level = level, .position = position}, path, format, arguments);
    va_end(arguments);
}

void problem_add_secret(struct problems *problems, enum problem_level level,
                        struct position position, const char *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct problem problem = {.level = level, .position = position, .hide_source = true};
    add(problems, problem, path, format, arguments);
    va_end(arguments);
}

void problems_hide(struct problems *problems, struct position start, struct position end)
{
    struct hidden *hidden = grow(problems->arena, problems->hidden, problems->hidden_count,
                                 &problems->hidden_capacity, sizeof(*hidden));
    if (hidden == NULL) { /* better no source lines at all than one too many */
        problems->source = SPAN_NONE;
        return;
    }
    problems->hidden = hidden;
    problems->hidden[problems->hidden_count++] = (struct hidden){start, end};
}

void problems_hide_text(struct problems *problems, struct span text)
{
    if (text.size < HIDDEN_TEXT_MIN)
        return;
    for (size_t i = 0; i < problems->text_count; i++) {
        if (span_equal(problems->texts[i], text))
            return;
    }
    struct span *texts = grow(problems->arena, problems->texts, problems->text_count,
                              &problems->text_capacity, sizeof(*texts));
    if (texts == NULL)
        return;
    problems->texts = texts;
    problems->texts[problems->text_count++] = text;
}

size_t problems_errors(const struct problems *problems)
{
    return problems->errors;
}

size_t problems_warnings(const struct problems *problems)
{
    return problems->warnings;
}

static int by_position(const void *left, const void *right)
{
    const struct problem *a = left, *b = right;
    if (a->position.line != b->position.line)
        return a->position.line < b->position.line ? -1 : 1;
    if (a->position.column != b->position.column)
        return a->position.column < b->position.column ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

size_t problems_count(struct problems *problems)
{
    if (!problems->sorted && problems->count > 1)
        qsort(problems->items, problems->count, sizeof(*problems->items), by_position);
    problems->sorted = true;
    return problems->count;
}

const struct problem *problems_at(struct problems *problems, size_t index)
{
    return index < problems_count(problems) ? &problems->items[index] : NULL;
}

static void print_place(const struct problems *problems, const struct problem *problem,
                        struct buf *out)
{
    buf_text(out, problems->file);
    if (problem->position.line > 0)
        buf_printf(out, "%s%u:%u", problems->file[0] == '\0' ? "" : ":", problem->position.line,
                   problem->position.column);
    if (problem->position.line > 0 || problems->file[0] != '\0')
        buf_text(out, ": ");
}

/* One line whatever the configuration holds: control bytes become '?'. */
static void print_clean(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        buf_byte(out, byte < 0x20 || byte == 0x7f ? '?' : (char)byte);
    }
}

static void print_text(const struct problem *problem, struct buf *out)
{
    if (!span_is_empty(problem->path)) {
        print_clean(out, problem->path);
        buf_text(out, ": ");
    }
    print_clean(out, problem->text);
}

void problem_print_line(struct problems *problems, const struct problem *problem, struct buf *out)
{
    print_place(problems, problem, out);
    buf_text(out, problem->level == PROBLEM_ERROR ? "" : "warning: ");
    print_text(problem, out);
}

static struct span source_line(struct span source, uint32_t line)
{
    struct span text = SPAN_NONE;
    for (uint32_t i = 0; i < line; i++) {
        if (span_is_empty(source))
            return SPAN_NONE;
        size_t end = span_find(source, '\n');
        text = span_first(source, end);
        source = span_from(source, end + 1);
    }
    if (text.size > 0 && text.data[text.size - 1] == '\r')
        text.size--;
    return text;
}

static bool is_before(struct position a, struct position b)
{
    return a.line < b.line || (a.line == b.line && a.column < b.column);
}

static bool is_hidden(const struct problems *problems, struct position at)
{
    for (size_t i = 0; i < problems->hidden_count; i++) {
        if (!is_before(at, problems->hidden[i].start) && is_before(at, problems->hidden[i].end))
            return true;
    }
    return false;
}

/* The characters of `line` from column `first` on, secrets as stars. Returns nothing past `last`.
 */
static void print_source(const struct problems *problems, struct span line, uint32_t number,
                         uint32_t first, uint32_t last, struct buf *out)
{
    struct position at = {number, 0};
    for (size_t i = 0; i < line.size; i++) {
        unsigned char byte = (unsigned char)line.data[i];
        bool continues = (byte & 0xc0) == 0x80;
        if (!continues)
            at.column++;
        if (at.column < first || at.column > last)
            continue;
        if (is_hidden(problems, at)) {
            if (!continues)
                buf_byte(out, '*');
        } else if (byte == '\t') {
            buf_byte(out, ' ');
        } else {
            buf_byte(out, byte < 0x20 || byte == 0x7f ? '?' : (char)byte);
        }
    }
}

static void print_excerpt(const struct problems *problems, const struct problem *problem,
                          struct buf *out, const char *bold, const char *plain)
{
    if (problem->position.line == 0 || problem->hide_source)
        return;
    struct span line = source_line(problems->source, problem->position.line);
    if (span_is_empty(line))
        return;
    uint32_t column = problem->position.column;
    uint32_t first = column > LINE_SHOWN / 2 ? column - LINE_SHOWN / 2 : 1;
    buf_text(out, "    ");
    print_source(problems, line, problem->position.line, first, first + LINE_SHOWN, out);
    buf_text(out, "\n    ");
    for (uint32_t i = first; i < column; i++)
        buf_byte(out, ' ');
    buf_printf(out, "%s^%s\n", bold, plain);
}

void problems_print(struct problems *problems, struct buf *out, bool colour)
{
    const char *plain = colour ? "\033[0m" : "", *bold = colour ? "\033[1m" : "";
    size_t count = problems_count(problems);
    for (size_t i = 0; i < count; i++) {
        const struct problem *problem = &problems->items[i];
        bool is_error = problem->level == PROBLEM_ERROR;
        buf_text(out, bold);
        print_place(problems, problem, out);
        buf_text(out, colour ? (is_error ? "\033[31m" : "\033[33m") : "");
        buf_text(out, is_error ? "" : "warning: ");
        buf_text(out, plain);
        print_text(problem, out);
        buf_byte(out, '\n');
        print_excerpt(problems, problem, out, bold, plain);
    }
    size_t found = problems->errors + problems->warnings;
    if (found > count)
        buf_printf(out, "... and %zu more\n", found - count);
}

void problems_write(struct problems *problems, FILE *stream)
{
    AUTO_BUF out = BUF_INIT;
    problems_print(problems, &out, isatty(fileno(stream)) == 1);
    if (out.failed)
        fputs("out of memory while printing the problems of the configuration\n", stream);
    else if (out.size > 0)
        fwrite(out.data, 1, out.size, stream);
}

struct guess guess_start(struct span wanted)
{
    /* Short words are all close to each other: one edit there, more for long ones. */
    unsigned bound = wanted.size <= 3 ? 1 : wanted.size < 10 ? 2 : 3;
    return (struct guess){.wanted = wanted, .best = SPAN_NONE, .distance = bound + 1};
}

void guess_offer(struct guess *guess, struct span name)
{
    if (guess->distance == 0 || span_is_empty(name) || guess->wanted.size > 256)
        return;
    unsigned distance = text_distance(guess->wanted, name, guess->distance - 1);
    if (distance < guess->distance && distance < name.size) {
        guess->distance = distance;
        guess->best = name;
    }
}

bool guess_found(const struct guess *guess)
{
    return span_is_set(guess->best);
}
