/* Nothing that is written in a file, and no lack of memory, brings the loader down. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "fixture.h"

static const char sample[] =
    "_format_version: \"3.0\"\nservices:\n- {name: s, url: 'http://h:80/p', routes: [{name: r, "
    "paths: "
    "['/a', '~/b(c)'], plugins: [{name: cors, config: {origins: ['*']}}]}]}\nconsumers:\n- "
    "username: "
    "u\n  keyauth_credentials: [{key: k1}]\n  acls: [{group: g}]\nupstreams:\n- name: up\n  "
    "healthchecks: {active: {headers: {a: [b]}}}\n  targets: [{target: 'h:1'}]\nplugins:\n- name: "
    "rate-limiting\n  service: s\n  config: {minute: 5, redis_host: h, redis: {port: 1}}\n"
    "certificates: [{cert: c, key: d, snis: [{name: x.test}]}]\nvaults: [{name: env, prefix: "
    "v-a}]\n";

Test(config_robust, every_cut_of_a_configuration_is_survived)
{
    for (size_t i = 0; i < sizeof(sample); i++) {
        struct loaded loaded = load_text(span_of(sample, i));
        cr_expect(loaded.err == WEIR_OK || problems_errors(loaded.problems) > 0, "cut at %zu", i);
        loaded_free(&loaded);
    }
}

Test(config_robust, any_byte_may_be_another_one)
{
    static const char bytes[] = "{}[]:,-*&!|>'\"%@`#~? \n\t\\0a$";
    unsigned seed = 1;
    for (size_t i = 0; i < 4000; i++) {
        char text[sizeof(sample)];
        memcpy(text, sample, sizeof(sample));
        for (int changes = 0; changes < 2; changes++) {
            seed = seed * 1103515245u + 12345u;
            text[(seed >> 8) % (sizeof(sample) - 1)] = bytes[(seed >> 4) % (sizeof(bytes) - 1)];
        }
        struct loaded loaded = load_text(span_of(text, sizeof(sample) - 1));
        cr_expect(loaded.err == WEIR_OK || problems_errors(loaded.problems) > 0);
        loaded_print(&loaded);
        loaded_free(&loaded);
    }
}

Test(config_robust, no_memory_at_any_point_is_an_error_not_a_crash)
{
    enum weir_err last = WEIR_ERR_NO_MEMORY;
    for (size_t limit = 512; limit < 400000 && last != WEIR_OK; limit += limit / 16) {
        struct arena *arena = arena_create(NULL);
        struct arena *texts = arena_create(NULL);
        struct problems *problems = problems_create(texts);
        struct config *config = NULL;
        arena_limit(arena, limit);
        last = config_load(arena, span_of(sample, sizeof(sample) - 1), "f", &fake_catalog, problems,
                           &config);
        cr_expect(last == WEIR_OK ? config != NULL : config == NULL, "at %zu: %d", limit, last);
        cr_expect(last == WEIR_OK || last == WEIR_ERR_NO_MEMORY, "at %zu: %d", limit, last);
        arena_destroy(arena);
        arena_destroy(texts);
    }
    cr_expect_eq(last, WEIR_OK);
}
