/* The chunked coding (RFC 9112 7.1), decoded piece by piece as bytes arrive: no copy, no memory of
 * its own beyond this struct. Extensions are checked, bounded and dropped; so are trailer fields,
 * unless the caller keeps them. */
#ifndef WEIR_HTTP_CHUNKED_H
#define WEIR_HTTP_CHUNKED_H

#include "http/message.h"

#define HTTP_CHUNK_SIZE_MAX ((uint64_t)1 << 62)
#define HTTP_CHUNK_LINE_MAX 256U             /* a size with its extensions */
#define HTTP_CHUNK_OVERHEAD_MAX (16U * 1024) /* all extensions and trailer fields of one body */
#define HTTP_TRAILER_FIELDS_MAX 100U         /* as of a head */
#define HTTP_CHUNK_HEAD_MAX 20

struct http_chunked {
    uint64_t left;     /* payload bytes of this chunk still to come */
    uint32_t line;     /* bytes of this chunk line */
    uint32_t overhead; /* bytes of extensions and trailer fields so far */
    uint8_t state;     /* chunked.c */
    uint8_t fields;    /* trailer fields so far */
    struct span
        trailer; /* what the last call read of the trailer section, borrowed from its input */
    const char *reason; /* REFUSED: why, static storage */
};

void http_chunked_init(struct http_chunked *chunked);

/* Advance *input. *out_data is the next piece of payload, borrowed from the input, and may be
 * empty. INCOMPLETE: call again while *input is not empty, then with the bytes that come next.
 * COMPLETE: the body is over, *input begins behind it. REFUSED: chunked->reason; stays so.
 *   while ((result = http_chunked_next(&c, &input, &piece)) == HTTP_INCOMPLETE) {
 *       use(piece);
 *       if (input.size == 0)
 *           break;
 *   } */
WEIR_MUST_USE enum http_result http_chunked_next(struct http_chunked *chunked, struct span *input,
                                                 struct span *out_data);

/* The next field of a trailer section that was kept whole. False at its end. */
bool http_trailer_next(struct span *rest, struct span *out_name, struct span *out_value);
/* RFC 9110 6.5.1: whoever reads trailers may merge them into the head. So none of a name that means
 * something to weir or to what is around it goes on but ETag: no framing, routing, authentication,
 * cookies, caching, content. Names nobody here knows (checksums, grpc-status) do. */
bool http_trailer_may_pass(struct span name);

/* "<hex>\r\n" for a chunk of `size` bytes (not 0: that would end the body); returns its length. The
 * payload is followed by HTTP_CHUNK_TAIL, the body by HTTP_CHUNK_LAST. */
size_t http_chunk_head(char out[HTTP_CHUNK_HEAD_MAX], size_t size);
#define HTTP_CHUNK_TAIL SPAN("\r\n")
#define HTTP_CHUNK_LAST SPAN("0\r\n\r\n")

#endif
