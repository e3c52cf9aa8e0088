/* What the admin listener says of upstreams and may be told about their targets, in Kong's paths
 * and documents:
 *   GET /upstreams/U/health[?balancer_health=1]
 *   PUT /upstreams/U/targets/T/healthy or unhealthy, or with an address: …/T/10.0.0.1:80/healthy
 * U and T are names ("host:port" of a target) or ids. Private to this room. */
#ifndef WEIR_ADMIN_UPSTREAMS_H
#define WEIR_ADMIN_UPSTREAMS_H

#include "admin/admin.h"
#include "admin/server.h"

/* False: it is none of these paths. */
bool upstreams_answer(const struct admin_options *node, const struct server_request *request,
                      struct server_reply *reply);

#endif
