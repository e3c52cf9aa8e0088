/* What the tests of request-transformer share: rows of "this configuration makes that of a
 * request".
 */
#ifndef CHECK_H
#define CHECK_H

#include <weir_testkit.h>

#define FORM "application/x-www-form-urlencoded"
#define JSON "application/json"
#define MULTIPART "multipart/form-data; boundary=b"
#define PART(name, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define END "--b--\r\n"

struct row {
    const char *reason, *config, *method, *target;
    const char *headers[6][2]; /* what the client sends */
    const char *body;          /* NULL: none */
    int status;                /* 0: 200 */
    /* What the service got, of which each is looked at when it is set. */
    const char *want_method, *want_path, *want_query, *want_host, *want_body;
    const char *want_headers[6][2]; /* all values joined by '|'; "" alone: absent is "-" */
};

struct kit *check_open(const char *config);
void check_rows(const struct row *rows, size_t count);
/* Values of a field that the service got, joined by '|'; "-": none. Lives until the next call. */
const char *check_values(kit_request *r, const char *name);
bool check_same(const char *a, const char *b);
/* A configuration that is refused with that message in it. */
void check_refused(const char *config, const char *message);

#endif
