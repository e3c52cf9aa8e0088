/* Ends its worker as the request (X-Do: "HOW WHERE") or its configuration asks, and says before in
 * a file which request it was; or speaks on the worker's channel to the master, which is not its
 * business. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/weir.h>

typedef struct {
    weir_str how, where, file;
    weir_header_id todo, pid;
    int fd;
} crashing;

static const weir_field fields[] = {
    WEIR_STRING(crashing, how, .def = "", .help = "segv, abort, overflow, bus, loop, exit"),
    WEIR_STRING(crashing, where, .def = "", .help = "configure or start"),
    WEIR_STRING(crashing, file, .def = "/dev/null", .help = "where it says what it is about to do"),
};

static int is(weir_str text, const char *wanted)
{
    return text.size == strlen(wanted) && memcmp(text.data, wanted, text.size) == 0;
}

/* ---- ends */

#define END(name) __attribute__((noinline, noclone)) static void name(void)

static void *volatile nothing;

END(do_segv)
{
    *(volatile int *)nothing = 1;
}

END(do_abort)
{
    abort();
}

/* The optimizer must not see that it never ends. */
__attribute__((noinline, noclone)) static int deeper(volatile char *above, int depth)
{
    volatile char room[1024];
    room[depth % 1024] = (char)(above[0] + 1);
    int below = nothing == NULL ? deeper(room, depth + 1) : depth;
    return below + room[depth % 1024];
}

END(do_overflow)
{
    volatile char first[1] = {0};
    (void)deeper(first, 0);
}

END(do_bus)
{
    int fd = memfd_create("shrinks", MFD_CLOEXEC);
    volatile char *mapped = NULL;
    if (fd >= 0 && ftruncate(fd, 4096) == 0)
        mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == NULL || mapped == MAP_FAILED || ftruncate(fd, 0) != 0)
        return;
    (void)mapped[10];
}

END(do_loop)
{
    while (nothing == NULL)
        continue;
}

END(do_exit)
{
    _exit(0);
}

static void *wild_thread(void *user)
{
    (void)user;
    do_segv();
    return NULL;
}

END(do_thread)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wild_thread, NULL) == 0)
        (void)pthread_join(thread, NULL);
}

END(do_null_call)
{
    void (*volatile function)(void) = NULL;
    function();
    nothing = NULL; /* or the call above would be a jump, and its caller unknown */
}

/* ---- the channel */

struct head { /* of a message: core/process/channel.c */
    uint32_t magic, type;
    uint64_t number;
    uint32_t text_size, has_fd;
};

static int find_channel(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        int type = 0;
        socklen_t size = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET)
            return fd;
    }
    return -1;
}

END(do_garbage)
{
    (void)!write(find_channel(), "rubbish that is as long as a message", 36);
}

END(do_half)
{
    struct head head = {0x77656972u, 7, 1, 100, 0};
    (void)!write(find_channel(), &head, sizeof(head));
}

/* Until the master stops reading. */
END(do_flood)
{
    struct head head = {0x77656972u, 8 /* PREPARED */, 1, 0, 0};
    int fd = find_channel(), refused = 0;
    for (int i = 0; i < 20000 && refused < 1000; i++) {
        if (write(fd, &head, sizeof(head)) < 0) {
            refused++;
            usleep(100);
        }
    }
}

END(do_command)
{
    struct head head = {0x77656972u, 0, 1, 0, 0};
    (void)!write(find_channel(), &head, sizeof(head));
}

/* More descriptors than any message has. */
END(do_descriptors)
{
    struct head head = {0x77656972u, 8 /* PREPARED */, 1, 0, 1};
    int fds[2] = {0, 0};
    struct iovec part = {&head, sizeof(head)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(fds))];
    } control;
    memset(&control, 0, sizeof(control));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    (void)sendmsg(find_channel(), &packet, 0);
}

END(do_close)
{
    (void)close(find_channel());
}

static const struct {
    const char *how;
    void (*run)(void);
} ends[] = {
    {"segv", do_segv},
    {"abort", do_abort},
    {"overflow", do_overflow},
    {"bus", do_bus},
    {"loop", do_loop},
    {"exit", do_exit},
    {"null_call", do_null_call},
    {"thread", do_thread},
    {"garbage", do_garbage},
    {"half", do_half},
    {"flood", do_flood},
    {"command", do_command},
    {"descriptors", do_descriptors},
    {"close", do_close},
};

