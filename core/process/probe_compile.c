/* What the probe child does, and the report it writes: a fixed head, then the names of builds, the
 * build of every policy, and text. Both sides are one program, so the head is a plain struct. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "gateway/generation.h"
#include "plugin_host/images.h"
#include "process/probe.h"

#define REPORT_MAGIC 0x77707231u

struct report_head {
    uint32_t magic;
    int32_t code;
    uint64_t number;
    struct probe_facts facts;
    uint32_t build_count, policy_count, text_size;
};

enum { BUILDS_MAX = 1024 };

void manifest_free(struct manifest *manifest)
{
    free(manifest->builds);
    free(manifest->policies);
    *manifest = (struct manifest){0};
}

const struct manifest_build *manifest_find(const struct manifest *manifest, const char *plugin)
{
    for (uint32_t i = 0; i < manifest->build_count; i++)
        if (strcmp(manifest->builds[i].name, plugin) == 0)
            return &manifest->builds[i];
    return NULL;
}

static void fill_build(struct manifest_build *build, const struct running_policy *policy)
{
    const weir_plugin *plugin = image_plugin(policy->image);
    memset(build, 0, sizeof(*build));
    (void)snprintf(build->name, sizeof(build->name), "%s", plugin->name);
    (void)snprintf(build->version, sizeof(build->version), "%s",
                   plugin->version == NULL ? "?" : plugin->version);
    memcpy(build->hash.text, image_hash(policy->image).data, IMAGE_HASH_TEXT);
    (void)snprintf(build->text, sizeof(build->text), "%.63s %.31s (build %.12s)", build->name,
                   build->version, build->hash.text);
    build->pinned = image_is_pinned(policy->image);
    build->quarantined = policy->quarantined;
}

static uint32_t find_build(struct manifest *manifest, const struct running_policy *policy)
{
    uint32_t at = 0;
    while (at < manifest->build_count && strncmp(manifest->builds[at].name, policy->plugin->name,
                                                 sizeof(manifest->builds[at].name) - 1) != 0)
        at++;
    if (at < BUILDS_MAX) {
        if (at == manifest->build_count)
            fill_build(&manifest->builds[manifest->build_count++], policy);
        manifest->builds[at].policies++;
    }
    return at;
}

static bool list_builds(struct manifest *manifest, const struct policies *policies)
{
    size_t count = policies == NULL ? 0 : policies_count(policies);
    manifest->builds = calloc(BUILDS_MAX, sizeof(*manifest->builds));
    manifest->policies = calloc(count + 1, sizeof(*manifest->policies));
    if (manifest->builds == NULL || manifest->policies == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct running_policy *policy = policies_at(policies, i);
        if (policy->index < count)
            manifest->policies[policy->index] = (uint16_t)find_build(manifest, policy);
    }
    manifest->policy_count = (uint32_t)count;
    return true;
}

static void fill_facts(struct probe_facts *facts, const struct generation *generation)
{
    const struct config *config = generation->config;
    *facts = (struct probe_facts){.services = (uint32_t)config->service_count,
                                  .routes = (uint32_t)config->route_count,
                                  .consumers = (uint32_t)config->consumer_count,
                                  .upstreams = (uint32_t)config->upstream_count,
                                  .policies = (uint32_t)config->policy_count,
                                  .log_level = generation->settings.level};
    struct span hash = span_first(config->hash, sizeof(facts->hash));
    if (hash.size > 0)
        memcpy(facts->hash, hash.data, hash.size);
}

static enum weir_err build(struct instance *instance, struct span text, uint64_t number,
                           const struct plugin_sources *plugins, struct plugin_host *host,
                           struct images *images, struct buf *out_text,
                           struct generation **out_generation)
{
    const struct run_options *options = instance->options;
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct problems *problems = arena == NULL ? NULL : problems_create(arena);
    if (problems == NULL)
        return WEIR_ERR_NO_MEMORY;
    struct generation_source source = {.text = text,
                                       .file = options->file,
                                       .flags = options->flags,
                                       .flag_count = options->flag_count,
                                       .plugin_path = options->plugin_path,
                                       .plugins = *plugins,
                                       .host = host,
                                       .images = images,
                                       .number = number};
    enum weir_err err = generation_build(&source, problems, out_generation);
    problems_print(problems, out_text, false);
    return err;
}

static enum weir_err compile(struct instance *instance, const struct revision *revision,
                             const struct plugin_sources *plugins, struct shared *shared,
                             struct probe_result *result, struct buf *out_text)
{
    struct mapped_text mapped = {.text = SPAN_NONE};
    struct generation *generation = NULL;
    struct plugin_host *host = plugin_host_create(NULL, shared, 0);
    struct images *images =
        host == NULL ? NULL
                     : images_create(host, prefix_build(&instance->prefix, revision->number));
    crash_set_host(host);
    enum weir_err err =
        images == NULL ? WEIR_ERR_NO_MEMORY : mapped_text_open(revision->fd, &mapped);
    if (err == WEIR_OK)
        err = build(instance, mapped.text, revision->number, plugins, host, images, out_text,
                    &generation);
    if (err == WEIR_OK && !list_builds(&result->manifest, generation->policies))
        err = WEIR_ERR_NO_MEMORY;
    if (err == WEIR_OK && !prefix_build_seal(&instance->prefix, revision->number))
        err = WEIR_ERR_SYSTEM;
    if (err == WEIR_OK) {
        fill_facts(&result->facts, generation);
        settings_compare(&instance->settings, &generation->settings, instance->options->file,
                         out_text);
    }
    generation_unpin(generation);
    images_destroy(images);
    crash_set_host(NULL);
    plugin_host_destroy(host);
    mapped_text_close(&mapped);
    return err;
}

int probe_compile(struct instance *instance, const struct revision *revision,
                  const struct plugin_sources *plugins, struct shared *shared,
                  struct buf *out_report)
{
    AUTO_BUF text = BUF_INIT;
    struct probe_result result = {0};
    enum weir_err err = compile(instance, revision, plugins, shared, &result, &text);
    result.code = err == WEIR_OK           ? EXIT_FINE
                  : err == WEIR_ERR_CONFIG ? EXIT_BAD_CONFIG
                                           : EXIT_FAILED;
    if (result.code == EXIT_FAILED)
        buf_printf(&text, "%s: %s\n", instance->options->file, weir_err_text(err));
    struct manifest *manifest = &result.manifest;
    struct report_head head;
    memset(&head, 0, sizeof(head)); /* no stray bytes in the padding */
    head.magic = REPORT_MAGIC;
    head.code = result.code;
    head.number = revision->number;
    head.facts = result.facts;
    head.build_count = manifest->build_count;
    head.policy_count = manifest->policy_count;
    head.text_size = (uint32_t)text.size;
    buf_append(out_report, &head, sizeof(head));
    if (manifest->build_count > 0)
        buf_append(out_report, manifest->builds, manifest->build_count * sizeof(*manifest->builds));
    if (manifest->policy_count > 0)
        buf_append(out_report, manifest->policies,
                   manifest->policy_count * sizeof(*manifest->policies));
    buf_span(out_report, buf_view(&text));
    manifest_free(manifest);
    out_report->failed = out_report->failed || text.failed;
    return result.code;
}

