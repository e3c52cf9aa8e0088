/* What the tests of response-transformer share. */
#ifndef RESPONSE_TRANSFORMER_KITS_H
#define RESPONSE_TRANSFORMER_KITS_H

#include <weir_testkit.h>

/* One global policy with that `config`; further plugins may follow as YAML flow maps. */
struct kit *open_kit(const char *config, const char *others);
/* Why that configuration is refused; NULL: it is not. */
const char *refusal(const char *config);
/* A GET of `target` that the service answers with `status`, a Content-Type and a body. */
kit_request *ask(struct kit *kit, const char *target, int status, const char *type,
                 const char *body);
/* What the client gets for a JSON body under that configuration. Lives until the next call. */
const char *edited(const char *config, const char *body);

#endif
