/* In C, as the test of every plugin may be: the kit loads the .so, whatever it was written in. */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <weir_testkit.h>

#define SECRET "a-secret-of-sixteen-bytes"
#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: header-signature, config: " config "}]\n"

static struct kit *kit;

static void set_up(void)
{
    kit = kit_open(CONFIGURATION("{secret: " SECRET ", tolerance: 60s}"));
    cr_assert_not_null(kit, "%s", kit_error());
}

static void tear_down(void)
{
    kit_close(kit);
}

TestSuite(header_signature, .init = set_up, .fini = tear_down);

static const char *sign(const char *secret, long long seconds, const char *method,
                        const char *target)
{
    static char out[128];
    char text[256];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    (void)snprintf(text, sizeof(text), "%lld\n%s\n%s", seconds, method, target);
    (void)HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, strlen(text),
               digest, &size);
    int at = snprintf(out, sizeof(out), "t=%lld,v1=", seconds);
    for (unsigned i = 0; i < size; i++)
        at += snprintf(out + at, sizeof(out) - (size_t)at, "%02x", digest[i]);
    return out;
}

static int status_with(const char *signature)
{
    kit_request *r = kit_request_new(kit, "GET", "/orders?page=2");
    if (signature != NULL)
        kit_request_header(r, "X-Signature", signature);
    return kit_run(r);
}

Test(header_signature, a_signed_request_passes)
{
    long long now = kit_time(kit) / 1000;
    cr_expect_eq(status_with(sign(SECRET, now, "GET", "/orders?page=2")), 200);
    cr_expect_eq(status_with(sign(SECRET, now - 60, "GET", "/orders?page=2")), 200);
    cr_expect_eq(status_with(sign(SECRET, now + 60, "GET", "/orders?page=2")), 200);
}

Test(header_signature, any_other_does_not)
{
    long long now = kit_time(kit) / 1000;
    cr_expect_eq(status_with(NULL), 401, "none");
    cr_expect_eq(status_with(sign("another-secret-16", now, "GET", "/orders?page=2")), 401);
    cr_expect_eq(status_with(sign(SECRET, now, "POST", "/orders?page=2")), 401, "another method");
    cr_expect_eq(status_with(sign(SECRET, now, "GET", "/orders?page=3")), 401, "another query");
    cr_expect_eq(status_with(sign(SECRET, now - 61, "GET", "/orders?page=2")), 401, "old");
    cr_expect_eq(status_with(sign(SECRET, now + 61, "GET", "/orders?page=2")), 401, "too new");
    char changed[128];
    (void)snprintf(changed, sizeof(changed), "%s", sign(SECRET, now, "GET", "/orders?page=2"));
    changed[strlen(changed) - 1] = changed[strlen(changed) - 1] == '0' ? '1' : '0';
    cr_expect_eq(status_with(changed), 401, "the last digit");
    for (size_t size = 0; size < strlen(changed); size++) {
        char cut[128];
        (void)snprintf(cut, sizeof(cut), "%.*s", (int)size, changed);
        cr_expect_eq(status_with(size == 0 ? "x" : cut), 401, "cut short: %s", cut);
    }
    cr_expect_eq(status_with("t=-1,v1=00"), 401);
    cr_expect_eq(status_with("t=99999999999999999999,v1=00"), 401, "no int64");
    cr_expect_eq(kit_log_lines(kit)[0], '\0', "%s", kit_log_lines(kit));
}

Test(header_signature, a_short_secret_is_refused_and_not_told)
{
    cr_expect_null(kit_open(CONFIGURATION("{secret: sesame}")));
    cr_expect(strstr(kit_error(), "config.secret") != NULL, "%s", kit_error());
    cr_expect(strstr(kit_error(), "sesame") == NULL, "%s", kit_error());
}
