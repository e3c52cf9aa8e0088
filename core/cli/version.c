/* weir version [-v]: with -v also what it is linked with. The one place outside their rooms that
 * names the libraries. */
#include <ares.h>
#include <cjson/cJSON.h>
#include <ev.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <yaml.h>

#include <weir/weir.h>

#include "cli/verbs.h"

static void print_libraries(void)
{
    char pcre2[64] = "?";
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    (void)printf("plugin ABI %d.%d\n", WEIR_MAJOR, WEIR_MINOR);
    (void)printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
    (void)printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    (void)printf("c-ares %s\n", ares_version(NULL));
    (void)printf("libyaml %s\n", yaml_get_version_string());
    (void)printf("PCRE2 %s\n", pcre2);
    (void)printf("cJSON %s\n", cJSON_Version());
}

int cli_version(int argc, char **argv)
{
    bool verbose = argc == 2 && span_equal(span_text(argv[1]), SPAN("-v"));
    if (argc > 1 && !verbose)
        return cli_usage("version", "unexpected '%s'", argv[1]);
    (void)printf("weir %s\n", WEIR_VERSION);
    if (verbose)
        print_libraries();
    return CLI_OK;
}
