/* Paths: a handful of steps, compiled once, walked over a tree. At most one step looks at every
 * depth, so a walk is linear in the document. */
#include "json_tree.h"

enum step_kind { STEP_NAME, STEP_EACH, STEP_INDEX, STEP_DEEP };
enum { STEPS_MAX = 32, INDEX_DIGITS = 9 };

struct step {
    uint8_t kind;
    weir_str name;
    size_t index;
};

struct weir_json_path {
    struct step *steps; /* the last is a name */
    size_t count;
    bool is_plain; /* a name of the top object */
};

/* ---- compile */

struct compile {
    const char *at, *end;
    struct step steps[STEPS_MAX];
    size_t count;
    const char *why;
};

static bool refuse(struct compile *compile, const char *why)
{
    compile->why = why;
    return false;
}

static bool add_step(struct compile *compile, struct step step)
{
    if (compile->count == STEPS_MAX)
        return refuse(compile, "more than 32 steps");
    compile->steps[compile->count++] = step;
    return true;
}

static bool compile_name(struct compile *compile)
{
    const char *from = compile->at;
    while (compile->at < compile->end && *compile->at != '.' && *compile->at != '[')
        compile->at++;
    if (compile->at == from)
        return refuse(compile, "a name is empty");
    return add_step(compile, (struct step){STEP_NAME, json_span(from, compile->at), 0});
}

static bool compile_quoted(struct compile *compile, char quote)
{
    const char *from = ++compile->at;
    while (compile->at < compile->end && *compile->at != quote)
        compile->at++;
    if (compile->at == compile->end || compile->at == from)
        return refuse(compile, "a quoted name is empty or does not end");
    weir_str name = json_span(from, compile->at++);
    return add_step(compile, (struct step){STEP_NAME, name, 0});
}

static bool compile_index(struct compile *compile)
{
    const char *from = compile->at;
    size_t index = 0;
    while (compile->at < compile->end && *compile->at >= '0' && *compile->at <= '9')
        index = index * 10 + (size_t)(*compile->at++ - '0');
    if (compile->at == from || compile->at - from > INDEX_DIGITS)
        return refuse(compile, "[ ] takes *, a number or a quoted name");
    return add_step(compile, (struct step){.kind = STEP_INDEX, .index = index});
}

/* Behind '['. */
static bool compile_bracket(struct compile *compile)
{
    bool is_good;
    if (compile->at == compile->end)
        return refuse(compile, "a [ is not closed");
    if (*compile->at == '*') {
        compile->at++;
        is_good = add_step(compile, (struct step){.kind = STEP_EACH});
    } else if (*compile->at == '\'' || *compile->at == '"') {
        is_good = compile_quoted(compile, *compile->at);
    } else {
        is_good = compile_index(compile);
    }
    if (!is_good)
        return false;
    if (compile->at == compile->end || *compile->at++ != ']')
        return refuse(compile, "a [ is not closed");
    return true;
}

static bool has_deep(const struct compile *compile)
{
    for (size_t i = 0; i < compile->count; i++)
        if (compile->steps[i].kind == STEP_DEEP)
            return true;
    return false;
}

/* Behind '$'. */
static bool compile_steps(struct compile *compile)
{
    while (compile->at < compile->end) {
        char sign = *compile->at++;
        bool is_dot = sign == '.';
        if (is_dot && compile->at < compile->end && *compile->at == '.') {
            compile->at++;
            if (has_deep(compile))
                return refuse(compile, "'..' can be there once");
            if (!add_step(compile, (struct step){.kind = STEP_DEEP}))
                return false;
        }
        if (!is_dot && sign != '[')
            return refuse(compile, "a '.' or '[' must follow here");
        if (!(is_dot ? compile_name(compile) : compile_bracket(compile)))
            return false;
    }
    if (compile->count == 0 || compile->steps[compile->count - 1].kind != STEP_NAME)
        return refuse(compile, "it must end with a name");
    return true;
}

static bool is_path(weir_str text)
{
    return text.size > 1 && text.data[0] == '$' && (text.data[1] == '.' || text.data[1] == '[');
}

static bool copy_name(struct step *step, weir_alloc *alloc, void *user)
{
    if (step->name.size == 0)
        return true;
    char *name = alloc(user, step->name.size);
    if (name == NULL)
        return false;
    memcpy(name, step->name.data, step->name.size);
    step->name.data = name;
    return true;
}

