#include "policy_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/build.h"

static const char source[] =
    "#include <weir/weir.h>\n"
    "typedef struct { weir_str host; } redis;\n"
    "typedef struct { weir_str tag; redis redis; int64_t starts; } conf;\n"
    "static const weir_field redis_rows[] = {WEIR_STRING(redis, host)};\n"
    "static const weir_field rows[] = {WEIR_STRING(conf, tag),\n"
    "    WEIR_RECORD(conf, redis, redis, redis_rows)};\n"
    "#ifdef CREDENTIALS\n"
    "typedef struct { weir_str key, label; } secret;\n"
    "static const weir_field secret_rows[] = {WEIR_STRING(secret, key, .flags = WEIR_SECRET),\n"
    "    WEIR_STRING(secret, label)};\n"
    "#define KIND(collection_) {.collection = collection_, .fields = secret_rows,\\\n"
    "    .field_count = 2, .field_stride = sizeof(weir_field), .unique_key = \"key\",\\\n"
    "    .data_size = sizeof(secret)}\n"
    "static const weir_credential_kind kinds[] = {KIND(\"first_keys\"), KIND(\"second_keys\")};\n"
    "#endif\n"
    "static int is(weir_str have, weir_str want)\n"
    "{ if (have.size != want.size) return 0;\n"
    "  for (size_t i = 0; i < want.size; i++) if (have.data[i] != want.data[i]) return 0;\n"
    "  return 1; }\n"
    "static int configure(void *self, weir_error *error)\n"
    "{ conf *c = self;\n"
    "  if (is(c->tag, WEIR_LIT(\"silent\"))) return 1;\n"
    "  if (is(c->tag, WEIR_LIT(\"at host\")))\n"
    "  { weir_error_at(error, \"redis.host\", \"no such %s\", \"host\"); return 1; }\n"
    "  if (is(c->tag, WEIR_LIT(\"at tag\"))) weir_error_at(error, \"tag\", \"a bad tag\");\n"
    "  if (is(c->tag, WEIR_LIT(\"at root\"))) weir_error_at(error, NULL, \"all of it\");\n"
    "  if (is(c->tag, WEIR_LIT(\"dict\"))) return !weir_dict_open(error, self,\n"
    "      WEIR_LIT(\"hits\"), 1, 16, 8);\n"
    "  return 0; }\n"
    "static int start(void *self)\n"
    "{ conf *c = self; c->starts++; return is(c->tag, WEIR_LIT(\"lazy\")); }\n"
    "static void stop(void *self) { conf *c = self; c->starts -= 10; }\n"
    "static weir_verdict hook(weir_request *r, void *s, void *c)\n"
    "{ (void)r, (void)s, (void)c; return WEIR_NEXT; }\n"
    "static weir_verdict body(weir_request *r, void *s, void *c, weir_str chunk, bool last)\n"
    "{ (void)r, (void)s, (void)c, (void)chunk, (void)last; return WEIR_NEXT; }\n"
    "static void finish(weir_request *r, void *s, void *c) { (void)r, (void)s, (void)c; }\n"
    "static const void *const unused[] = {(const void *)hook, (const void *)body,\n"
    "    (const void *)finish, unused};\n"
    "#ifndef CAPABILITIES\n#define CAPABILITIES 0\n#endif\n"
    "WEIR_PLUGIN(NAME, \"1.0.0\", CAPABILITIES, .priority = PRIORITY, WEIR_SELF(conf),\n"
    "    WEIR_FIELDS(rows), .configure = configure, .start = start, .stop = stop,\n"
    "#ifdef CREDENTIALS\n    WEIR_CREDENTIALS(kinds),\n#endif\n"
    "    MORE);\n";

void fixture_open(struct fixture *f, const struct host_services *services)
{
    *f = (struct fixture){.folder = "/tmp/weir-test-policies-XXXXXX"};
    cr_assert_not_null(mkdtemp(f->folder));
    struct idle_plugins *plugins = &f->plugins;
    cr_assert_not_null(plugins->shared = shared_create(1 << 22, 1));
    cr_assert_not_null(plugins->host = plugin_host_create(services, plugins->shared, 0));
    cr_assert_not_null(plugins->images = images_create(plugins->host, f->folder));
}

