/* TLS services: which share settings and pools, authorities from the configuration. */
#include <openssl/pem.h>
#include <stdio.h>

#include "net/tls_internal.h"
#include "support.h"

TestSuite(upstream_tls, .timeout = 60);

static struct target_pool *pool_of(const struct setup *setup, const char *service)
{
    struct pick pick = {.balancers = setup->balancers, .service = setup_service(setup, service)};
    cr_assert_eq(pick_next(&pick), WEIR_OK);
    struct target_pool *pool = pick.pool;
    pool->refs++;
    pick_end(&pick);
    return pool;
}

static const char services_yaml[] =
    "_format_version: '3.0'\n"
    "services:\n"
    "- {name: plain, url: 'http://127.0.0.1:443'}\n"
    "- {name: tls, url: 'https://127.0.0.1:443'}\n"
    "- {name: tls-too, url: 'https://127.0.0.1:443/p', tls_verify: false}\n"
    "- {name: verified, url: 'https://127.0.0.1:443', tls_verify: true}\n"
    "- {name: grpcs, url: 'grpcs://127.0.0.1:443'}\n"
    "- {name: named, url: 'https://localhost:443'}\n"
    "- {name: by-upstream, url: 'https://up'}\n"
    "- {name: by-header, url: 'https://up-host'}\n"
    "- {name: by-six, url: 'https://up-six'}\n"
    "- {name: plain-by-upstream, url: 'http://up'}\n"
    "upstreams:\n"
    "- {name: up, targets: [{target: 'localhost:443'}]}\n"
    "- {name: up-host, host_header: 'shop.example:8443', targets: [{target: 'localhost:443'}]}\n"
    "- {name: up-six, targets: [{target: '[::1]:443'}]}\n";

static const struct share_case {
    const char *why, *service;
    bool tls;
    const char *server_name, *same_as;
} share_cases[] = {
    {"plain", "plain", false, NULL, NULL},
    {"an address is verified by its text; it is no SNI", "tls", true, "127.0.0.1", NULL},
    {"equal settings", "tls-too", true, "127.0.0.1", "tls"},
    {"verified ones never use a connection nobody verified", "verified", true, "127.0.0.1", NULL},
    {"grpcs is TLS", "grpcs", true, "127.0.0.1", "tls"},
    {"the service's host is the SNI", "named", true, "localhost", NULL},
    {"the target's host is", "by-upstream", true, "localhost", "named"},
    {"host_header is sent upstream, so it is", "by-header", true, "shop.example", NULL},
    {"an IPv6 address has no brackets in a certificate", "by-six", true, "::1", NULL},
    {"the same upstream, plain", "plain-by-upstream", false, NULL, "plain"},
};

Test(upstream_tls, who_shares_a_pool)
{
    struct world world;
    struct setup setup;
    struct target_pool *pools[COUNT_OF(share_cases)];
    world_open(&world);
    setup_open(&world, &setup, services_yaml);
    cr_assert_eq(setup.err, WEIR_OK, "%s", setup.why);
    for (size_t i = 0; i < COUNT_OF(share_cases); i++) {
        const struct share_case *row = &share_cases[i];
        pools[i] = pool_of(&setup, row->service);
        cr_assert_eq(pools[i]->tls != NULL, row->tls, "%s", row->why);
        if (row->tls)
            cr_assert_str_eq(pools[i]->server_name, row->server_name, "%s", row->why);
        else
            cr_assert_null(pools[i]->server_name);
        for (size_t j = 0; j < i; j++) {
            bool same =
                row->same_as != NULL && (strcmp(share_cases[j].service, row->same_as) == 0 ||
                                         (share_cases[j].same_as != NULL &&
                                          strcmp(share_cases[j].same_as, row->same_as) == 0));
            cr_assert_eq(pools[i] == pools[j], same, "%s and %s: %s", row->service,
                         share_cases[j].service, row->why);
        }
    }
    for (size_t i = 0; i < COUNT_OF(share_cases); i++)
        pool_release(pools[i]);
    setup_close(&setup);
    cr_assert_eq(map_count(world.upstreams->pools), 0);
    world_close(&world);
}

