/* What a client gets whose request may not pass. */
#ifndef JWT_ANSWER_H
#define JWT_ANSWER_H

#include "check.h"

/* False: no memory, and nothing was answered. */
bool answer(weir_request *request, const jwt_policy *policy, refusal why, const checked *about);

#endif
