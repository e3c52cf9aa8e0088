/* What the tests of this folder share: one configuration, and requests with one token. */
#ifndef JWT_KIT_H
#define JWT_KIT_H

#include <weir_testkit.h>

#include "sign.h"

#define NOW 1767225600 /* the kit's clock: 2026-01-01 00:00:00 UTC */
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define ISS1 "{\"iss\":\"iss-1\"}"
#define BEARER "Bearer error=\"invalid_token\""
#define SECRET "s3cret"

/* The policy with `config`; the consumer jo has the credentials iss-1 (HS256), iss-384, iss-512 and
 * iss-b64, and those of `more`, indented by 4. kit_error() tells why it is NULL. */
struct kit *jwt_try(const char *config, const char *more);
struct kit *jwt_open(const char *config, const char *more);

/* GET /a with that token as Bearer; NULL: without one. Run. */
kit_request *jwt_send(struct kit *kit, const char *token);
int jwt_status(struct kit *kit, const char *token);
/* It is refused with that message; returns the request. */
void jwt_refused(struct kit *kit, const char *reason, const char *token, const char *message);
void jwt_passes(struct kit *kit, const char *reason, const char *token, const char *consumer);

/* HS256 of iss-1. */
const char *jwt_token(const char *claims);

#endif
