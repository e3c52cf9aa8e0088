#include "route/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "base/text.h"

#define STEPS_MAX 200000
#define DEPTH_MAX 2000
#define HEAP_KIB_MAX 4096
#define STACK_START ((size_t)32 << 10)
#define STACK_MAX ((size_t)512 << 10)
#define COMPLAINTS_MAX 10

struct regex {
    struct regex *next; /* all of the set */
    pcre2_code *code;
    struct span pattern;
    const struct route_captures *names; /* NULL: no groups */
    uint8_t captures;                   /* with the whole match; 0: no groups */
};

struct regex_set {
    struct arena *arena;
    struct regex *all;
    struct map *by_text; /* key: use, then pattern */
    pcre2_match_data *data;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    unsigned complaints;
};

struct regex_set *regex_set_create(struct arena *arena)
{
    struct regex_set *set = arena_new(arena, struct regex_set);
    if (set == NULL)
        return NULL;
    set->arena = arena;
    set->by_text = map_create(0);
    set->data = pcre2_match_data_create(ROUTE_CAPTURES_MAX, NULL);
    set->limits = pcre2_match_context_create(NULL);
    set->stack = pcre2_jit_stack_create(STACK_START, STACK_MAX, NULL);
    if (set->by_text == NULL || set->data == NULL || set->limits == NULL) {
        regex_set_destroy(set);
        return NULL;
    }
    pcre2_set_match_limit(set->limits, STEPS_MAX);
    pcre2_set_depth_limit(set->limits, DEPTH_MAX);
    pcre2_set_heap_limit(set->limits, HEAP_KIB_MAX);
    if (set->stack != NULL) /* without JIT there is none */
        pcre2_jit_stack_assign(set->limits, NULL, set->stack);
    return set;
}

void regex_set_destroy(struct regex_set *set)
{
    if (set == NULL)
        return;
    for (struct regex *regex = set->all; regex != NULL; regex = regex->next)
        pcre2_code_free(regex->code);
    map_destroy(set->by_text);
    pcre2_match_data_free(set->data);
    pcre2_match_context_free(set->limits);
    pcre2_jit_stack_free(set->stack);
}

static enum weir_err read_names(struct regex_set *set, struct regex *regex)
{
    uint32_t groups = 0, name_count = 0, name_size = 0;
    PCRE2_SPTR table = NULL;
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (groups == 0)
        return WEIR_OK;
    struct route_captures *names = arena_new(set->arena, struct route_captures);
    if (names == NULL)
        return WEIR_ERR_NO_MEMORY;
    names->count = (uint8_t)(groups + 1 < ROUTE_CAPTURES_MAX ? groups + 1 : ROUTE_CAPTURES_MAX);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &name_count);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &name_size);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &table);
    for (uint32_t i = 0; i < name_count; i++) { /* two bytes of number, then the name, terminated */
        PCRE2_SPTR row = table + (size_t)i * name_size;
        unsigned number = (unsigned)row[0] << 8 | row[1];
        if (number < ROUTE_CAPTURES_MAX) /* the table lives as long as the code */
            names->names[number] = span_text((const char *)row + 2);
    }
    regex->names = names;
    regex->captures = names->count;
    return WEIR_OK;
}

static enum weir_err compile(enum regex_use use, struct span text, pcre2_code **out_code, char *why,
                             size_t why_size)
{
    /* "$" means the very end, as in the dialect Kong's default router speaks. */
    uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    options |= use == REGEX_HEADER ? PCRE2_CASELESS : 0;
    options |= text_is_utf8(text) ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : 0;
    int error = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text.data, text.size, options, &error, &at, NULL);
    if (code == NULL) {
        PCRE2_UCHAR message[128];
        if (pcre2_get_error_message(error, message, sizeof(message)) < 0)
            message[0] = '\0';
        (void)snprintf(why, why_size, "%s", (const char *)message);
        return error == PCRE2_ERROR_NOMEMORY ? WEIR_ERR_NO_MEMORY : WEIR_ERR_INVALID;
    }
    /* Where JIT is not there (or has no memory) the interpreter does the same, slower. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    *out_code = code;
    return WEIR_OK;
}

enum weir_err regex_compile(struct regex_set *set, enum regex_use use, struct span pattern,
                            char *why, size_t why_size, const struct regex **out_regex)
{
    char *text = arena_bytes(set->arena, pattern.size + 1);
    if (text == NULL)
        return WEIR_ERR_NO_MEMORY;
    text[0] = use == REGEX_PATH ? '^' : '~';
    if (pattern.size != 0)
        memcpy(text + 1, pattern.data, pattern.size);
    struct span key = span_of(text, pattern.size + 1);
    struct regex *regex = map_find(set->by_text, key);
    if (regex == NULL) {
        regex = arena_new(set->arena, struct regex);
        if (regex == NULL)
            return WEIR_ERR_NO_MEMORY;
        regex->pattern = pattern;
        TRY(compile(use, use == REGEX_PATH ? key : span_from(key, 1), &regex->code, why, why_size));
        regex->next = set->all;
        set->all = regex;
        TRY(read_names(set, regex));
        TRY(map_add(set->by_text, key, regex));
    }
    *out_regex = regex;
    return WEIR_OK;
}

static bool run(struct regex_set *set, const struct regex *regex, struct span subject)
{
    PCRE2_SPTR data = (PCRE2_SPTR)(subject.data == NULL ? "" : subject.data);
    int result = pcre2_match(regex->code, data, subject.size, 0, 0, set->data, set->limits);
    if (LIKELY(result >= 0 || result == PCRE2_ERROR_NOMATCH))
        return result >= 0;
    if (set->complaints < COMPLAINTS_MAX) {
        set->complaints++;
        log_warn("regex '%.*s' gave up on a subject of %zu bytes (error %d): taken as no match",
                 SPAN_ARG(regex->pattern), subject.size, result);
    }
    return false;
}

bool regex_matches(struct regex_set *set, const struct regex *regex, struct span subject)
{
    return run(set, regex, subject);
}

bool regex_capture(struct regex_set *set, const struct regex *regex, struct span subject,
                   struct route_match *out_match)
{
    if (!run(set, regex, subject))
        return false;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(set->data);
    /* \K inside a look-ahead can put the start behind the end. */
    out_match->matched_path = at[0] > at[1] ? span_of(subject.data + at[1], 0)
                                            : span_of(subject.data + at[0], at[1] - at[0]);
    out_match->capture_count = regex->captures;
    out_match->names = regex->names;
    for (size_t i = 1; i < regex->captures; i++) {
        bool took_part = at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
        out_match->captures[i] =
            took_part ? span_of(subject.data + at[2 * i], at[2 * i + 1] - at[2 * i]) : SPAN_NONE;
    }
    if (regex->captures != 0)
        out_match->captures[0] = out_match->matched_path;
    return true;
}
