/* The words of a service's `retry_on`. Private to this room; what they mean afterwards:
 * entities.h. */
#ifndef WEIR_CONFIG_RETRIES_H
#define WEIR_CONFIG_RETRIES_H

#include "config/entities.h"

/* What may stand in the list, NULL at the end. */
extern const char *const retry_on_names[];
/* RETRY_ON_… of a list of them; a list that is absent (or null) is the default, an empty one is
 * none. */
uint32_t retry_on_of(const struct span_list *names);

#endif
