/* Every way the world can fail us: one row owns the name, the status a client sees (0: never
 * reaches a client) and the sentence. Sentences with a status are Kong's, clients already match on
 * them. */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include "base/check.h"

/* clang-format off */
#define WEIR_ERRORS(X)                                                                             \
    X(OK,                  0, "ok")                                                                \
    X(NO_MEMORY,         500, "An unexpected error occurred")                                      \
    X(INTERNAL,          500, "An unexpected error occurred")                                      \
    X(SYSTEM,              0, "the operating system refused")                                      \
    X(NOT_FOUND,           0, "not found")                                                         \
    X(EXISTS,              0, "already there")                                                     \
    X(INVALID,             0, "invalid value")                                                     \
    X(LIMIT,               0, "a limit was reached")                                               \
    X(AGAIN,               0, "not ready yet")                                                     \
    X(CLOSED,              0, "the other side closed the connection")                              \
    X(TIMEOUT,             0, "the deadline passed")                                               \
    X(REFUSED,             0, "refused")                                                           \
    X(CONFIG,              0, "the configuration has errors")                                      \
    X(BAD_REQUEST,       400, "Bad request")                                                       \
    X(HEAD_TOO_LARGE,    400, "Request header or cookie too large")                                \
    X(URI_TOO_LONG,      414, "URI too long")                                                      \
    X(METHOD_REFUSED,    405, "Method not allowed")                                                \
    X(REQUEST_TIMEOUT,   408, "Request timeout")                                                   \
    X(LENGTH_REQUIRED,   411, "Length required")                                                   \
    X(BODY_TOO_LARGE,    413, "Payload too large")                                                 \
    X(EXPECT_FAILED,     417, "Expectation failed")                                                \
    X(VERSION_REFUSED,   505, "HTTP version not supported")                                        \
    X(CODING_REFUSED,    501, "Not implemented")                                                   \
    X(NO_ROUTE,          404, "no Route matched with those values")                                \
    X(HTTPS_ONLY,        426, "Please use HTTPS protocol")                                         \
    X(NO_SERVICE,        503, "no Service found with those values")                                \
    X(NO_TARGET,         503, "failure to get a peer from the ring-balancer")                      \
    X(NO_NAME,           503, "name resolution failed")                                            \
    X(TARGET_BAD,        502, "An invalid response was received from the upstream server")         \
    X(TARGET_BUSY,       503, "The upstream server is currently unavailable")                      \
    X(OVERLOADED,        503, "The gateway is overloaded")                                         \
    X(TARGET_TIMEOUT,    504, "The upstream server is timing out")                                 \
    X(POLICY_FAILED,     500, "An unexpected error occurred")
/* clang-format on */

enum weir_err {
#define X(name, status, text) WEIR_ERR_##name,
    WEIR_ERRORS(X)
#undef X
        WEIR_ERR_COUNT
};
#define WEIR_OK WEIR_ERR_OK

/* The status a client is answered with, 0 when the error never reaches one. */
int weir_err_status(enum weir_err err);
/* The sentence, never NULL, static storage. */
const char *weir_err_text(enum weir_err err);

#endif
