/* weir_plugin_…: what each build of a plugin does and costs, over all workers. A build that no
 * worker has loaded any more is shown until its slot is needed (builds.h). */
#include <inttypes.h>

#include "admin/node.h"
#include "plugin_host/builds.h"

enum { BUILDS_AT_ONCE = 8, BUILD_TEXT = 12 /* digits of a hash, as everywhere */ };

bool node_builds_wanted(const struct node_scrape *scrape)
{
    return builds_count(scrape->shared) > 0;
}

/* NAME{plugin="…",build="…" and no end yet. */
static void begin(struct buf *out, const struct node_family *family, const struct build_name *build)
{
    buf_printf(out, "%s{plugin=", family->name);
    buf_json(out, span_text(build->plugin)); /* labels are escaped as strings of JSON are */
    buf_printf(out, ",build=\"%.*s\"", BUILD_TEXT, build->hash);
}

static void end_seconds(struct buf *out, uint64_t ns)
{
    buf_printf(out, "} %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000U, ns % 1000000000U);
}

typedef void tell_build(struct buf *out, const struct node_family *family,
                        const struct build_name *build, const struct build_totals *totals);

static bool each_build(struct node_scrape *scrape, const struct node_family *family,
                       struct buf *out, tell_build *tell)
{
    struct build_name name;
    struct build_totals totals;
    uint32_t count = builds_count(scrape->shared);
    for (size_t i = 0; i < BUILDS_AT_ONCE && scrape->build < count; i++, scrape->build++)
        if (builds_name(scrape->shared, scrape->build, &name) &&
            builds_read(scrape->shared, scrape->build, -1, &totals))
            tell(out, family, &name, &totals);
    if (scrape->build < count)
        return true;
    scrape->build = 0;
    return false;
}

/* ---- families of one number */

static void tell_number(struct buf *out, const struct node_family *family,
                        const struct build_name *build, const struct build_totals *totals)
{
    uint64_t value;
    memcpy(&value, (const char *)totals + family->offset, sizeof(value));
    begin(out, family, build);
    buf_printf(out, "} %" PRIu64 "\n", value);
}

bool node_builds_number(struct node_scrape *scrape, const struct node_family *family,
                        struct buf *out)
{
    return each_build(scrape, family, out, tell_number);
}

/* ---- others */

static void tell_info(struct buf *out, const struct node_family *family,
                      const struct build_name *build, const struct build_totals *totals)
{
    (void)totals;
    begin(out, family, build);
    buf_text(out, ",version=");
    buf_json(out, span_text(build->version));
    buf_text(out, "} 1\n");
}

bool node_builds_info(struct node_scrape *scrape, const struct node_family *family, struct buf *out)
{
    return each_build(scrape, family, out, tell_info);
}

static uint64_t calls_in(const struct build_phase *phase)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < BUILD_VERDICTS; i++)
        calls += phase->verdicts[i];
    return calls;
}

static void tell_calls(struct buf *out, const struct node_family *family,
                       const struct build_name *build, const struct build_totals *totals)
{
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (int verdict = 0; verdict < BUILD_VERDICTS; verdict++) {
            uint64_t calls = totals->phases[phase].verdicts[verdict];
            if (calls == 0)
                continue;
            begin(out, family, build);
            buf_printf(out, ",phase=\"%s\",verdict=\"%s\"} %" PRIu64 "\n",
                       phase_name((enum phase)phase),
                       build_verdict_name((enum build_verdict)verdict), calls);
        }
}

bool node_builds_calls(struct node_scrape *scrape, const struct node_family *family,
                       struct buf *out)
{
    return each_build(scrape, family, out, tell_calls);
}

static void tell_seconds(struct buf *out, const struct node_family *family,
                         const struct build_name *build, const struct build_totals *totals)
{
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        if (calls_in(&totals->phases[phase]) == 0)
            continue;
        begin(out, family, build);
        buf_printf(out, ",phase=\"%s\"", phase_name((enum phase)phase));
        end_seconds(out, totals->phases[phase].time_ns);
    }
}

bool node_builds_seconds(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out)
{
    return each_build(scrape, family, out, tell_seconds);
}

static void tell_latency(struct buf *out, const struct node_family *family,
                         const struct build_name *build, const struct build_totals *totals)
{
    begin(out, family, build);
    end_seconds(out, totals->latency_us * 1000);
}

bool node_builds_latency(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out)
{
    return each_build(scrape, family, out, tell_latency);
}
