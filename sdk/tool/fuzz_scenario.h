/* Requests for the fuzzer: made up from a random number alone, out of the words that the
 * configuration and the plugin itself mention, so that the same number makes the same request. */
#ifndef WEIR_FUZZ_SCENARIO_H
#define WEIR_FUZZ_SCENARIO_H

#include <weir_testkit.h>

struct dice {
    uint64_t state;
};
uint64_t dice_next(struct dice *dice);
uint32_t dice_below(struct dice *dice, uint32_t limit); /* 0 … limit - 1; limit > 0 */
bool dice_chance(struct dice *dice, uint32_t percent);
struct dice dice_of(uint64_t seed, uint64_t number);

enum {
    ASK_TEXT = 192,
    ASK_HEADERS = 12,
    ASK_BODY = 6144,
};
struct ask_header {
    char name[64], value[ASK_TEXT];
};
struct ask_body {
    bool there;
    char type[96]; /* Content-Type; empty: none */
    size_t size;
    char bytes[ASK_BODY];
};

/* One request and what its target does. */
struct ask {
    char method[12], target[512], client_ip[40];
    bool tls, without_route, held;
    struct ask_header headers[ASK_HEADERS], answer_headers[ASK_HEADERS];
    size_t header_count, answer_header_count;
    struct ask_body body, answer;
    int status;   /* of the target */
    int failure;  /* 0: it answers */
    int takes_ms; /* until then */
    size_t split; /* of bodies, 0: in one piece */
    uint64_t number;
};

/* Words of the configuration, once, before the first request is made up. */
void ask_learn(const char *yaml);
/* `tidy`: as a client would ask that means no harm, so that most of them reach the target. */
void ask_make(struct ask *ask, struct dice *dice, bool tidy);
/* The same in one line, for people. */
void ask_tell(const struct ask *ask, char *out, size_t size);
/* Ready for kit_run(), in the kit. */
kit_request *ask_request(struct kit *kit, const struct ask *ask);
/* A value as it may stand in a header, at most ASK_TEXT with its end. */
void ask_value(char *out, struct dice *dice, bool tidy);

#endif
