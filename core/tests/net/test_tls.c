/* TLS between our own server and client. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support.h"

TestSuite(net_tls, .timeout = 60);

struct site {
    struct loop *loop;
    struct tls_server *server;
    struct listener *listener;
    struct address address;
    int fd;
};

static void site_open(struct site *site, const char *cert, const char *key)
{
    char err[200] = "";
    site->loop = loop_create();
    site->server = tls_server_create(cert, key, err, sizeof err);
    cr_assert_not_null(site->server, "%s", err);
    site->fd = open_local(16, &site->address);
    site->listener = listener_start(site->loop, site->fd, site->server, echo_accepted, NULL);
    cr_assert_not_null(site->listener);
}

static void site_close(struct site *site)
{
    listener_stop(site->listener);
    tls_server_destroy(site->server);
    (void)close(site->fd);
    loop_destroy(site->loop);
}

static void echo_tls(size_t size)
{
    struct site site;
    char err[200] = "";
    site_open(&site, NULL, NULL);
    struct tls_client *client = tls_client_create(false, NULL, err, sizeof err);
    cr_assert_not_null(client, "%s", err);
    struct exchange exchange = {.size = size};
    cr_assert_not_null(dial_start(site.loop, &site.address, client, "shop.example", 5000,
                                  exchange_dialed, &exchange));
    tls_client_destroy(client); /* not needed after the call */
    TURN_UNTIL(site.loop, exchange.received == size || exchange.err != WEIR_OK || exchange.ended);
    cr_assert_eq(exchange.received, size);
    cr_assert_eq(exchange.wrong, 0);
    cr_assert(conn_is_tls(exchange.conn));
    cr_assert_str_eq(echo_sni, "shop.example");
    conn_shutdown_write(exchange.conn);
    TURN_UNTIL(site.loop, exchange.ended && echo_open == 0);
    site_close(&site);
}

Test(net_tls, echo_small)
{
    echo_tls(10);
}

Test(net_tls, echo_more_than_the_socket_holds)
{
    echo_tls(3000000);
}

/* The server's own certificate as a file, to trust it or not. */
static void write_certificate(const struct site *site, char *path)
{
    int file = mkstemp(path);
    cr_assert(file >= 0);
    FILE *out = fdopen(file, "w");
    SSL_CTX *context = *(SSL_CTX *const *)(const void *)site->server;
    cr_assert_eq(PEM_write_X509(out, SSL_CTX_get0_certificate(context)), 1);
    cr_assert_eq(fclose(out), 0);
}

static const struct verify_case {
    const char *why, *name;
    enum { BY_CLIENT, BY_PROCESS, BY_PROCESS_AND_SYSTEM, BY_NOBODY } trusted;
    const char *failure; /* NULL: it opens */
} verifies[] = {
    {"its authority and its name", "localhost", BY_CLIENT, NULL},
    {"an address the certificate names", "127.0.0.1", BY_CLIENT, NULL},
    {"an authority of the process", "localhost", BY_PROCESS, NULL},
    {"one beside the system's", "localhost", BY_PROCESS_AND_SYSTEM, NULL},
    {"another name: somebody in the middle", "bank.example", BY_CLIENT, "hostname mismatch"},
    {"another address", "127.0.0.9", BY_PROCESS, "IP address mismatch"},
    {"an authority we do not trust", "localhost", BY_NOBODY, "the certificate is refused: self"},
};

static struct tls_client *verifying_client(const struct verify_case *row, const char *path)
{
    char err[200] = "";
    tls_trust_reset();
    if (row->trusted == BY_PROCESS || row->trusted == BY_PROCESS_AND_SYSTEM)
        cr_assert(tls_trust_add(path, err, sizeof err), "%s", err);
    if (row->trusted == BY_PROCESS_AND_SYSTEM)
        cr_assert(tls_trust_add(NULL, err, sizeof err), "%s", err);
    struct tls_client *client =
        tls_client_create(true, row->trusted == BY_CLIENT ? path : NULL, err, sizeof err);
    cr_assert_not_null(client, "%s", err);
    tls_trust_reset(); /* the client keeps what it was made with */
    return client;
}

