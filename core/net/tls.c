/* TLS setup: the OpenSSL contexts of servers and clients, and a certificate of our own when the
 * configuration names none. The records are the business of tls_conn.c. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_internal.h"

static const unsigned char alpn_http1[] = "\x08http/1.1";

static void explain(char *err, size_t size, const char *what, const char *path)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    if (size > 0)
        (void)snprintf(err, size, "%s%s%s: %s", what, path == NULL ? "" : " ",
                       path == NULL ? "" : path, reason == NULL ? "failed" : reason);
    ERR_clear_error();
}

static SSL_CTX *create_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (context == NULL)
        return NULL;
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    /* A write that must be repeated may come from another buffer, and an idle connection keeps
     * none. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    return context;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned size, void *user)
{
    unsigned char *chosen = NULL;
    (void)ssl, (void)user;
    if (SSL_select_next_proto(&chosen, out_size, alpn_http1, sizeof alpn_http1 - 1, offered,
                              size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* HTTP/1.1 is what a client without ALPN speaks, too */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool name_certificate(X509 *certificate)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
    bool good = names != NULL &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                           (const unsigned char *)"localhost", -1, -1, 0) == 1 &&
                X509_set_issuer_name(certificate, name) == 1 &&
                X509_add_ext(certificate, names, -1) == 1;
    X509_EXTENSION_free(names);
    return good;
}

static X509 *self_sign(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    uint64_t serial = 0;
    if (certificate == NULL)
        return NULL;
    if (RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
        X509_set_version(certificate, X509_VERSION_3) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -60L * 60) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), 30L * 24 * 60 * 60) != NULL &&
        X509_set_pubkey(certificate, key) == 1 && name_certificate(certificate) &&
        X509_sign(certificate, key, EVP_sha256()) != 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool use_own_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key == NULL ? NULL : self_sign(key);
    bool good = certificate != NULL && SSL_CTX_use_certificate(context, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(context, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good;
}

/* An encrypted key would make OpenSSL ask on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

static bool use_files(SSL_CTX *context, const char *cert_path, const char *key_path, char *err,
                      size_t err_size)
{
    const char *key = key_path != NULL ? key_path : cert_path;
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (SSL_CTX_use_certificate_chain_file(context, cert_path) != 1)
        explain(err, err_size, "cannot use the certificate", cert_path);
    else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        explain(err, err_size, "cannot use the private key", key);
    else if (SSL_CTX_check_private_key(context) != 1)
        explain(err, err_size, "the private key does not belong to the certificate", cert_path);
    else
        return true;
    return false;
}

static bool set_up_server(struct tls_server *server, const char *cert_path, const char *key_path,
                          char *err, size_t err_size)
{
    static const unsigned char id[] = "weir"; /* sessions are resumed within one listener */
    server->context = create_context(TLS_server_method());
    if (server->context == NULL ||
        SSL_CTX_set_session_id_context(server->context, id, sizeof id - 1) != 1) {
        explain(err, err_size, "cannot set up TLS", NULL);
        return false;
    }
    SSL_CTX_set_alpn_select_cb(server->context, choose_protocol, NULL);
    if (cert_path != NULL)
        return use_files(server->context, cert_path, key_path, err, err_size);
    if (use_own_certificate(server->context))
        return true;
    explain(err, err_size, "cannot make a certificate", NULL);
    return false;
}

struct tls_server *tls_server_create(const char *cert_path, const char *key_path, char *err,
                                     size_t err_size)
{
    struct tls_server *server = calloc(1, sizeof *server);
    ERR_clear_error();
    if (server == NULL)
        explain(err, err_size, "cannot set up TLS", NULL);
    else if (set_up_server(server, cert_path, key_path, err, err_size))
        return server;
    tls_server_destroy(server);
    return NULL;
}

void tls_server_destroy(struct tls_server *server)
{
    if (server == NULL)
        return;
    SSL_CTX_free(server->context);
    free(server);
}

/* Loaded once, before the workers are forked; every context shares it. NULL: the system's, which
 * are not loaded until somebody asks. */
static X509_STORE *trusted;

bool tls_trust_add(const char *ca_path, char *err, size_t err_size)
{
    X509_STORE *store = trusted != NULL ? trusted : X509_STORE_new();
    ERR_clear_error();
    if (store != NULL && (ca_path == NULL ? X509_STORE_set_default_paths(store)
                                          : X509_STORE_load_file(store, ca_path)) == 1) {
        trusted = store;
        return true;
    }
    explain(err, err_size, "cannot use the authorities", ca_path);
    if (store != trusted)
        X509_STORE_free(store);
    return false;
}

void tls_trust_reset(void)
{
    X509_STORE_free(trusted);
    trusted = NULL;
}

static bool trust(SSL_CTX *context, const char *ca_path)
{
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (ca_path != NULL)
        return SSL_CTX_load_verify_file(context, ca_path) == 1;
    if (trusted != NULL) {
        SSL_CTX_set1_cert_store(context, trusted);
        return true;
    }
    return SSL_CTX_set_default_verify_paths(context) == 1;
}

struct tls_client *tls_client_create(bool verify, const char *ca_path, char *err, size_t err_size)
{
    struct tls_client *client = calloc(1, sizeof *client);
    ERR_clear_error();
    if (client != NULL)
        client->context = create_context(TLS_client_method());
    if (client == NULL || client->context == NULL ||
        SSL_CTX_set_alpn_protos(client->context, alpn_http1, sizeof alpn_http1 - 1) != 0) {
        explain(err, err_size, "cannot set up TLS", NULL);
        tls_client_destroy(client);
        return NULL;
    }
    client->verify = verify;
    if (!verify || trust(client->context, ca_path))
        return client;
    explain(err, err_size, "cannot use the authorities", ca_path);
    tls_client_destroy(client);
    return NULL;
}

void tls_client_destroy(struct tls_client *client)
{
    if (client == NULL)
        return;
    SSL_CTX_free(client->context);
    free(client);
}
