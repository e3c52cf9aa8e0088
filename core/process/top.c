#include "process/top.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "plugin_host/builds.h"

static void report_gateway(struct shared *shared, struct buf *out)
{
    uint64_t requests = 0, active = 0;
    uint32_t running = 0;
    for (uint32_t i = 0; i < shared_workers(shared); i++) {
        const struct worker_slot *slot = shared_worker(shared, i);
        requests += __atomic_load_n(&slot->requests, __ATOMIC_RELAXED);
        active += __atomic_load_n(&slot->active, __ATOMIC_RELAXED);
        running += __atomic_load_n(&slot->pid, __ATOMIC_RELAXED) != 0;
    }
    buf_printf(out, "gateway %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 "\n", requests, active,
               running, shared_workers(shared));
}

/* A plugin says these of itself: what would look like another word does not get through. */
static void put_word(struct buf *out, const char *text)
{
    if (text[0] == '\0')
        buf_byte(out, '?');
    for (; *text != '\0'; text++)
        buf_byte(out, *text > ' ' && *text < 0x7f ? *text : '_');
}

static void report_build(const struct build_name *name, const struct build_totals *totals,
                         struct buf *out)
{
    buf_text(out, "build ");
    put_word(out, name->plugin);
    buf_byte(out, ' ');
    put_word(out, name->hash);
    const uint64_t numbers[] = {totals->loaded,        totals->pinned,    totals->policies,
                                totals->in_flight,     totals->suspended, totals->exchanges,
                                totals->server_errors, totals->latency_us};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        buf_printf(out, " %" PRIu64, numbers[i]);
    buf_byte(out, ' ');
    put_word(out, name->version);
    buf_byte(out, '\n');
    for (int i = 0; i < PHASE_COUNT; i++) {
        const struct build_phase *phase = &totals->phases[i];
        uint64_t calls = 0;
        for (size_t verdict = 0; verdict < BUILD_VERDICTS; verdict++)
            calls += phase->verdicts[verdict];
        if (calls > 0)
            buf_printf(
                out, "phase %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                phase_name((enum phase)i), phase->verdicts[BUILD_NEXT], phase->verdicts[BUILD_DONE],
                phase->verdicts[BUILD_WAIT], phase->verdicts[BUILD_FAIL], phase->time_ns);
    }
}

void top_report(struct shared *shared, struct control_client *client)
{
    AUTO_BUF text = BUF_INIT;
    buf_printf(&text, "time %" PRIu64 "\n", clock_precise_us());
    report_gateway(shared, &text);
    for (uint32_t i = 0; i < builds_count(shared); i++) {
        struct build_name name;
        struct build_totals totals;
        if (builds_name(shared, i, &name) && builds_read(shared, i, -1, &totals))
            report_build(&name, &totals, &text);
    }
    if (text.failed)
        control_answer(client, EXIT_FAILURE, SPAN("no memory for the answer\n"));
    else
        control_answer(client, EXIT_SUCCESS, buf_view(&text));
}