Test(net_tls, verification)
{
    for (size_t i = 0; i < COUNT_OF(verifies); i++) {
        const struct verify_case *row = &verifies[i];
        struct site site;
        char path[] = "/tmp/weir-test-XXXXXX";
        site_open(&site, NULL, NULL);
        write_certificate(&site, path);
        struct tls_client *client = verifying_client(row, path);
        struct exchange exchange = {.size = 100};
        cr_assert_not_null(dial_start(site.loop, &site.address, client, row->name, 5000,
                                      exchange_dialed, &exchange));
        TURN_UNTIL(site.loop, exchange.dialed);
        cr_expect_eq(exchange.err, row->failure == NULL ? WEIR_OK : WEIR_ERR_REFUSED, "%s",
                     row->why);
        cr_expect_not_null(strstr(exchange.failure, row->failure == NULL ? "" : row->failure),
                           "%s: '%s'", row->why, exchange.failure);
        cr_expect(row->failure != NULL || exchange.failure[0] == '\0', "%s", row->why);
        if (exchange.conn != NULL)
            TURN_UNTIL(site.loop, exchange.received == 100);
        conn_close(exchange.conn);
        TURN_UNTIL(site.loop, listener_stats(site.listener).accepted == 1 && echo_open == 0);
        (void)unlink(path);
        tls_client_destroy(client);
        site_close(&site);
    }
}

Test(net_tls, plain_bytes_end_the_handshake)
{
    struct site site;
    site_open(&site, NULL, NULL);
    struct exchange exchange = {.size = 3000};
    cr_assert_not_null(
        dial_start(site.loop, &site.address, NULL, NULL, 5000, exchange_dialed, &exchange));
    TURN_UNTIL(site.loop, exchange.ended);
    TURN_UNTIL(site.loop, echo_open == 0);
    site_close(&site);
}

Test(net_tls, a_silent_server_times_out)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    char err[200] = "";
    int fd = open_local(16, &address); /* connects, never answers the hello */
    AUTO(tls_client_destroy)
    struct tls_client *client = tls_client_create(false, NULL, err, sizeof err);
    struct exchange exchange = {0};
    cr_assert_not_null(dial_start(loop, &address, client, "x", 200, exchange_dialed, &exchange));
    TURN_UNTIL(loop, exchange.dialed);
    cr_assert_eq(exchange.err, WEIR_ERR_TIMEOUT);
    cr_assert_str_eq(exchange.failure, "no end of the TLS handshake in time");
    (void)close(fd);
}

Test(net_tls, files_that_are_not_there_are_named)
{
    char err[200] = "";
    cr_assert_null(tls_server_create("/nonexistent/cert.pem", NULL, err, sizeof err));
    cr_assert_not_null(strstr(err, "/nonexistent/cert.pem"), "%s", err);
    cr_assert_null(tls_client_create(true, "/nonexistent/ca.pem", err, sizeof err));
    cr_assert_not_null(strstr(err, "/nonexistent/ca.pem"), "%s", err);
    cr_assert_not(tls_trust_add("/nonexistent/roots.pem", err, sizeof err));
    cr_assert_not_null(strstr(err, "/nonexistent/roots.pem"), "%s", err);
}

Test(net_tls, a_dial_that_tls_has_no_part_in_has_no_word_of_it)
{
    AUTO(loop_destroy) struct loop *loop = loop_create();
    struct address address;
    char err[200] = "";
    (void)close(open_local(16, &address)); /* nobody listens */
    AUTO(tls_client_destroy)
    struct tls_client *client = tls_client_create(false, NULL, err, sizeof err);
    struct exchange exchange = {0};
    cr_assert_not_null(dial_start(loop, &address, client, "x", 5000, exchange_dialed, &exchange));
    TURN_UNTIL(loop, exchange.dialed);
    cr_assert_eq(exchange.err, WEIR_ERR_REFUSED);
    cr_assert_str_eq(exchange.failure, "");
}
