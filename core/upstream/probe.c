/* One probe: connect, with TLS when asked for, and for HTTP a GET of which the first line of the
 * answer counts. One deadline over all of it. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/text.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "upstream/checks.h"

enum { ANSWER_BYTES = 13 }; /* "HTTP/1.1 200" and what ends the number */

struct probe {
    struct list link; /* checks->probes */
    struct checks *checks;
    struct peer_record *record; /* counted */
    struct dial *dial;
    struct conn *conn;
    struct deadline deadline;
    struct buf request;
    size_t sent, got;
    char answer[ANSWER_BYTES];
};

static void destroy(struct probe *probe)
{
    deadline_clear(&probe->deadline);
    dial_cancel(probe->dial);
    conn_close(probe->conn);
    list_remove(&probe->link);
    probe->checks->running--;
    record_release(probe->record);
    buf_free(&probe->request);
    free(probe);
}

static void end(struct probe *probe, enum pick_outcome outcome, unsigned status)
{
    struct checks *checks = probe->checks;
    bool was_full = checks->running >= checks->concurrency;
    checks_report(checks, probe->record, true, outcome, status);
    destroy(probe);
    if (was_full)
        checks_plan(checks);
}

static void on_late(struct deadline *deadline)
{
    end(LIST_ENTRY(deadline, struct probe, deadline), PICK_LATE, 0);
}

/* 0: no status line of HTTP/1. */
static unsigned status_of(const char answer[ANSWER_BYTES])
{
    uint64_t status = 0;
    bool framed = memcmp(answer, "HTTP/1.", 7) == 0 && answer[7] >= '0' && answer[7] <= '9' &&
                  answer[8] == ' ' &&
                  (answer[12] == ' ' || answer[12] == '\r' || answer[12] == '\n');
    return framed && text_to_u64(span_of(answer + 9, 3), &status) ? (unsigned)status : 0;
}

static void on_readable(struct conn *conn)
{
    struct probe *probe = conn_user(conn);
    ssize_t got = conn_read(conn, probe->answer + probe->got, ANSWER_BYTES - probe->got);
    if (got == CONN_AGAIN)
        return;
    if (got <= 0) {
        end(probe, PICK_UNREACHABLE, 0);
        return;
    }
    probe->got += (size_t)got;
    if (probe->got == ANSWER_BYTES)
        end(probe, PICK_ANSWERED, status_of(probe->answer));
}

static void send_on(struct conn *conn)
{
    struct probe *probe = conn_user(conn);
    while (probe->sent < probe->request.size) {
        struct iovec part = {probe->request.data + probe->sent, probe->request.size - probe->sent};
        ssize_t taken = conn_writev(conn, &part, 1);
        if (taken == CONN_AGAIN)
            return;
        if (taken <= 0) {
            end(probe, PICK_UNREACHABLE, 0);
            return;
        }
        probe->sent += (size_t)taken;
    }
}

static bool speaks_http(enum check_type type)
{
    return type == CHECK_HTTP || type == CHECK_HTTPS;
}

static void on_dialed(struct conn *conn, enum weir_err err, void *user)
{
    static const struct conn_events events = {on_readable, send_on};
    struct probe *probe = user;
    probe->dial = NULL;
    probe->conn = conn;
    if (conn == NULL) {
        end(probe, err == WEIR_ERR_TIMEOUT ? PICK_LATE : PICK_UNREACHABLE, 0);
    } else if (!speaks_http(probe->checks->type)) {
        end(probe, PICK_ANSWERED, CHECK_CONNECTED); /* gRPC's health service is not spoken */
    } else {
        conn_set_events(conn, &events, probe);
        send_on(conn);
    }
}

static bool make_request(struct probe *probe, struct span host)
{
    const struct checks *checks = probe->checks;
    struct buf *request = &probe->request;
    bool bare_v6 = span_find(host, ':') < host.size && host.data[0] != '[';
    buf_span(request, checks->request_head);
    if (!checks->has_host && checks->host_header.size > 0)
        buf_printf(request, "Host: %.*s\r\n", SPAN_ARG(checks->host_header));
    else if (!checks->has_host)
        buf_printf(request, bare_v6 ? "Host: [%.*s]\r\n" : "Host: %.*s\r\n", SPAN_ARG(host));
    buf_text(request, "User-Agent: weir/" WEIR_VERSION " (probe)\r\nConnection: close\r\n\r\n");
    return !request->failed;
}

static bool dial(struct probe *probe, struct span host)
{
    const struct checks *checks = probe->checks;
    struct span sni = checks->sni.size > 0 ? checks->sni : host;
    char name[SERVER_NAME_MAX + 1];
    if (sni.size > SERVER_NAME_MAX)
        return false;
    memcpy(name, sni.data, sni.size);
    name[sni.size] = '\0';
    probe->dial =
        dial_start(checks->ring->upstreams->loop, &probe->record->address,
                   checks->tls == NULL ? NULL : checks->tls->client,
                   checks->tls == NULL ? NULL : name, checks->timeout_ms, on_dialed, probe);
    return probe->dial != NULL;
}

bool probe_begin(struct checks *checks, struct peer_record *record, struct span host)
{
    struct probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL)
        return false;
    probe->checks = checks;
    probe->record = record;
    record->refs++;
    checks->running++;
    list_push_back(&checks->probes, &probe->link);
    deadline_init(&probe->deadline, on_late);
    deadline_set(checks->ring->upstreams->loop, &probe->deadline, checks->timeout_ms);
    if (make_request(probe, host) && dial(probe, host))
        return true;
    destroy(probe);
    return false;
}

void probes_cancel(struct checks *checks)
{
    while (!list_is_empty(&checks->probes))
        destroy(LIST_ENTRY(checks->probes.next, struct probe, link));
}
