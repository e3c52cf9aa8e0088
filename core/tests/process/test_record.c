/* The words of an order to record: what the command line sends and what the master adds. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "process/record.h"
#include "process/recording.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *why, *words;
    const char *refusal; /* NULL: it is taken */
} rows[] = {
    {"a file is enough", "file=/a", NULL},
    {"its name may hold spaces and other words", "count=1 file=/a b count=x", NULL},
    {"everything", "count=5 seconds=9 body_bytes=7 bodies plugin=p route=r redact=x file=/a", NULL},
    {"what the master adds", "key=" KEY " header file=/a", NULL},
    {"no file", "count=5", "file: expected an absolute path, have 'nothing'"},
    {"the gateway works in another folder", "file=a", "file: expected an absolute path, have 'a'"},
    {"nothing is no number", "count= file=/a",
     "expected a number from 1 to 1000000, have 'count='"},
    {"none at all", "count=0 file=/a", "expected a number from 1 to 1000000, have 'count=0'"},
    {"for ever", "seconds=86401 file=/a",
     "expected a number from 1 to 86400, have 'seconds=86401'"},
    {"more than is kept of a body", "body_bytes=1048577 file=/a",
     "expected a number from 1 to 1048576, have 'body_bytes=1048577'"},
    {"a misspelled word", "cuont=5 file=/a", "unknown word 'cuont=5'"},
    {"a policy without a name", "plugin= file=/a", "unknown word 'plugin='"},
    {"a key that is cut off is not told", "key=0123 file=/a", "no key '...'"},
};

Test(record, words_of_an_order)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct record_order order;
        char why[256] = "";
        bool taken = record_order_read(span_text(rows[i].words), &order, why, sizeof(why));
        cr_expect_eq(taken, rows[i].refusal == NULL, "%s: %s", rows[i].why, why);
        if (rows[i].refusal != NULL)
            cr_expect_str_eq(why, rows[i].refusal, "%s", rows[i].why);
    }
}

Test(record, what_an_order_says)
{
    struct record_order order;
    char why[256], words[RECORD_WORDS_MAX], key[RECORD_KEY_TEXT];
    record_key(key);
    cr_assert(record_words(words, sizeof(words), key, true,
                           SPAN("count=5 bodies redact=x redact=y plugin=p file=/a b")));
    cr_assert(record_order_read(span_text(words), &order, why, sizeof(why)), "%s", why);
    cr_expect_eq(order.count, 5U);
    cr_expect_eq(order.seconds, 60U, "what is not said has a bound");
    cr_expect(order.bodies && order.header);
    cr_expect_eq(order.redact_count, 2U);
    cr_expect(span_equal(order.plugin, SPAN("p")));
    cr_expect_not(span_is_set(order.route));
    cr_expect(span_equal(order.file, SPAN("/a b")));
    cr_expect(span_equal(order.key, span_text(key)));
    cr_expect_not(record_words(words, 40, key, true, SPAN("file=/a")), "it does not fit");
}

Test(record, numbers_of_workers_are_added)
{
    uint64_t written = 1, lost = 0, left_out = 0;
    AUTO_BUF text = BUF_INIT;
    cr_expect(record_add(SPAN("5 1 2"), &written, &lost, &left_out));
    cr_expect(written == 6 && lost == 1 && left_out == 2);
    cr_expect_not(record_add(SPAN("5 x"), &written, &lost, &left_out));
    record_tell(&text, 6, 2, 1, 2);
    cr_expect(span_equal(buf_view(&text),
                         SPAN("6 requests of 2 workers are recorded\n"
                              "1 are lost: the file took them too slowly or not at all\n"
                              "2 were left out: too many at the same time, or after a reload\n")));
}