/* The own certificate of a server as PEM, indented for a YAML block. */
static void indent_certificate(const struct tls_server *server, char *out, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char line[128];
    size_t at = 0;
    cr_assert_eq(PEM_write_bio_X509(bio, SSL_CTX_get0_certificate(server->context)), 1);
    while (BIO_gets(bio, line, sizeof line) > 0)
        at += (size_t)snprintf(out + at, size - at, "    %s", line);
    BIO_free(bio);
}

struct outcome {
    bool done;
    enum weir_err err;
    struct conn *conn;
};

static void on_dialed(struct conn *conn, enum weir_err err, void *user)
{
    *(struct outcome *)user = (struct outcome){true, err, conn};
}

static enum weir_err dial_through(struct world *world, const struct setup *setup,
                                  const char *service, bool keep)
{
    struct outcome outcome = {0};
    struct target_pool *pool = pool_of(setup, service);
    cr_assert_not_null(pool_dial(pool, 5000, on_dialed, &outcome));
    TURN_UNTIL(world->loop, outcome.done);
    if (keep)
        pool_give(pool, outcome.conn, 1);
    else
        conn_close(outcome.conn);
    pool_release(pool);
    return outcome.err;
}

static const char authorities_yaml[] =
    "_format_version: '3.0'\n"
    "services:\n"
    "- {name: trusts, url: 'https://localhost:%u', tls_verify: true,\n"
    "   ca_certificates: [4e3ad2e4-0bc4-4638-8e34-c84a417ba39b]}\n"
    "- {name: doubts, url: 'https://localhost:%u', tls_verify: true}\n"
    "- {name: careless, url: 'https://localhost:%u'}\n"
    "ca_certificates:\n"
    "- id: 4e3ad2e4-0bc4-4638-8e34-c84a417ba39b\n"
    "  cert: |\n%s";

static void authorities(char *yaml, size_t size, const struct site *site, const char *pem)
{
    unsigned port = site->address.port;
    (void)snprintf(yaml, size, authorities_yaml, port, port, port, pem);
}

Test(upstream_tls, authorities_of_the_configuration)
{
    struct world world;
    struct site site;
    struct setup setup, reloaded;
    char err[200], pem[4000] = "", yaml[6000];
    world_open(&world);
    struct tls_server *server = tls_server_create(NULL, NULL, err, sizeof err);
    cr_assert_not_null(server, "%s", err);
    indent_certificate(server, pem, sizeof pem);
    site_open(&world, &site, server);
    authorities(yaml, sizeof yaml, &site, pem);
    setup_open(&world, &setup, yaml);
    cr_assert_eq(setup.err, WEIR_OK, "%s", setup.why);
    cr_assert_eq(dial_through(&world, &setup, "doubts", false), WEIR_ERR_REFUSED);
    cr_assert_eq(dial_through(&world, &setup, "careless", false), WEIR_OK);
    cr_assert_eq(dial_through(&world, &setup, "trusts", true), WEIR_OK);

    struct target_pool *before = pool_of(&setup, "trusts");
    setup_open(&world, &reloaded, yaml);
    setup_close(&setup);
    struct target_pool *after = pool_of(&reloaded, "trusts");
    cr_assert_eq(before, after);
    cr_assert_eq(upstreams_idle(world.upstreams), 1, "a reload keeps TLS connections");
    pool_release(before);
    pool_release(after);
    setup_close(&reloaded);
    cr_assert_eq(upstreams_idle(world.upstreams), 0, "and the last configuration closes them");
    site_close(&site);
    tls_server_destroy(server);
    world_close(&world);
}

Test(upstream_tls, bad_authorities_are_told)
{
    struct world world;
    struct site site = {0};
    struct setup setup;
    char yaml[2000];
    world_open(&world);
    site.address.port = 443;
    authorities(yaml, sizeof yaml, &site,
                "    -----BEGIN CERTIFICATE-----\n    AAAA\n    -----END CERTIFICATE-----\n");
    setup_open(&world, &setup, yaml);
    cr_assert_eq(setup.err, WEIR_ERR_CONFIG);
    cr_assert_null(setup.balancers);
    cr_assert_not_null(strstr(setup.why, "service 'trusts': ca_certificates cannot be used: "),
                       "%s", setup.why);
    cr_assert_null(strstr(setup.why, "/proc"), "%s", setup.why);
    setup_close(&setup);
    world_close(&world);
}
