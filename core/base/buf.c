#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = BUF_INIT;
}

char *buf_reserve(struct buf *buf, size_t size)
{
    if (buf->failed || size > SIZE_MAX / 2 - buf->size ||
        (buf->limit != 0 && size > buf->limit - buf->size)) {
        buf->failed = true;
        return NULL;
    }
    size_t needed = buf->size + size;
    if (needed <= buf->capacity)
        return buf->data + buf->size;
    size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    char *data = realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return NULL;
    }
    buf->data = data;
    buf->capacity = capacity;
    return buf->data + buf->size;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
    char *room = size == 0 ? NULL : buf_reserve(buf, size);
    if (room == NULL)
        return;
    memcpy(room, data, size);
    buf->size += size;
}

void buf_span(struct buf *buf, struct span s)
{
    buf_append(buf, s.data, s.size);
}

void buf_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_byte(struct buf *buf, char byte)
{
    buf_append(buf, &byte, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *room = size < 0 ? NULL : buf_reserve(buf, (size_t)size + 1);
    if (room == NULL) {
        buf->failed = true;
        return;
    }
    va_start(args, format);
    (void)vsnprintf(room, (size_t)size + 1, format, args);
    va_end(args);
    buf->size += (size_t)size;
}

/* Bytes of the valid UTF-8 sequence that starts `s`, 0 when there is none. */
static size_t sequence_size(struct span s)
{
    for (size_t size = 2; size <= 4 && size <= s.size; size++)
        if (text_is_utf8(span_first(s, size)))
            return size;
    return 0;
}

static void append_escaped(struct buf *buf, char c)
{
    static const char named[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c == '\0' ? NULL : strchr(named, c);
    if (found != NULL) {
        buf_byte(buf, '\\');
        buf_byte(buf, letters[found - named]);
        return;
    }
    buf_printf(buf, "\\u%04x", (unsigned)(unsigned char)c);
}

void buf_json(struct buf *buf, struct span s)
{
    buf_byte(buf, '"');
    while (s.size > 0) {
        unsigned char byte = (unsigned char)s.data[0];
        size_t size = 1;
        if (byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f) {
            append_escaped(buf, s.data[0]);
        } else if (byte < 0x80) {
            buf_byte(buf, s.data[0]);
        } else if ((size = sequence_size(s)) > 0) {
            buf_append(buf, s.data, size);
        } else {
            buf_text(buf, "\\ufffd");
            size = 1;
        }
        s = span_from(s, size);
    }
    buf_byte(buf, '"');
}

static enum weir_err read_all(struct buf *buf, int fd, size_t limit)
{
    for (;;) {
        char *room = buf_reserve(buf, 16384);
        if (room == NULL)
            return WEIR_ERR_NO_MEMORY;
        ssize_t got = read(fd, room, 16384);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return WEIR_ERR_SYSTEM;
        if (got == 0)
            return WEIR_OK;
        buf->size += (size_t)got;
        if (buf->size > limit)
            return WEIR_ERR_LIMIT;
    }
}

enum weir_err buf_read_file(struct buf *buf, const char *path, size_t limit)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return WEIR_ERR_SYSTEM;
    enum weir_err err = read_all(buf, fd, limit);
    int reason = errno;
    (void)close(fd);
    errno = reason;
    return err;
}