const weir_json_path *weir_json_path_compile(weir_str text, bool deep, weir_alloc *alloc,
                                             void *user, const char **out_why)
{
    struct compile compile = {.at = text.data, .end = text.data + text.size};
    bool is_plain = !is_path(text), is_good = true;
    *out_why = NULL;
    if (text.size == 0) {
        *out_why = "it is empty";
        return NULL;
    }
    if (is_plain) {
        if (deep)
            compile.steps[compile.count++] = (struct step){.kind = STEP_DEEP};
        compile.steps[compile.count++] = (struct step){STEP_NAME, text, 0};
    } else {
        compile.at++;
        is_good = compile_steps(&compile);
    }
    *out_why = compile.why;
    if (!is_good)
        return NULL;
    weir_json_path *path = alloc(user, sizeof(*path));
    struct step *steps = alloc(user, compile.count * sizeof(*steps));
    if (path == NULL || steps == NULL)
        return NULL;
    memcpy(steps, compile.steps, compile.count * sizeof(*steps));
    for (size_t i = 0; i < compile.count; i++)
        if (!copy_name(&steps[i], alloc, user))
            return NULL;
    *path = (weir_json_path){steps, compile.count, is_plain && !deep};
    return path;
}

weir_str weir_json_path_name(const weir_json_path *path)
{
    return path->steps[path->count - 1].name;
}

/* ---- walk */

struct walk {
    weir_json *json;
    const weir_json_path *path;
    bool make;
    weir_status (*visit)(void *user, weir_json *json, weir_json_value *object, weir_str name);
    void *user;
};

static weir_status walk_from(const struct walk *walk, weir_json_value *value, size_t at);

static weir_status walk_name(const struct walk *walk, weir_json_value *value, size_t at)
{
    weir_str name = walk->path->steps[at].name;
    if (value->kind != WEIR_JSON_OBJECT)
        return WEIR_SUCCESS;
    if (at + 1 == walk->path->count)
        return walk->visit(walk->user, walk->json, value, name);
    weir_json_value *member = weir_json_member(walk->json, value, name);
    if (member == NULL && walk->make && walk->path->steps[at + 1].kind == STEP_NAME) {
        weir_status status = weir_json_set(walk->json, value, name, WEIR_LIT("{}"));
        if (status != WEIR_SUCCESS)
            return status;
        member = weir_json_member(walk->json, value, name);
    }
    return member == NULL ? WEIR_SUCCESS : walk_from(walk, member, at + 1);
}

static weir_status walk_elements(const struct walk *walk, weir_json_value *value, size_t at)
{
    const struct step *step = &walk->path->steps[at];
    weir_status status = WEIR_SUCCESS;
    size_t index = 0;
    if (value->kind != WEIR_JSON_ARRAY)
        return WEIR_SUCCESS;
    for (weir_json_value *child = value->first; child != NULL && status == WEIR_SUCCESS; index++) {
        weir_json_value *next = child->next;
        if (step->kind == STEP_EACH || index == step->index)
            status = walk_from(walk, child, at + 1);
        child = next;
    }
    return status;
}

/* The value, then what is in it; not what a visit has put there. */
static weir_status walk_deep(const struct walk *walk, weir_json_value *value, size_t at)
{
    weir_status status = walk_from(walk, value, at + 1);
    for (weir_json_value *child = value->first; child != NULL && status == WEIR_SUCCESS;) {
        weir_json_value *next = child->next;
        if (!child->is_added)
            status = walk_deep(walk, child, at);
        child = next;
    }
    return status;
}

static weir_status walk_from(const struct walk *walk, weir_json_value *value, size_t at)
{
    switch (walk->path->steps[at].kind) {
    case STEP_NAME:
        return walk_name(walk, value, at);
    case STEP_DEEP:
        return walk_deep(walk, value, at);
    default:
        return walk_elements(walk, value, at);
    }
}

weir_status weir_json_path_each(weir_json *json, const weir_json_path *path, bool elements,
                                bool make,
                                weir_status (*visit)(void *user, weir_json *json,
                                                     weir_json_value *object, weir_str name),
                                void *user)
{
    const struct walk walk = {json, path, make, visit, user};
    weir_json_value *root = json->root;
    if (!elements || !path->is_plain || root->kind != WEIR_JSON_ARRAY)
        return walk_from(&walk, root, 0);
    weir_status status = WEIR_SUCCESS;
    for (weir_json_value *child = root->first; child != NULL && status == WEIR_SUCCESS;) {
        weir_json_value *next = child->next;
        status = walk_from(&walk, child, 0);
        child = next;
    }
    return status;
}
