/* The command line: one table, a row for each option. What was typed may be a secret, so that words
 * which belong to nothing are counted, not repeated. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"

/* Beyond a hundred years a time is a slip of the hand. */
static const int64_t seconds_max = 100LL * 366 * 24 * 3600;

int usage_error(const char *format, ...)
{
    va_list args;
    (void)fprintf(stderr, "weir-token: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nusage: weir-token --help says what it takes\n");
    return TOKEN_USAGE;
}

bool is_secret_algorithm(jwt_alg_t algorithm)
{
    return algorithm == JWT_ALG_HS256 || algorithm == JWT_ALG_HS384 || algorithm == JWT_ALG_HS512;
}

/* ---- values */

static int take_algorithm(struct options *out, const char *name, const char *value)
{
    out->algorithm_name = value;
    out->algorithm = jwt_str_alg(value);
    if (out->algorithm != JWT_ALG_INVAL && out->algorithm != JWT_ALG_NONE &&
        strcmp(jwt_alg_str(out->algorithm), value) == 0)
        return TOKEN_OK;
    return usage_error("%s takes HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 ES512, not '%s'",
                       name, value);
}

/* "5m", "-30s", "90": seconds. */
static bool parse_time(const char *text, int64_t *out_seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *at = text + (*text == '-');
    int64_t value = 0;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (*at - '0');
        if (value > seconds_max)
            return false;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (*at != units[i].unit || (*at != '\0' && at[1] != '\0'))
            continue;
        value *= units[i].seconds;
        *out_seconds = *text == '-' ? -value : value;
        return value <= seconds_max;
    }
    return false;
}

static int take_expires(struct options *out, const char *name, const char *value)
{
    out->has_expires = true;
    out->never_expires = strcmp(value, "never") == 0;
    if (out->never_expires || parse_time(value, &out->expires_s))
        return TOKEN_OK;
    return usage_error("%s takes a time such as 90s, 5m, 1h, -1m, or never, not '%s'", name, value);
}

static int take_not_before(struct options *out, const char *name, const char *value)
{
    out->has_not_before = true;
    if (parse_time(value, &out->not_before_s))
        return TOKEN_OK;
    return usage_error("%s takes a time such as 0s, 5m, -1m, not '%s'", name, value);
}

/* ---- claims and members of the header */

const struct member *options_find(const struct options *options, enum member_kind kind,
                                  const char *name)
{
    for (size_t i = 0; i < options->member_count; i++)
        if ((options->members[i].kind == HEADER_TEXT) == (kind == HEADER_TEXT) &&
            strcmp(options->members[i].name, name) == 0)
            return &options->members[i];
    return NULL;
}

static bool is_name(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127 || name[i] == '"' || name[i] == '\\')
            return false;
    return size > 0 && size <= NAME_SIZE_MAX;
}

static int add_member(struct options *out, enum member_kind kind, const char *name,
                      size_t name_size, const char *value)
{
    const char *what = kind == HEADER_TEXT ? "member of the header" : "claim";
    if (!is_name(name, name_size))
        return usage_error("a name has 1 to %d bytes, without quotes, backslashes and control "
                           "characters",
                           (int)NAME_SIZE_MAX);
    if (strlen(value) > VALUE_SIZE_MAX)
        return usage_error("the %s '%.*s' is longer than %d bytes", what, (int)name_size, name,
                           (int)VALUE_SIZE_MAX);
    if (out->member_count == MEMBERS_MAX)
        return usage_error("more than %d claims and members of the header", (int)MEMBERS_MAX);
    struct member *added = &out->members[out->member_count];
    added->kind = kind;
    memcpy(added->name, name, name_size);
    added->name[name_size] = '\0';
    added->value = value;
    if (options_find(out, kind, added->name) != NULL)
        return usage_error("the %s '%s' is given twice", what, added->name);
    out->member_count++;
    return TOKEN_OK;
}

static int take_pair(struct options *out, const char *name, const char *value,
                     enum member_kind kind, const char *sign)
{
    const char *at = strstr(value, sign);
    if (at == NULL)
        return usage_error("%s takes NAME%s%s", name, sign, kind == CLAIM_JSON ? "JSON" : "TEXT");
    return add_member(out, kind, value, (size_t)(at - value), at + strlen(sign));
}

static int take_claim(struct options *out, const char *name, const char *value)
{
    return take_pair(out, name, value, CLAIM_TEXT, "=");
}

static int take_claim_json(struct options *out, const char *name, const char *value)
{
    return take_pair(out, name, value, CLAIM_JSON, ":=");
}

static int take_header(struct options *out, const char *name, const char *value)
{
    return take_pair(out, name, value, HEADER_TEXT, "=");
}

static int take_issuer(struct options *out, const char *name, const char *value)
{
    (void)name;
    return add_member(out, CLAIM_TEXT, "iss", 3, value);
}

/* ---- the table */

static int take_show(struct options *out, const char *name, const char *value)
{
    (void)name;
    out->command = SHOW;
    out->token = value;
    return TOKEN_OK;
}

static int take_verify(struct options *out, const char *name, const char *value)
{
    (void)name;
    out->command = VERIFY;
    out->token = value;
    return TOKEN_OK;
}

static int take_secret(struct options *out, const char *name, const char *value)
{
    (void)name;
    out->secret = value;
    return TOKEN_OK;
}

