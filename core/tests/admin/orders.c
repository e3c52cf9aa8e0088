/* Orders over HTTP, and a master that this test plays: what reaches its control socket, and what
 * becomes of its answers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "process/control.h"
#include "talk.h"

struct scene {
    struct loop *loop;
    struct shared *shared;
    struct admin *admin;
    struct control *control; /* NULL: there is no master */
    int fd;
    char folder[64], socket[96], plugins[96], file[128];
    char asked[8192];   /* the last question */
    const char *answer; /* NULL: it says nothing */
    int code;           /* of the answer */
    bool ends_admin;    /* when it is asked */
    unsigned questions;
};

static void on_asked(struct control_client *client, struct span question, void *user)
{
    struct scene *scene = user;
    scene->questions++;
    (void)snprintf(scene->asked, sizeof(scene->asked), "%.*s", SPAN_ARG(question));
    if (scene->ends_admin) {
        admin_destroy(scene->admin);
        scene->admin = NULL;
    }
    if (scene->answer != NULL)
        control_answer(client, scene->code, span_text(scene->answer));
}

static void scene_start(struct scene *scene)
{
    char why[256] = "";
    *scene = (struct scene){.loop = loop_create(), .fd = talk_listen(), .answer = "fine\n"};
    scene->shared = shared_create(1 << 20, 1);
    (void)snprintf(scene->folder, sizeof(scene->folder), "/tmp/weir-orders-XXXXXX");
    cr_assert(scene->loop != NULL && scene->shared != NULL && mkdtemp(scene->folder) != NULL);
    (void)snprintf(scene->socket, sizeof(scene->socket), "%s/weir.sock", scene->folder);
    (void)snprintf(scene->plugins, sizeof(scene->plugins), "%s/plugins", scene->folder);
    (void)snprintf(scene->file, sizeof(scene->file), "%s/a b.so", scene->plugins);
    cr_assert_eq(mkdir(scene->plugins, 0700), 0);
    FILE *file = fopen(scene->file, "w");
    cr_assert(file != NULL && fclose(file) == 0);
    scene->control = control_open(scene->loop, scene->socket, on_asked, scene, why, sizeof(why));
    cr_assert_not_null(scene->control, "%s", why);
    const struct admin_options options = {.loop = scene->loop,
                                          .shared = scene->shared,
                                          .control = scene->socket,
                                          .plugin_path = scene->plugins};
    scene->admin = admin_create(&options);
    cr_assert(scene->admin != NULL &&
              admin_listen(scene->admin, scene->fd, ADMIN_ADMIN, NULL) == WEIR_OK);
}

static void scene_stop(struct scene *scene)
{
    admin_destroy(scene->admin);
    control_close(scene->control, false);
    loop_destroy(scene->loop);
    shared_destroy(scene->shared);
    (void)close(scene->fd);
    (void)unlink(scene->file);
    (void)rmdir(scene->plugins);
    (void)rmdir(scene->folder);
}

static char *ask(struct scene *scene, const char *method, const char *target, const char *body)
{
    AUTO_BUF request = BUF_INIT;
    scene->asked[0] = '\0';
    buf_printf(&request,
               "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
               method, target, strlen(body), body);
    char *got = talk(scene->loop, scene->fd, buf_view(&request), request.size);
    cr_assert_not_null(got, "%s %s is not answered", method, target);
    return got;
}

static bool is_status(const char *got, int status)
{
    char want[16];
    (void)snprintf(want, sizeof(want), "HTTP/1.1 %d ", status);
    return strncmp(got, want, strlen(want)) == 0;
}

/* %F in a row is the plugins' folder. */
static void with_folder(const struct scene *scene, const char *text, char *out, size_t size)
{
    const char *at = strstr(text, "%F");
    if (at == NULL)
        (void)snprintf(out, size, "%s", text);
    else
        (void)snprintf(out, size, "%.*s%s%s", (int)(at - text), text, scene->plugins, at + 2);
}

