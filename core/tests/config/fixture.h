/* A catalog of make-believe plugins with the fields that the tests' files use, and a loader. */
#ifndef WEIR_TESTS_CONFIG_FIXTURE_H
#define WEIR_TESTS_CONFIG_FIXTURE_H

#include "config/build.h"

struct fake_redis {
    weir_str host, password;
    int64_t port, database;
};
struct fake_rate_limiting {
    int64_t second, minute, hour;
    weir_str policy, limit_by;
    bool hide_client_headers, fault_tolerant;
    struct fake_redis redis;
    int64_t window_ms;
};

struct fake_key {
    weir_str key;
};

extern const struct plugin_catalog fake_catalog;

struct loaded {
    struct arena *arena;
    struct problems *problems;
    struct config *config;
    enum weir_err err;
};
struct loaded load_text(struct span text);
struct loaded load_file(const char *name); /* of data/ */
void loaded_free(struct loaded *loaded);
/* Everything that would be printed. Borrowed until the next call. */
const char *loaded_print(struct loaded *loaded);
const struct policy *find_policy(const struct config *config, const char *name);

#endif
