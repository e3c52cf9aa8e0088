#include "route/path.h"

static bool starts_with_slash(struct span s)
{
    return s.size > 0 && s.data[0] == '/';
}

static bool ends_with_slash(struct span s)
{
    return s.size > 0 && s.data[s.size - 1] == '/';
}

static struct span without_first(struct span s)
{
    return starts_with_slash(s) ? span_from(s, 1) : s;
}

/* `a`, then '/' when asked for, then `b`. */
static enum weir_err join(struct arena *arena, struct span a, bool slash, struct span b,
                          struct span *out_path)
{
    if (b.size == 0 && !slash) {
        *out_path = a;
        return WEIR_OK;
    }
    char *text = arena_bytes(arena, a.size + slash + b.size);
    if (text == NULL)
        return WEIR_ERR_NO_MEMORY;
    memcpy(text, a.data, a.size);
    if (slash)
        text[a.size] = '/';
    if (b.size != 0)
        memcpy(text + a.size + slash, b.data, b.size);
    *out_path = span_of(text, a.size + slash + b.size);
    return WEIR_OK;
}

/* What is left of the path. A prefix like "/route" cuts "/route../x" in the middle of a segment:
 * the dots that would come out as a segment of their own go. */
static struct span strip_matched(struct span path, struct span matched)
{
    struct span rest = span_from(path, matched.size);
    if (span_equal(rest, SPAN(".")) || span_equal(rest, SPAN("..")))
        return span_from(rest, rest.size);
    if (span_starts_with(rest, SPAN("./")))
        return span_from(rest, 2);
    if (span_starts_with(rest, SPAN("../")))
        return span_from(rest, 3);
    return rest;
}

/* Under the root the result is often a piece of the request's path: then it is not copied. */
static enum weir_err under_root(struct arena *arena, struct span path, struct span rest,
                                struct span *out_path)
{
    size_t at = (size_t)(rest.data - path.data);
    if (rest.size != 0 && at > 0 && path.data[at - 1] == '/') {
        *out_path = span_from(path, at - 1);
        return WEIR_OK;
    }
    return join(arena, SPAN("/"), false, rest, out_path);
}

static enum weir_err strip_v0(struct arena *arena, struct span service, struct span path,
                              struct span rest, struct span *out_path)
{
    bool root = service.size == 1, closed = ends_with_slash(service);
    struct span open = closed ? span_first(service, service.size - 1) : service;
    if (rest.size == 0) {
        if (closed) {
            *out_path = root || ends_with_slash(path) ? service : open;
            return WEIR_OK;
        }
        return join(arena, service, path.size > 1 && ends_with_slash(path), rest, out_path);
    }
    if (closed && rest.size == 1 && rest.data[0] == '/') {
        *out_path = service;
        return WEIR_OK;
    }
    if (starts_with_slash(rest)) {
        if (open.size != 0)
            return join(arena, open, false, rest, out_path);
        *out_path = rest;
        return WEIR_OK;
    }
    if (root)
        return under_root(arena, path, rest, out_path);
    return join(arena, open, true, rest, out_path);
}

static enum weir_err keep_v0(struct arena *arena, struct span service, struct span path,
                             struct span *out_path)
{
    if (ends_with_slash(service))
        return join(arena, service, false, without_first(path), out_path);
    return join(arena, service, false, path.size == 1 ? SPAN("") : path, out_path);
}

static enum weir_err strip_v1(struct arena *arena, struct span service, struct span path,
                              struct span rest, struct span *out_path)
{
    if (ends_with_slash(service))
        rest = without_first(rest);
    if (service.size == 1)
        return under_root(arena, path, rest, out_path);
    return join(arena, service, false, rest, out_path);
}

/* Seven facts decide, and no two of them belong together elsewhere. */
/* NOLINTNEXTLINE(readability-function-size) */
enum weir_err route_upstream_path(struct arena *arena, struct span service_path,
                                  struct span matched, bool strip, enum path_handling handling,
                                  struct span path, struct span *out_path)
{
    struct span service = service_path.size == 0 ? SPAN("/") : service_path;
    if (!strip && service.size == 1 && starts_with_slash(path)) {
        *out_path = path;
        return WEIR_OK;
    }
    if (!strip && handling == PATH_HANDLING_V1)
        return join(arena, service, false, without_first(path), out_path);
    if (!strip)
        return keep_v0(arena, service, path, out_path);
    /* A route without paths strips as if it had matched the first slash. */
    struct span rest = strip_matched(path, matched.size == 0 ? span_first(path, 1) : matched);
    return handling == PATH_HANDLING_V1 ? strip_v1(arena, service, path, rest, out_path)
                                        : strip_v0(arena, service, path, rest, out_path);
}
