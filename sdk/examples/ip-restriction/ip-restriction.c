/* Lets clients in, or keeps them out, by their address: Kong's ip-restriction. Shows lists in the
 * configuration, a check that names the element at fault, and work done once instead of at every
 * request: blocks are parsed in configure(), a request compares bytes. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

/* An address or a block of them. One of version 4 uses the first four bytes. */
struct block {
    uint8_t bytes[16];
    uint8_t size;   /* 4 or 16 */
    uint8_t prefix; /* bits that must agree */
};

struct blocks {
    struct block *items; /* of the policy's memory: nothing to free */
    size_t count;
};

typedef struct {
    weir_list allow, deny; /* of weir_str, as the YAML says */
    int64_t status;
    weir_str message;

    struct blocks allowed, denied; /* the same, parsed */
} ip_restriction;

static const weir_field fields[] = {
    WEIR_LIST(ip_restriction, allow, WEIR_TYPE_STRING, .help = "addresses or blocks let in"),
    WEIR_LIST(ip_restriction, deny, WEIR_TYPE_STRING, .help = "those kept out; looked at first"),
    WEIR_INTEGER(ip_restriction, status, .min = 100, .max = 599,
                 .help = "status of a refusal; 403 unless set"),
    WEIR_STRING(ip_restriction, message, .help = "message of a refusal"),
};

/* ---- addresses */

static bool parse_address(const char *text, struct block *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    out->size = 4;
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        return true;
    out->size = 16;
    if (inet_pton(AF_INET6, text, out->bytes) != 1)
        return false;
    /* ::ffff:10.0.0.1 is how a listener for both versions sees 10.0.0.1. */
    if (memcmp(out->bytes, mapped, sizeof(mapped)) == 0) {
        memmove(out->bytes, out->bytes + 12, 4);
        out->size = 4;
    }
    return true;
}

/* What the host gives is not terminated, and inet_pton() wants a string. */
static bool take_address(weir_str text, struct block *out)
{
    char name[INET6_ADDRSTRLEN];
    if (text.data == NULL || text.size >= sizeof(name))
        return false;
    memcpy(name, text.data, text.size);
    name[text.size] = '\0';
    return parse_address(name, out);
}

static bool parse_block(weir_str text, struct block *out)
{
    const char *slash = memchr(text.data, '/', text.size);
    weir_str address = {text.data, slash == NULL ? text.size : (size_t)(slash - text.data)};
    if (!take_address(address, out))
        return false;
    unsigned bits = 0;
    unsigned most = out->size * 8U;
    if (slash == NULL) {
        out->prefix = (uint8_t)most;
        return true;
    }
    const char *digit = slash + 1, *end = text.data + text.size;
    if (digit == end || end - digit > 3)
        return false;
    for (; digit < end; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        bits = bits * 10 + (unsigned)(*digit - '0');
    }
    /* ::ffff:10.0.0.0/104 speaks of 8 bits of version 4. */
    if (out->size == 4 && memchr(address.data, ':', address.size) != NULL) {
        if (bits < 96)
            return false;
        bits -= 96;
    }
    out->prefix = (uint8_t)bits;
    return bits <= most;
}

static bool is_within(const struct block *block, const struct block *address)
{
    size_t whole = block->prefix / 8U;
    unsigned rest = block->prefix % 8U;
    if (block->size != address->size || memcmp(block->bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || ((block->bytes[whole] ^ address->bytes[whole]) >> (8U - rest)) == 0;
}

static bool is_in(const struct blocks *blocks, const struct block *address)
{
    for (size_t i = 0; i < blocks->count; i++)
        if (is_within(&blocks->items[i], address))
            return true;
    return false;
}

/* ---- hooks */

/* How many are wrong. The path "allow[2]" becomes file, line and column of that element. */
static int parse_list(const void *self, weir_error *error, const char *name, const weir_list *list,
                      struct blocks *out)
{
    const weir_str *texts = list->items;
    int faults = 0;
    if (list->count == 0)
        return 0;
    out->items = weir_policy_alloc(self, list->count * sizeof(out->items[0]));
    if (out->items == NULL) {
        weir_error_at(error, name, "no memory");
        return 1;
    }
    for (size_t i = 0; i < list->count; i++) {
        char path[32];
        if (parse_block(texts[i], &out->items[i]))
            continue;
        (void)snprintf(path, sizeof(path), "%s[%zu]", name, i);
        weir_error_at(error, path, "invalid ip or cidr range: '%.*s'", (int)texts[i].size,
                      texts[i].data);
        faults++;
    }
    out->count = list->count;
    return faults;
}

static int configure(void *self, weir_error *error)
{
    ip_restriction *policy = self;
    if (policy->allow.count == 0 && policy->deny.count == 0) {
        weir_error_at(error, NULL,
                      "at least one of these fields must be non-empty: 'config.allow', "
                      "'config.deny'");
        return 1;
    }
    if (policy->status == WEIR_UNSET)
        policy->status = 403;
    return parse_list(self, error, "allow", &policy->allow, &policy->allowed) +
           parse_list(self, error, "deny", &policy->deny, &policy->denied);
}

static weir_verdict refuse(weir_request *request, uint32_t status, weir_str message)
{
    return weir_respond_error(request, status, message) == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

static weir_verdict refuse_address(weir_request *request, const ip_restriction *policy,
                                   weir_str address)
{
    char message[96]; /* the host copies it */
    if (policy->message.data != NULL)
        return refuse(request, (uint32_t)policy->status, policy->message);
    int size = snprintf(message, sizeof(message), "IP address not allowed: %.*s", (int)address.size,
                        address.data);
    return refuse(request, (uint32_t)policy->status, (weir_str){message, (size_t)size});
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const ip_restriction *policy = self;
    weir_str text = weir_request_text(request, WEIR_TEXT_CLIENT_IP);
    struct block address;
    (void)context;
    if (!take_address(text, &address))
        return refuse(request, 403,
                      WEIR_LIT("Cannot identify the client IP address, unix domain sockets are "
                               "not supported."));
    if (is_in(&policy->denied, &address) ||
        (policy->allowed.count > 0 && !is_in(&policy->allowed, &address)))
        return refuse_address(request, policy, text);
    return WEIR_NEXT;
}

WEIR_PLUGIN("ip-restriction", "1.0.0", 0, .priority = 990, WEIR_SELF(ip_restriction),
            WEIR_FIELDS(fields), .configure = configure, .access = on_access);
