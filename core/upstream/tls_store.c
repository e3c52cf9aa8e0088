/* TLS clients by their settings. Loading authorities costs milliseconds and a megabyte, and pools
 * are told apart by the client: services with equal settings share one, and so do the
 * configurations before and after a reload, whose pools stay warm. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/text.h"
#include "upstream/internal.h"

static bool verifies(const struct service *service)
{
    return service->tls_verify_set && service->tls_verify; /* unset: Kong's default is off */
}

/* All PEM texts in one, as OpenSSL reads a file of authorities. */
static void gather(struct buf *pem, const struct service *service)
{
    for (size_t i = 0; i < service->ca_certificate_count; i++) {
        buf_span(pem, service->ca_certificates[i]->cert);
        buf_byte(pem, '\n');
    }
}

static void make_key(char key[TLS_KEY], bool verify, struct span pem)
{
    unsigned char digest[DIGEST_SHA256];
    memset(key, '0', TLS_KEY);
    if (!verify)
        return;
    key[0] = '1';
    if (pem.size == 0)
        return; /* the system's */
    digest_sha256(digest, pem);
    text_hex(key + 1, digest, sizeof digest);
}

/* A file without a name that holds `pem`, -1 when the system refuses. */
static int open_memory(struct span pem)
{
    int fd = memfd_create("authorities", MFD_CLOEXEC);
    for (size_t at = 0; fd >= 0 && at < pem.size;) {
        ssize_t written = write(fd, pem.data + at, pem.size - at);
        if (written > 0) {
            at += (size_t)written;
            continue;
        }
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static struct tls_client *create_client(bool verify, struct span pem, char *err, size_t err_size)
{
    char path[64];
    if (!verify || pem.size == 0)
        return tls_client_create(verify, NULL, err, err_size);
    int fd = open_memory(pem);
    if (fd < 0) {
        (void)snprintf(err, err_size, "no memory for the authorities");
        return NULL;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct tls_client *client = tls_client_create(true, path, err, err_size);
    (void)close(fd);
    return client;
}

/* What OpenSSL says comes after the last ": "; before it stands a path that tells nobody anything.
 */
static const char *reason_of(const char *sentence)
{
    const char *reason = sentence;
    for (const char *at = strstr(sentence, ": "); at != NULL; at = strstr(reason, ": "))
        reason = at + 2;
    return reason;
}

static enum weir_err create_entry(struct upstreams *upstreams, const char key[TLS_KEY],
                                  struct span pem, struct tls_entry **out_entry, char *why,
                                  size_t why_size)
{
    char err[256] = "";
    struct tls_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return WEIR_ERR_NO_MEMORY;
    entry->client = create_client(key[0] == '1', pem, err, sizeof err);
    if (entry->client == NULL) {
        free(entry);
        (void)snprintf(why, why_size, "%s cannot be used: %s",
                       pem.size > 0 ? "ca_certificates" : "TLS", reason_of(err));
        return WEIR_ERR_CONFIG;
    }
    memcpy(entry->key, key, TLS_KEY);
    entry->refs = 1;
    list_push_back(&upstreams->tls, &entry->link);
    *out_entry = entry;
    return WEIR_OK;
}

static enum weir_err find_or_create(struct upstreams *upstreams, bool verify, struct span pem,
                                    struct tls_entry **out_entry, char *why, size_t why_size)
{
    char key[TLS_KEY];
    make_key(key, verify, pem);
    LIST_FOREACH (node, &upstreams->tls) {
        struct tls_entry *entry = LIST_ENTRY(node, struct tls_entry, link);
        if (memcmp(entry->key, key, TLS_KEY) != 0)
            continue;
        entry->refs++;
        *out_entry = entry;
        return WEIR_OK;
    }
    return create_entry(upstreams, key, pem, out_entry, why, why_size);
}

enum weir_err tls_acquire(struct upstreams *upstreams, const struct service *service,
                          struct tls_entry **out_entry, char *why, size_t why_size)
{
    AUTO_BUF pem = BUF_INIT;
    bool verify = verifies(service);
    if (verify)
        gather(&pem, service);
    if (pem.failed)
        return WEIR_ERR_NO_MEMORY;
    return find_or_create(upstreams, verify, buf_view(&pem), out_entry, why, why_size);
}

enum weir_err tls_acquire_for_probes(struct upstreams *upstreams, bool verify,
                                     struct tls_entry **out_entry, char *why, size_t why_size)
{
    return find_or_create(upstreams, verify, SPAN(""), out_entry, why, why_size);
}

void tls_release(struct upstreams *upstreams, struct tls_entry *entry)
{
    if (entry == NULL || --entry->refs > 0)
        return;
    pools_forget(upstreams, entry->client);
    tls_client_destroy(entry->client);
    list_remove(&entry->link);
    free(entry);
}
