/* A growing byte buffer that owns its memory, for text built once (dumps, admin replies, log
 * lines). The hot path uses fixed buffers and arenas instead. After a failed growth the buffer is
 * `failed`: later appends do nothing, and the one check at the end sees it. */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include "base/auto.h"
#include "base/span.h"

struct buf {
    char *data;
    size_t size, capacity;
    size_t limit; /* bytes it may grow to; 0: no bound */
    bool failed;
};

#define BUF_INIT ((struct buf){0})
void buf_free(struct buf *buf);
static inline void buf_free_at(struct buf *buf)
{
    buf_free(buf);
}
#define AUTO_BUF __attribute__((cleanup(buf_free_at))) struct buf

void buf_append(struct buf *buf, const void *data, size_t size);
void buf_span(struct buf *buf, struct span s);
void buf_text(struct buf *buf, const char *text);
void buf_byte(struct buf *buf, char byte);
void buf_printf(struct buf *buf, const char *format, ...) WEIR_PRINTF(2, 3);
/* `s` as a quoted JSON string: control bytes escaped, invalid UTF-8 replaced by U+FFFD. */
void buf_json(struct buf *buf, struct span s);
/* Room for `size` more bytes at the end, NULL when failed; buf->size is yours to advance. */
char *buf_reserve(struct buf *buf, size_t size);
static inline struct span buf_view(const struct buf *buf)
{
    return (struct span){buf->data, buf->size};
}
/* The whole file, at most `limit` bytes. errno tells on WEIR_ERR_SYSTEM; LIMIT when larger. */
WEIR_MUST_USE enum weir_err buf_read_file(struct buf *buf, const char *path, size_t limit);

#endif