static const void *cut(struct span *rest, size_t size)
{
    const void *piece = rest->data;
    *rest = span_from(*rest, size);
    return piece;
}

bool probe_parse(struct span report, struct probe_result *out_result)
{
    struct report_head head;
    if (report.size < sizeof(head))
        return false;
    memcpy(&head, cut(&report, sizeof(head)), sizeof(head));
    struct probe_result result = {.code = head.code, .facts = head.facts};
    struct manifest *manifest = &result.manifest;
    size_t builds = (size_t)head.build_count * sizeof(*manifest->builds);
    size_t policies = (size_t)head.policy_count * sizeof(*manifest->policies);
    if (head.magic != REPORT_MAGIC || head.build_count > BUILDS_MAX ||
        report.size != builds + policies + head.text_size)
        return false;
    manifest->builds = malloc(builds + 1);
    manifest->policies = malloc(policies + 1);
    if (manifest->builds == NULL || manifest->policies == NULL) {
        manifest_free(manifest);
        return false;
    }
    memcpy(manifest->builds, cut(&report, builds), builds);
    memcpy(manifest->policies, cut(&report, policies), policies);
    manifest->number = head.number;
    manifest->build_count = head.build_count;
    manifest->policy_count = head.policy_count;
    result.text = report;
    *out_result = result;
    return true;
}
