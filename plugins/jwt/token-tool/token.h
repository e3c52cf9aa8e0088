/* weir-token: a JSON Web Token to try a route with that the plugin jwt guards, made and read with
 * libjwt alone. The gateway verifies with OpenSSL, so a token from here that passes is two
 * implementations that agree. Every failure is said to stderr where it is found. */
#ifndef TOKEN_H
#define TOKEN_H

#include <jwt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As those of weir. */
enum { TOKEN_OK = 0, TOKEN_FAILED = 1, TOKEN_USAGE = 2 };

enum {
    TOKEN_SIZE_MAX = 16 * 1024, /* the gateway takes no longer one */
    SECRET_SIZE_MAX = 4096,
    KEY_SIZE_MAX = 64 * 1024,
    NAME_SIZE_MAX = 128,
    VALUE_SIZE_MAX = 8 * 1024,
    MEMBERS_MAX = 64
};

enum command { MINT, SHOW, VERIFY, HELP };

enum member_kind { CLAIM_TEXT, CLAIM_JSON, HEADER_TEXT };
struct member {
    enum member_kind kind;
    char name[NAME_SIZE_MAX + 1];
    const char *value; /* of the command line */
};

struct options {
    enum command command;
    const char *token; /* to show or verify; "-" is stdin */
    const char *algorithm_name;
    jwt_alg_t algorithm;
    const char *secret, *secret_file, *key_file;
    bool has_expires, never_expires, has_not_before;
    int64_t expires_s, not_before_s; /* from now on */
    struct member members[MEMBERS_MAX];
    size_t member_count;
};

/* `out` is zero and points into argv afterwards. TOKEN_OK or TOKEN_USAGE. */
int options_read(int argc, char **argv, struct options *out);
const struct member *options_find(const struct options *options, enum member_kind kind,
                                  const char *name);
bool is_secret_algorithm(jwt_alg_t algorithm);
/* To stderr, with the name of the program and a hint at --help; TOKEN_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* To stderr, with the name of the program; TOKEN_FAILED. */
int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What signs or verifies. key_forget() it, whatever came of key_read(). */
struct key {
    unsigned char bytes[KEY_SIZE_MAX + 1];
    int size;
};
int key_read(const struct options *options, struct key *out);
void key_forget(struct key *key);

/* The whole of a file, at most `room` bytes: their number, or -1 and it was said. */
long file_read(const char *path, const char *what, void *bytes, size_t room);

int mint(const struct options *options);
int show(const struct options *options);

#endif