static int take_secret_file(struct options *out, const char *name, const char *value)
{
    (void)name;
    out->secret_file = value;
    return TOKEN_OK;
}

static int take_key_file(struct options *out, const char *name, const char *value)
{
    (void)name;
    out->key_file = value;
    return TOKEN_OK;
}

enum { FOR_MINT = 1 << MINT, FOR_SHOW = 1 << SHOW, FOR_VERIFY = 1 << VERIFY };

static const struct row {
    const char *name;
    int (*take)(struct options *out, const char *name, const char *value);
    unsigned commands; /* that it goes with */
    bool repeats;
} rows[] = {
    {"--show", take_show, FOR_SHOW, false},
    {"--verify", take_verify, FOR_VERIFY, false},
    {"--algorithm", take_algorithm, FOR_MINT | FOR_VERIFY, false},
    {"--secret", take_secret, FOR_MINT | FOR_VERIFY, false},
    {"--secret-file", take_secret_file, FOR_MINT | FOR_VERIFY, false},
    {"--key-file", take_key_file, FOR_MINT | FOR_VERIFY, false},
    {"--issuer", take_issuer, FOR_MINT, false},
    {"--expires", take_expires, FOR_MINT, false},
    {"--not-before", take_not_before, FOR_MINT, false},
    {"--claim", take_claim, FOR_MINT, true},
    {"--claim-json", take_claim_json, FOR_MINT, true},
    {"--header", take_header, FOR_MINT, true},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct row *find_row(const char *word)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, word) == 0)
            return &rows[i];
    return NULL;
}

/* `--secret=S` is a way others write it: the S must not be told. */
static int unknown(const char *word, int place)
{
    if (word[0] != '-')
        return usage_error("word %d belongs to no option (a value with spaces needs quotes)",
                           place);
    return usage_error("unknown option '%.*s'%s", (int)strcspn(word, "="), word,
                       strchr(word, '=') != NULL ? " (values are words of their own, without '=')"
                                                 : "");
}

/* ---- what goes together */

static int check_key(struct options *out)
{
    bool secret_given = out->secret != NULL || out->secret_file != NULL;
    const char *name = out->algorithm_name;
    if (out->secret != NULL && out->secret_file != NULL)
        return usage_error("--secret and --secret-file are two secrets");
    if (secret_given && out->key_file != NULL)
        return usage_error("a secret is for HS*, --key-file for RS* and ES*: one of the two");
    if (out->key_file != NULL && name == NULL)
        return usage_error("--key-file needs --algorithm, such as RS256 or ES256");
    if (name == NULL)
        (void)take_algorithm(out, "", "HS256");
    if (!is_secret_algorithm(out->algorithm) && out->key_file == NULL)
        return usage_error("%s needs --key-file", out->algorithm_name);
    if (is_secret_algorithm(out->algorithm) && out->key_file != NULL)
        return usage_error("%s needs a secret, not --key-file", out->algorithm_name);
    if (is_secret_algorithm(out->algorithm) && !secret_given &&
        (out->secret = getenv("WEIR_TOKEN_SECRET")) == NULL)
        return usage_error("no secret: --secret-file FILE, --secret TEXT or WEIR_TOKEN_SECRET in "
                           "the environment");
    return TOKEN_OK;
}

static int check_claims(const struct options *out)
{
    if (out->has_expires && options_find(out, CLAIM_TEXT, "exp") != NULL)
        return usage_error("--expires and a claim exp are two ends");
    if (out->has_not_before && options_find(out, CLAIM_TEXT, "nbf") != NULL)
        return usage_error("--not-before and a claim nbf are two beginnings");
    if (options_find(out, HEADER_TEXT, "alg") != NULL)
        return usage_error("the header's alg is what --algorithm says");
    if (options_find(out, HEADER_TEXT, "typ") != NULL)
        return usage_error("the header's typ is always JWT: libjwt writes no other");
    if (out->member_count == 0)
        return usage_error("nothing says whose token it is: --issuer KEY, or --header kid=NAME");
    return TOKEN_OK;
}

static int check_rows(const struct options *out, const unsigned seen[ROWS])
{
    for (size_t i = 0; i < ROWS; i++) {
        if (seen[i] > 1 && !rows[i].repeats)
            return usage_error("%s is given twice", rows[i].name);
        if (seen[i] > 0 && (rows[i].commands & (1U << out->command)) == 0)
            return usage_error("%s does not go with %s", rows[i].name,
                               out->command == SHOW ? "--show" : "--verify");
    }
    return TOKEN_OK;
}

int options_read(int argc, char **argv, struct options *out)
{
    unsigned seen[ROWS] = {0};
    int code = TOKEN_OK;
    for (int i = 1; i < argc && code == TOKEN_OK; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            out->command = HELP;
            return TOKEN_OK;
        }
        const struct row *row = find_row(argv[i]);
        if (row == NULL)
            return unknown(argv[i], i);
        if (i + 1 == argc)
            return usage_error("no value after %s", argv[i]);
        seen[row - rows]++;
        code = row->take(out, row->name, argv[++i]);
    }
    if (code == TOKEN_OK)
        code = check_rows(out, seen);
    if (code == TOKEN_OK && out->command == MINT)
        code = check_claims(out);
    return code == TOKEN_OK && out->command != SHOW ? check_key(out) : code;
}
