/* A token in compact form (RFC 7515 7.1), taken apart and read, not yet believed. Written for
 * hostile texts: one spelling for each byte, no member twice, bounded in size, depth and members.
 */
#ifndef JWT_TOKEN_H
#define JWT_TOKEN_H

#include <weir/json.h>

#include "key.h"

enum { TOKEN_BYTES_MAX = 16384 };

struct token {
    weir_str text;
    weir_str signed_text; /* header and claims as sent, with the dot between */
    weir_str signature;   /* its bytes */
    weir_json *header, *claims;
    weir_str claims_text;
    const struct algorithm *algorithm; /* what the header claims; decides nothing */
};

typedef enum token_fault {
    TOKEN_FINE,
    TOKEN_TOO_LARGE,
    TOKEN_BAD_JSON,
    TOKEN_BAD_ALGORITHM,
    TOKEN_BAD_CLAIMS,
    TOKEN_BAD_SIGNATURE,
    TOKEN_CRITICAL, /* asks for an extension that must be understood */
    TOKEN_NO_MEMORY,
} token_fault;

/* The first fault in the order above. What *out points to lives as long as the request. */
token_fault token_read(weir_request *request, weir_str text, struct token *out);
/* The claims of a token that was read before, as JSON; absent: no memory. */
weir_str token_claims_text(weir_request *request, weir_str text);
/* No member of any object in it twice, and none with too many. False: no memory, too. */
bool token_names_are_single(weir_json *json, weir_json_value *value, weir_alloc *alloc, void *user);

#endif
