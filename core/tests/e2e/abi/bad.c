/* A policy that is broken in the way that CASE says, and works without one. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#ifndef NAME
#define NAME "policy"
#endif
#ifndef MANIFEST
#define MANIFEST "weir-plugin/1\nname=" NAME "\nversion=1.0.0\nabi=1.0\n"
#endif

const weir_host *weir_host_table;
#ifndef NO_MANIFEST
__attribute__((section(".weir.manifest"), used)) static const char manifest[] = MANIFEST;
#endif

typedef struct {
    int64_t number, other;
    weir_header_id header;
} policy;

static const weir_field fields[] = {
    WEIR_INTEGER(policy, number, .def = "1"),
    WEIR_INTEGER(policy, other, .def = "2"),
};

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((policy *)self)->header = weir_header_intern(WEIR_LIT("X-Number"));
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    (void)context;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, mine->header, mine->number)
               ? WEIR_FAIL
               : WEIR_NEXT;
}

int not_there_at_all(void);

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void before_anything_else(void)
{
    raise(SIGSEGV);
}
#endif

#ifndef ENTRY
#define ENTRY weir_plugin_v1
#endif
const weir_plugin *ENTRY(const weir_host *host);
__attribute__((visibility("default"))) const weir_plugin *ENTRY(const weir_host *host)
{
    static struct {
        weir_plugin known;
        uint64_t later[4];
    } offered;
    static weir_field rows[2];
    weir_plugin *descriptor = &offered.known;
    weir_host_table = host;
    memcpy(rows, fields, sizeof(rows));
    *descriptor = (weir_plugin){.size = sizeof(weir_plugin),
                                .major = 1,
                                .name = "policy",
                                .version = "1.0.0",
                                .self_size = sizeof(policy),
                                .fields = rows,
                                .field_count = 2,
                                .field_stride = sizeof(weir_field),
                                .configure = configure,
                                .access = on_access};
#ifdef BREAK
    BREAK;
#endif
    return descriptor;
}