static void take_down(struct fixture *f)
{
    policies_stop(f->policies);
    f->policies = NULL;
    catalog_destroy(f->plugins.catalog);
    f->plugins.catalog = NULL;
    arena_destroy(f->arena);
    f->arena = NULL;
}

void fixture_close(struct fixture *f)
{
    char command[128];
    take_down(f);
    idle_plugins_close(&f->plugins);
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->folder);
    cr_expect_eq(system(command), 0);
}

void fixture_compile(const struct fixture *f, const char *file, const char *text, const char *flags)
{
    char command[1024], path[256];
    const char *root = getenv("WEIR_SOURCE_DIR");
    (void)snprintf(path, sizeof(path), "%s/%s.c", f->folder, file);
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    cr_assert_geq(fputs(text, out), 0);
    cr_assert_eq(fclose(out), 0);
    (void)snprintf(command, sizeof(command),
                   "cc -std=gnu11 -w -shared -fPIC -fvisibility=hidden -I%s/sdk/include %s "
                   "-o %s/%s.so %s",
                   root == NULL ? "." : root, flags, f->folder, file, path);
    cr_assert_eq(system(command), 0, "%s", command);
}

void fixture_plugin(struct fixture *f, const char *name, const char *flags)
{
    char all[512];
    (void)snprintf(all, sizeof(all), "-DNAME='\"%s\"' %s %s", name, flags,
                   strstr(flags, "-DMORE") == NULL ? "-DMORE=.access=hook" : "");
    fixture_compile(f, name, source, all);
}

void fixture_load(struct fixture *f, const char *yaml)
{
    take_down(f);
    f->config = NULL;
    cr_assert_not_null(f->plugins.catalog = catalog_create(f->folder, f->plugins.images));
    cr_assert_not_null(f->arena = arena_create(NULL));
    cr_assert_not_null(f->problems = problems_create(f->arena));
    f->err = config_load(f->arena, span_text(yaml), "kong.yml", catalog_view(f->plugins.catalog),
                         f->problems, &f->config);
    if (f->err == WEIR_OK)
        f->err = policies_build(f->arena, f->plugins.host, f->config, f->plugins.catalog,
                                f->problems, &f->policies);
}

const char *fixture_problems(struct fixture *f)
{
    static char text[8192];
    AUTO_BUF out = BUF_INIT;
    for (size_t i = 0; i < problems_count(f->problems); i++) {
        problem_print_line(f->problems, problems_at(f->problems, i), &out);
        buf_byte(&out, '\n');
    }
    (void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(buf_view(&out)));
    return text;
}

const struct route *fixture_route(const struct fixture *f, const char *name)
{
    const struct route *route = config_route(f->config, span_text(name));
    cr_assert_not_null(route, "%s", name);
    return route;
}

const struct consumer *fixture_consumer(const struct fixture *f, const char *name)
{
    const struct consumer *consumer = config_consumer(f->config, span_text(name));
    cr_assert_not_null(consumer, "%s", name);
    return consumer;
}

static size_t add_name(char *text, size_t size, size_t used, const struct running_policy *policy)
{
    struct span name = policy->policy->instance_name;
    if (!span_is_set(name))
        name = policy->policy->name;
    int more = snprintf(text + used, size - used, "%s%.*s", used > 0 ? " " : "", SPAN_ARG(name));
    return used + (size_t)more;
}

const char *members_text(const struct chain_set *set)
{
    static char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (uint16_t i = 0; i < set->member_count; i++)
        used = add_name(text, sizeof(text), used, set->members[i]);
    return text;
}

const char *phase_text(const struct chain_set *set, enum phase phase)
{
    static char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (uint16_t i = 0; i < set->phases[phase].count; i++)
        used = add_name(text, sizeof(text), used, set->phases[phase].entries[i].policy);
    return text;
}
