/* Dictionaries in shared memory: what the host table's dict_* calls do. Keys are kept as a keyed
 * 128-bit fingerprint, so their length costs nothing and nobody outside can make two collide. A
 * worker that dies inside one leaves whole entries and no lock. Times are CLOCK_MONOTONIC through
 * base/clock.h, which is the same in every process. [worker] */
#ifndef WEIR_PLUGIN_HOST_DICT_H
#define WEIR_PLUGIN_HOST_DICT_H

#include <weir/weir.h>

#include "plugin_host/shared.h"

/* weir_dict is the ABI's opaque handle; it belongs to this process and is freed with dict_close().
 */

/* Open or make. `owner` is the plugin's name. NULL: full or bad arguments, `why` says. */
WEIR_MUST_USE weir_dict *dict_open(struct shared *shared, struct span owner, struct span name,
                                   uint32_t layout, uint32_t entries, uint32_t value_size,
                                   char *why, size_t why_size);
void dict_close(weir_dict *dict);
/* The one that was opened last under that name, as it is; NULL: none was. Entries that have not
 * ended. For tests. */
WEIR_MUST_USE weir_dict *dict_find(struct shared *shared, struct span owner, struct span name);
size_t dict_count(weir_dict *dict);
uint32_t dict_value_size(const weir_dict *dict);
weir_status dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size);
weir_status dict_set(weir_dict *dict, weir_str key, const void *value, size_t size, int64_t ttl_ms);
weir_status dict_remove(weir_dict *dict, weir_str key);
weir_status dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                     int64_t *out_value);
weir_status dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value);
weir_status dict_take(weir_dict *dict, weir_take *counters, size_t count);

#endif
