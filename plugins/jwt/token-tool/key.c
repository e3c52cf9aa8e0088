/* What signs or verifies: the bytes of a secret, or a key in PEM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "token.h"

long file_read(const char *path, const char *what, void *bytes, size_t room)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)failure("cannot read the %s in %s: %s", what, path, strerrordesc_np(errno));
        return -1;
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of a secret stays behind */
    size_t size = fread(bytes, 1, room, file);
    bool broken = ferror(file) != 0, longer = !broken && fgetc(file) != EOF;
    int error = errno;
    (void)fclose(file);
    if (broken)
        (void)failure("cannot read the %s in %s: %s", what, path, strerrordesc_np(error));
    else if (longer)
        (void)failure("the %s in %s is longer than %zu bytes", what, path, room);
    return broken || longer ? -1 : (long)size;
}

void key_forget(struct key *key)
{
    explicit_bzero(key, sizeof(*key));
}

/* An editor ends a file with a line end, which is none of the secret. */
static size_t without_line_end(const unsigned char *bytes, size_t size)
{
    if (size > 0 && bytes[size - 1] == '\n')
        size--;
    if (size > 0 && bytes[size - 1] == '\r')
        size--;
    return size;
}

static int read_secret(const struct options *options, struct key *out)
{
    size_t size = 0;
    if (options->secret_file != NULL) {
        long got = file_read(options->secret_file, "secret", out->bytes, SECRET_SIZE_MAX);
        if (got < 0)
            return TOKEN_FAILED;
        size = without_line_end(out->bytes, (size_t)got);
    } else {
        size = strlen(options->secret);
        if (size > SECRET_SIZE_MAX)
            return failure("the secret is longer than %d bytes", (int)SECRET_SIZE_MAX);
        memcpy(out->bytes, options->secret, size);
    }
    if (size == 0)
        return failure("the secret is empty");
    out->size = (int)size;
    return TOKEN_OK;
}

/* The library tells these apart from a broken key in nothing, and would ask the terminal for the
 * password of one that is encrypted. */
static int read_pem(const struct options *options, struct key *out)
{
    const char *path = options->key_file, *text = (const char *)out->bytes;
    long size = file_read(path, "key", out->bytes, KEY_SIZE_MAX);
    if (size < 0)
        return TOKEN_FAILED;
    out->bytes[size] = '\0';
    out->size = (int)size;
    if (strstr(text, "-----BEGIN ") == NULL)
        return failure("%s has no key in PEM (-----BEGIN …)", path);
    if (strstr(text, "ENCRYPTED") != NULL)
        return failure("the key in %s is encrypted; 'openssl pkey -in FILE -out PLAIN' opens it",
                       path);
    bool is_private = strstr(text, "PRIVATE KEY-----") != NULL;
    if (options->command == MINT && !is_private)
        return failure("%s has no private key: a public key verifies, a private one signs", path);
    if (options->command == VERIFY && is_private)
        return failure("%s has a private key: a public one verifies ('openssl pkey -pubout')",
                       path);
    return TOKEN_OK;
}

int key_read(const struct options *options, struct key *out)
{
    return is_secret_algorithm(options->algorithm) ? read_secret(options, out)
                                                   : read_pem(options, out);
}
