/* "0.0.0.0:8443 ssl http2 backlog=1024, unix:/run/x.sock" -> addresses. Private to this room. */
#ifndef WEIR_CONFIG_LISTEN_H
#define WEIR_CONFIG_LISTEN_H

#include "base/arena.h"
#include "config/settings.h"

/* "off" and "" are an empty list. INVALID: `why` names the entry and what is wrong with it. */
WEIR_MUST_USE enum weir_err listen_parse(struct arena *arena, struct span text,
                                         struct listen_list *out_list, char *why, size_t why_size);
/* "80:8000,443:8443". */
WEIR_MUST_USE enum weir_err port_maps_parse(struct arena *arena, struct span text,
                                            struct port_map_list *out_list, char *why,
                                            size_t why_size);

#endif