static void end(weir_str how)
{
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (is(how, ends[i].how))
            ends[i].run();
}

/* ---- hooks */

static void say(const crashing *policy, weir_request *request)
{
    char line[128];
    weir_str id = {"-", 1};
    if (request != NULL)
        id = weir_request_text(request, WEIR_TEXT_REQUEST_ID);
    int size = snprintf(line, sizeof(line), "%d %.*s\n", (int)getpid(), (int)id.size, id.data);
    (void)!write(policy->fd, line, (size_t)size);
}

static weir_str asked(const crashing *policy, weir_request *request, const char *where)
{
    weir_str todo = weir_header_get(request, WEIR_SIDE_REQUEST, policy->todo, 0);
    const char *space = todo.size == 0 ? NULL : memchr(todo.data, ' ', todo.size);
    if (space == NULL)
        return (weir_str){NULL, 0};
    size_t how = (size_t)(space - todo.data);
    weir_str place = {space + 1, todo.size - how - 1};
    return is(place, where) ? (weir_str){todo.data, how} : (weir_str){NULL, 0};
}

static weir_verdict act(const crashing *policy, weir_request *request, const char *where)
{
    weir_str how = asked(policy, request, where);
    if (how.size == 0)
        return WEIR_NEXT;
    say(policy, request);
    end(how);
    return WEIR_NEXT;
}

static int configure(void *self, weir_error *error)
{
    crashing *policy = self;
    (void)error;
    policy->todo = weir_header_intern(WEIR_LIT("X-Do"));
    policy->pid = weir_header_intern(WEIR_LIT("X-Pid"));
    if (is(policy->where, "configure"))
        end(policy->how);
    return 0;
}

static int start(void *self)
{
    crashing *policy = self;
    char path[256];
    (void)snprintf(path, sizeof(path), "%.*s", (int)policy->file.size, policy->file.data);
    policy->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (is(policy->where, "start"))
        end(policy->how);
    return 0;
}

static void stop(void *self)
{
    const crashing *policy = self;
    (void)close(policy->fd);
}

static weir_verdict on_rewrite(weir_request *request, void *self, void *context)
{
    (void)context;
    return act(self, request, "rewrite");
}

static char kept_how[32]; /* the request may be gone when the timer fires */

static void on_timer(void *self, void *user)
{
    (void)user;
    say(self, NULL);
    end((weir_str){kept_how, strlen(kept_how)});
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)context, (void)why;
    return act(self, request, "wake");
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    crashing *policy = self;
    (void)context;
    weir_str how = asked(policy, request, "timer");
    if (how.size > 0 && how.size < sizeof(kept_how)) {
        memcpy(kept_how, how.data, how.size);
        kept_how[how.size] = '\0';
        if (weir_timer_start(self, 1, 0, on_timer, NULL) == NULL)
            return WEIR_FAIL;
        return weir_park(request, 20000, on_wake) == 0 ? WEIR_FAIL : WEIR_WAIT;
    }
    if (asked(policy, request, "wake").size > 0)
        return weir_park(request, 1, on_wake) == 0 ? WEIR_FAIL : WEIR_WAIT;
    return act(policy, request, "access");
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    (void)context, (void)chunk, (void)last;
    return act(self, request, "request_body");
}

static weir_verdict on_upstream(weir_request *request, void *self, void *context)
{
    (void)context;
    return act(self, request, "upstream");
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const crashing *policy = self;
    char text[16];
    (void)context;
    int size = snprintf(text, sizeof(text), "%d", (int)getpid());
    if (weir_header_set(request, WEIR_SIDE_RESPONSE, policy->pid, (weir_str){text, (size_t)size}))
        return WEIR_FAIL;
    return act(policy, request, "response_headers");
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    (void)context, (void)chunk, (void)last;
    return act(self, request, "response_body");
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)context;
    (void)act(self, request, "log");
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.1", WEIR_CAP_BODY | WEIR_CAP_THREADS, .priority = 500,
            WEIR_SELF(crashing), WEIR_FIELDS(fields), .request_body_need = WEIR_BODY_TEE,
            .response_body_need = WEIR_BODY_TEE, .configure = configure, .start = start,
            .stop = stop, .rewrite = on_rewrite, .access = on_access,
            .request_body = on_request_body, .upstream = on_upstream,
            .response_headers = on_response_headers, .response_body = on_response_body,
            .log = on_log);