Test(orders, what_reaches_the_master_is_one_checked_line)
{
    static const struct {
        const char *why, *method, *target, *body;
        const char *question; /* "": nothing */
        int status;
    } rows[] = {
        {"the list", "GET", "/weir/plugins", "", "plugins json", 200},
        {"a slash at the end", "GET", "/weir/plugins/", "", "plugins json", 200},
        {"the list without its body", "HEAD", "/weir/plugins", "", "plugins json", 200},
        {"a reload", "POST", "/weir/reload", "", "reload", 200},
        {"a rollback", "POST", "/weir/plugins/a/rollback", "", "rollback a", 200},
        {"a swap to what is in plugin_path", "POST", "/weir/plugins/a/swap", "", "swap a", 200},
        {"nothing asked for", "POST", "/weir/plugins/a/swap", " {} ", "swap a", 200},
        {"null is as if it was not there", "POST", "/weir/plugins/a/swap",
         "{\"file\":null,\"watch\":null}", "swap a", 200},
        {"all of it, the file last", "POST", "/weir/plugins/a-b_c.1/swap",
         "{\"file\":\"%F/a b.so\",\"canary\":\"25%\",\"watch\":2.5,\"wait\":true}",
         "swap a-b_c.1 canary=25% watch=2.500 wait file=%F/a b.so", 200},
        {"a path below plugin_path", "POST", "/weir/plugins/a/swap",
         "{\"file\":\"x/../a b.so\",\"wait\":false}", "", 403},
        {"what is there is found", "POST", "/weir/plugins/a/swap", "{\"file\":\"./a b.so\"}",
         "swap a file=%F/a b.so", 200},
        {"a number of workers", "POST", "/weir/plugins/a/swap", "{\"canary\":3}", "swap a canary=3",
         200},
        {"dots lead out", "POST", "/weir/plugins/a/swap", "{\"file\":\"../weir.sock\"}", "", 403},
        {"an escape ends no line", "POST", "/weir/plugins/a/swap", "{\"file\":\"a b.so\\nreload\"}",
         "", 400},
        {"a NUL ends a path: what is before it is no file", "POST", "/weir/plugins/a/swap",
         "{\"file\":\"a\\u0000b\"}", "", 403},
        {"a word more", "POST", "/weir/plugins/a/swap", "{\"canary\":\"1 wait\"}", "", 400},
        {"no number", "POST", "/weir/plugins/a/swap", "{\"canary\":\"%\"}", "", 400},
        {"a canary of all digits", "POST", "/weir/plugins/a/swap", "{\"canary\":\"10000\"}", "",
         400},
        {"a watch of two days", "POST", "/weir/plugins/a/swap", "{\"watch\":172800}", "", 400},
        {"deep", "POST", "/weir/plugins/a/swap", "{\"wait\":[[[[[[[[]]]]]]]]}", "", 400},
        {"a space in a name", "POST", "/weir/plugins/a%20b/rollback", "", "", 400},
        {"a line end in a name", "POST", "/weir/plugins/a%0Areload/rollback", "", "", 400},
        {"read, not done", "GET", "/weir/plugins/a/rollback", "", "", 405},
        {"elsewhere", "POST", "/weir/plugins/a/unload", "", "", 404},
    };
    struct scene scene;
    scene_start(&scene);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char body[512], question[512];
        with_folder(&scene, rows[i].body, body, sizeof(body));
        with_folder(&scene, rows[i].question, question, sizeof(question));
        char *got = ask(&scene, rows[i].method, rows[i].target, body);
        cr_expect(is_status(got, rows[i].status), "%s: %s", rows[i].why, got);
        cr_expect_str_eq(scene.asked, question, "%s", rows[i].why);
        free(got);
    }
    scene_stop(&scene);
}

