#include <limits.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include <weir/inflate.h>

static const struct {
    const char *name;
    int window; /* what inflateInit2() wants: gzip's head, zlib's, or none asked for */
} codings[] = {
    {"gzip", 16 + MAX_WBITS}, {"x-gzip", 16 + MAX_WBITS}, {"deflate", MAX_WBITS}, {"identity", 0}};

static weir_str trim(weir_str text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static int find_coding(weir_str coding)
{
    coding = trim(coding);
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++)
        if (coding.size == strlen(codings[i].name) &&
            strncasecmp(coding.data, codings[i].name, coding.size) == 0)
            return (int)i;
    return -1;
}

struct output {
    weir_alloc *alloc;
    void *user;
    char *text;
    size_t size, room, limit;
};

static weir_status grow(struct output *output)
{
    if (output->size > output->limit)
        return WEIR_FULL;
    size_t room = output->room * 2;
    if (room > output->limit + 1) /* one byte more tells a body that is too long */
        room = output->limit + 1;
    if (room == output->room)
        return WEIR_FULL;
    char *text = output->alloc(output->user, room);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    if (output->size > 0)
        memcpy(text, output->text, output->size);
    output->text = text;
    output->room = room;
    return WEIR_SUCCESS;
}

/* One stream, and those of gzip that follow it. */
static weir_status run(z_stream *stream, struct output *output, bool is_gzip)
{
    for (;;) {
        if (output->size == output->room) {
            weir_status status = grow(output);
            if (status != WEIR_SUCCESS)
                return status;
        }
        size_t left = output->room - output->size;
        stream->next_out = (Bytef *)output->text + output->size;
        stream->avail_out = left > UINT_MAX ? UINT_MAX : (uInt)left;
        uInt before = stream->avail_out;
        int result = inflate(stream, Z_NO_FLUSH);
        output->size += before - stream->avail_out;
        if (result == Z_STREAM_END) {
            if (stream->avail_in == 0)
                return WEIR_SUCCESS;
            if (!is_gzip || inflateReset(stream) != Z_OK)
                return WEIR_INVALID;
        } else if (result == Z_MEM_ERROR) {
            return WEIR_NO_MEMORY;
        } else if (result != Z_OK && result != Z_BUF_ERROR) {
            return WEIR_INVALID;
        } else if (stream->avail_out > 0) { /* nothing more comes out: it is cut short */
            return WEIR_INVALID;
        }
    }
}

static weir_status run_as(weir_str body, int window, struct output *output)
{
    z_stream stream = {0};
    union {
        const char *from;
        Bytef *to;
    } bytes = {.from = body.data}; /* zlib does not write to it */
    if (body.size > UINT_MAX)
        return WEIR_FULL;
    if (inflateInit2(&stream, window) != Z_OK)
        return WEIR_NO_MEMORY;
    stream.next_in = bytes.to;
    stream.avail_in = (uInt)body.size;
    output->size = 0;
    weir_status status = run(&stream, output, window > MAX_WBITS);
    (void)inflateEnd(&stream);
    return status != WEIR_SUCCESS         ? status
           : output->size > output->limit ? WEIR_FULL
                                          : WEIR_SUCCESS;
}

weir_status weir_inflate(weir_str body, weir_str coding, size_t limit, weir_alloc *alloc,
                         void *user, weir_str *out_text)
{
    *out_text = body;
    if (trim(coding).size == 0)
        return WEIR_SUCCESS;
    int found = find_coding(coding);
    if (found < 0)
        return WEIR_NOT_FOUND;
    int window = codings[found].window;
    if (window == 0)
        return WEIR_SUCCESS;
    if (body.size == 0)
        return WEIR_INVALID;
    if (limit > SIZE_MAX / 4) /* room for the arithmetic below */
        limit = SIZE_MAX / 4;
    size_t room = limit / 4 < body.size ? limit + 1 : body.size * 4;
    struct output output = {alloc, user, alloc(user, room), 0, room, limit};
    if (output.text == NULL)
        return WEIR_NO_MEMORY;
    weir_status status = run_as(body, window, &output);
    if (status == WEIR_INVALID && window == MAX_WBITS) /* "deflate" without zlib's head */
        status = run_as(body, -MAX_WBITS, &output);
    if (status == WEIR_SUCCESS)
        *out_text = (weir_str){output.text, output.size};
    return status;
}
