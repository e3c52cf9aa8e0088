/* A plugin of some other SDK: its descriptor is patched as CASE says, the way an older, a newer or
 * a broken one would look. */
#define _GNU_SOURCE
#include <string.h>

#include <weir/weir.h>

#define SHORTER 1
#define TOO_SHORT 2
#define LONGER 3
#define LONGER_USED 4
#define MAJOR 5
#define MINOR 6
#define WIDE 7
#define WIDE_USED 8
#define NARROW 9
#define ODD 10
#define EXTENSION 11
#define NO_DESCRIPTOR 12
#define OTHER_NAME 13
#define MANIFEST_MAJOR 14
#define PLAIN 15
#define NULL_ROWS 16

#if CASE == MANIFEST_MAJOR
#define ABI "2.0"
#elif CASE == MINOR
#define ABI "1.7"
#else
#define ABI "1.0"
#endif

const weir_host *weir_host_table;
__attribute__((section(".weir.manifest"), used)) static const char manifest[] =
    "weir-plugin/1\nname=" PLUGIN_NAME "\nversion=1.0.0\nabi=" ABI "\n";

typedef struct {
    int64_t number, other;
    weir_header_id header;
} version;

#if CASE == WIDE || CASE == WIDE_USED
typedef struct {
    weir_field known;
    uint64_t later[3];
} row;
#define ROW(known_)                                           \
    {                                                         \
        .known = known_, .later = { 0, 0, CASE == WIDE_USED } \
    }
static const row fields[] = {ROW(WEIR_INTEGER(version, number, .min = 1, .max = 9, .def = "3")),
                             ROW(WEIR_INTEGER(version, other))};
#else
typedef weir_field row;
static const row fields[] = {WEIR_INTEGER(version, number, .min = 1, .max = 9, .def = "3")};
#endif

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((version *)self)->header = weir_header_intern(WEIR_LIT("X-Version"));
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const version *policy = self;
    (void)context;
    if (CASE == ODD)
        return 77;
    if (CASE == EXTENSION &&
        (weir_ext("weir.nothing/1") != NULL || weir_ext("") != NULL || weir_ext(NULL) != NULL))
        return WEIR_FAIL;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->header, policy->number)
               ? WEIR_FAIL
               : WEIR_NEXT;
}

#if CASE == SHORTER || CASE == TOO_SHORT
static void never(weir_request *request, void *self, void *context)
{
    (void)request;
    (void)self;
    (void)context;
    __builtin_trap(); /* it lies beyond the size */
}
#endif

static const struct {
    weir_plugin plugin;
    uint64_t later[4];
} descriptor = {
    .plugin =
        {
#if CASE == SHORTER
            .size = (uint32_t)offsetof(weir_plugin, log),
            .log = never,
#elif CASE == TOO_SHORT
            .size = 16,
            .log = never,
#elif CASE == LONGER || CASE == LONGER_USED
            .size = (uint32_t)(sizeof(weir_plugin) + 4 * sizeof(uint64_t)),
#else
            .size = (uint32_t)sizeof(weir_plugin),
#endif
            .major = CASE == MAJOR ? 2 : WEIR_MAJOR,
            .minor = CASE == MINOR ? 7 : 0,
            .name = CASE == OTHER_NAME ? "somebody" : PLUGIN_NAME,
            .version = "1.0.0",
            .priority = 500,
            .self_size = (uint32_t)sizeof(version),
            .fields = CASE == NULL_ROWS ? NULL : (const weir_field *)(const void *)fields,
            .field_count = (uint32_t)(sizeof(fields) / sizeof(fields[0])),
            .field_stride = CASE == NARROW ? 0 : (uint32_t)sizeof(fields[0]),
            .configure = configure,
            .access = on_access,
        },
    .later = {0, 0, 0, CASE == LONGER_USED},
};

__attribute__((visibility("default"))) const weir_plugin *weir_plugin_v1(const weir_host *host);
const weir_plugin *weir_plugin_v1(const weir_host *host)
{
    weir_host_table = host;
    return CASE == NO_DESCRIPTOR ? NULL : &descriptor.plugin;
}