Test(orders, what_the_master_says_becomes_json)
{
    static const struct {
        const char *why;
        int code;
        const char *answer, *method, *target;
        int status;
        const char *body;
    } rows[] = {
        {"lines", 0, "one\n\ntwo \"2\"\n", "POST", "/weir/reload", 200,
         "{\"message\":\"one\",\"lines\":[\"one\",\"two \\\"2\\\"\"]}"},
        {"nothing to say", 0, "", "POST", "/weir/reload", 200,
         "{\"message\":\"done\",\"lines\":[]}"},
        {"a refusal", 1, "no\n", "POST", "/weir/plugins/a/rollback", 409,
         "{\"message\":\"no\",\"lines\":[\"no\"]}"},
        {"a bad configuration is one too", 3, "w.yaml:1: no\n", "POST", "/weir/reload", 409,
         "{\"message\":\"w.yaml:1: no\",\"lines\":[\"w.yaml:1: no\"]}"},
        {"a refusal without a word", 1, "", "POST", "/weir/reload", 409,
         "{\"message\":\"refused\",\"lines\":[]}"},
        {"the list is JSON already", 0, "{\"plugins\":[]}", "GET", "/weir/plugins", 200,
         "{\"plugins\":[]}"},
        {"its refusal is not", 1, "no memory\n", "GET", "/weir/plugins", 409,
         "{\"message\":\"no memory\",\"lines\":[\"no memory\"]}"},
    };
    struct scene scene;
    scene_start(&scene);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        scene.answer = rows[i].answer;
        scene.code = rows[i].code;
        char *got = ask(&scene, rows[i].method, rows[i].target, "");
        const char *body = strstr(got, "\r\n\r\n");
        cr_expect(is_status(got, rows[i].status), "%s: %s", rows[i].why, got);
        cr_expect_str_eq(body == NULL ? "" : body + 4, rows[i].body, "%s", rows[i].why);
        free(got);
    }
    scene_stop(&scene);
}

Test(orders, without_a_master_it_says_so)
{
    struct scene scene;
    scene_start(&scene);
    control_close(scene.control, false);
    scene.control = NULL;
    char *got = ask(&scene, "POST", "/weir/reload", "");
    cr_expect(is_status(got, 503), "%s", got);
    free(got);
    scene_stop(&scene);
}

/* Each waiting client has its room; the one too many is told at once. */
Test(orders, no_more_wait_than_there_is_room_for)
{
    enum { ROOM = 16 };
    struct scene scene;
    scene_start(&scene);
    scene.answer = NULL;
    AUTO_BUF request = BUF_INIT;
    buf_text(&request, "POST /weir/reload HTTP/1.1\r\nHost: a\r\n\r\n");
    int fds[ROOM];
    for (int i = 0; i < ROOM; i++) {
        fds[i] = talk_connect(scene.fd);
        cr_assert_eq(send(fds[i], request.data, request.size, MSG_NOSIGNAL), (ssize_t)request.size);
    }
    for (int i = 0; i < 10000 && scene.questions < ROOM; i++)
        loop_poll(scene.loop);
    cr_assert_eq(scene.questions, ROOM);
    char *got = ask(&scene, "POST", "/weir/reload", "");
    cr_expect(is_status(got, 503), "%s", got);
    cr_expect_eq(scene.questions, ROOM);
    free(got);
    scene_stop(&scene); /* with all of them waiting */
    for (int i = 0; i < ROOM; i++)
        (void)close(fds[i]);
}

/* The listener ends while the master is asked: nobody is answered, nothing is left behind. */
Test(orders, an_end_while_the_master_thinks)
{
    struct scene scene;
    scene_start(&scene);
    scene.ends_admin = true;
    AUTO_BUF request = BUF_INIT;
    buf_text(&request, "POST /weir/reload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *got = talk(scene.loop, scene.fd, buf_view(&request), request.size);
    cr_assert_not_null(got);
    cr_expect_str_eq(got, "");
    cr_expect_eq(scene.questions, 1);
    free(got);
    scene_stop(&scene);
}
