/* Where a request carries its token. */
#ifndef JWT_FIND_H
#define JWT_FIND_H

#include "jwt.h"

enum found { FOUND_NONE, FOUND_ONE, FOUND_SEVERAL };

/* In the query, in cookies, in headers; the same token in several places is one. */
enum found find_token(weir_request *request, const jwt_policy *policy, weir_str *out_token);

#endif
