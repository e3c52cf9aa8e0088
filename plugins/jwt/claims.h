/* What the claims of a verified token say: who made it and for whom, what it allows, and what the
 * target is told of it. */
#ifndef JWT_CLAIMS_H
#define JWT_CLAIMS_H

#include "jwt.h"
#include "token.h"

/* A member of the top object, else the way "realm.roles" goes down; NULL: there is none. */
weir_json_value *claim_find(weir_json *claims, weir_str path);
/* Of a string; absent: it is none, or no memory. */
weir_str claim_text(weir_json *claims, const weir_json_value *value);
/* NAN: no number, or one too large to be one. */
double claim_number(const weir_json_value *value);

/* `allowed_iss`, `allowed_aud`, `required_roles`, `required_scopes`. */
refusal claims_check(const jwt_policy *policy, weir_json *claims);
/* Those of `claims_to_headers`, in its order, absent where the claim is or cannot be sent; in
 * the request's memory. NULL: no memory. */
const weir_str *claims_values(weir_request *request, const jwt_policy *policy, weir_json *claims);

#endif
