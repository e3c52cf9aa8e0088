#include <stdarg.h>
#include <stdio.h>

#include "token.h"

static const char help[] =
    "usage: weir-token --issuer KEY [OPTION]...\n"
    "       weir-token --show TOKEN\n"
    "       weir-token --verify TOKEN [--algorithm NAME] [--secret-file FILE | --key-file FILE]\n"
    "  make a token to try a route that the plugin jwt guards, or read one\n"
    "\n"
    "  --issuer KEY            claim iss: the key of the consumer's credential\n"
    "  --algorithm NAME        HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 ES512 (default "
    "HS256)\n"
    "  --secret-file FILE      secret of HS*; a line end at its end is not part of it\n"
    "  --secret TEXT           the same; other users see it in the list of processes\n"
    "  WEIR_TOKEN_SECRET       the same, in the environment\n"
    "  --key-file FILE         key of RS* and ES* in PEM: private to make, public to verify\n"
    "  --expires TIME          claim exp, from now on: 90s, 5m, 1h, 2d, -1m; never (default 5m)\n"
    "  --not-before TIME       claim nbf, from now on\n"
    "  --claim NAME=TEXT       one more claim that is text\n"
    "  --claim-json NAME:=JSON one more claim of any kind: 'roles:=[\"ops\"]'\n"
    "  --header NAME=TEXT      one more member of the token's header: kid=2026-01\n"
    "  --show TOKEN            print header and claims, verify nothing; - reads it from stdin\n"
    "  --verify TOKEN          the same, with the signature checked; times are not\n"
    "\n"
    "exit codes: 0 ok, 1 failure (also a wrong signature), 2 wrong usage\n";

int failure(const char *format, ...)
{
    va_list args;
    (void)fprintf(stderr, "weir-token: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return TOKEN_FAILED;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int code = options_read(argc, argv, &options);
    if (code != TOKEN_OK)
        return code;
    switch (options.command) {
    case HELP:
        return fputs(help, stdout) < 0 || fflush(stdout) != 0 ? TOKEN_FAILED : TOKEN_OK;
    case MINT:
        return mint(&options);
    case SHOW:
    case VERIFY:
        break;
    }
    return show(&options);
}
