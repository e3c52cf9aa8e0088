/* What is left when policies or their images go: nothing that calls into them, nothing that lies in
 * them, and no more images than the bound. */
#include <criterion/criterion.h>
#include <link.h>
#include <stdio.h>
#include <unistd.h>

#include "plugin_host/calls.h"
#include "plugin_host/request.h"
#include "policy_fixture.h"

static struct fixture f;

#define HEAD                                 \
    "_format_version: \"3.0\"\n"             \
    "services: [{name: s, host: up.test}]\n" \
    "routes: [{name: r, service: s, paths: [/r]}]\n"

static void tear_down(void)
{
    fixture_close(&f);
}

TestSuite(ends, .fini = tear_down, .timeout = 60);

/* ---- timers and watches: a loop that keeps them and fires when told */

enum { LENT_MAX = 16 };

static struct lent {
    bool active, is_io, repeats;
    void (*fire)(void *arg);
    void (*ready)(void *arg, uint32_t events);
    void *arg;
} lent[LENT_MAX];
static size_t lent_count;

static struct lent *lend(struct lent what)
{
    cr_assert_lt(lent_count, (size_t)LENT_MAX);
    what.active = true;
    lent[lent_count] = what;
    return &lent[lent_count++];
}

static void *timer_start(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                         void *arg)
{
    (void)user, (void)delay_ms;
    return lend((struct lent){.repeats = repeat_ms > 0, .fire = fire, .arg = arg});
}

static void *io_add(void *user, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
                    void *arg)
{
    (void)user, (void)fd, (void)events;
    return lend((struct lent){.is_io = true, .ready = ready, .arg = arg});
}

static void give_back(struct lent *one, bool is_io)
{
    cr_expect(one->active, "ended once");
    cr_expect_eq(one->is_io, is_io);
    one->active = false;
}

static void timer_stop(void *user, void *timer)
{
    (void)user;
    give_back(timer, false);
}

static void io_remove(void *user, void *io)
{
    (void)user;
    give_back(io, true);
}

static size_t still_lent(void)
{
    size_t count = 0;
    for (size_t i = 0; i < lent_count; i++)
        count += lent[i].active;
    return count;
}

static void fire_all(void)
{
    for (size_t i = 0; i < lent_count; i++) {
        if (!lent[i].active)
            continue;
        lent[i].active = lent[i].is_io || lent[i].repeats;
        if (lent[i].is_io)
            lent[i].ready(lent[i].arg, WEIR_IO_READ);
        else
            lent[i].fire(lent[i].arg);
    }
}

static size_t fired;

static void on_timer(void *self, void *user)
{
    (void)self;
    fired++;
    if (user != NULL) /* a timer that stops itself, and is freed when its hook has returned */
        call_timer_stop(*(weir_timer **)user);
}

static void on_io(void *self, void *user, int fd, uint32_t events)
{
    (void)self, (void)user, (void)fd, (void)events;
    fired++;
}

Test(ends, timers_and_watches_end_with_their_policy)
{
    static const struct host_services services = {
        .timer_start = timer_start,
        .timer_stop = timer_stop,
        .io_add = io_add,
        .io_remove = io_remove,
    };
    fixture_open(&f, &services);
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_load(&f, HEAD "plugins: [{name: p}, {name: p, route: r}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    static weir_timer *own;
    for (size_t i = 0; i < policies_count(f.policies); i++) {
        const void *self = policies_at(f.policies, i)->policy->self;
        cr_expect_not_null(call_timer_start(self, 10, 0, on_timer, NULL));
        cr_expect_not_null(call_timer_start(self, 10, 10, on_timer, NULL));
        cr_expect_not_null(call_io_add(self, STDIN_FILENO, WEIR_IO_READ, on_io, NULL));
    }
    own = call_timer_start(policies_at(f.policies, 0)->policy->self, 10, 10, on_timer, &own);
    cr_expect_not_null(own);
    cr_expect_eq(still_lent(), 7);
    fire_all();
    cr_expect_eq(fired, 7);
    cr_expect_eq(still_lent(), 4, "two ran once, one stopped itself");
    policies_stop(f.policies);
    cr_expect_eq(still_lent(), 0);
    fire_all();
    cr_expect_eq(fired, 7, "nobody is called any more");
    policies_stop(f.policies); /* and once more: nothing is ended twice */
}

/* ---- images that cannot be unloaded */

static char *text_of_build; /* the file, patched for each build */
static long size_of_build;

static void read_build(const char *path)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    size_of_build = ftell(file);
    cr_assert_gt(size_of_build, 0);
    rewind(file);
    text_of_build = malloc((size_t)size_of_build);
    cr_assert_not_null(text_of_build);
    cr_assert_eq(fread(text_of_build, 1, (size_t)size_of_build, file), (size_t)size_of_build);
    cr_assert_eq(fclose(file), 0);
}

/* Another version wherever the file says it: another build, without a compiler. */
static void write_build(const char *path, unsigned number)
{
    static const char mark[] = "7.7.";
    size_t marks = 0;
    for (long at = 0; at + 8 <= size_of_build; at++) {
        if (memcmp(text_of_build + at, mark, 4) != 0)
            continue;
        char digits[8];
        (void)snprintf(digits, sizeof(digits), "%03u", number % 1000);
        memcpy(text_of_build + at + 4, digits, 3);
        marks++;
    }
    cr_assert_gt(marks, 0);
    (void)unlink(path);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text_of_build, 1, (size_t)size_of_build, file), (size_t)size_of_build);
    cr_assert_eq(fclose(file), 0);
}

#define VERSION(text) "#include <weir/weir.h>\nWEIR_PLUGIN(\"p\", \"" text "\", 0, .priority = 1);"

Test(ends, of_images_that_cannot_be_unloaded_only_so_many_stay)
{
    enum { SWAPS = 50, MOST = 64 }; /* MOST: images.c */
    struct image_refusal refusal = {""};
    struct image *image = NULL;
    char path[128];
    fixture_open(&f, NULL);
    struct images *images = f.plugins.images;
    fixture_compile(&f, "p", VERSION("7.7.000"), "-Wl,-z,nodelete");
    (void)snprintf(path, sizeof(path), "%s/p.so", f.folder);
    read_build(path);
    for (unsigned i = 0; i < MOST; i++) {
        write_build(path, i);
        cr_assert_eq(images_acquire(images, "p", path, &image, &refusal), WEIR_OK, "%u: %s", i,
                     refusal.text);
        char version[16];
        (void)snprintf(version, sizeof(version), "7.7.%03u", i);
        cr_expect_str_eq(image_plugin(image)->version, version, "the new code, not the old");
        images_release(images, image);
        cr_expect_eq(images_pinned(images), i + 1);
        if (i + 1 == SWAPS)
            cr_expect_eq(images_count(images), SWAPS, "fifty swaps are under the bound");
    }
    write_build(path, MOST);
    image = NULL;
    cr_expect_eq(images_acquire(images, "p", path, &image, &refusal), WEIR_ERR_LIMIT);
    cr_expect_null(image);
    char want[256];
    (void)snprintf(want, sizeof(want),
                   "plugin 'p': %s cannot be unloaded and %d such images are loaded already", path,
                   MOST);
    cr_expect_str_eq(refusal.text, want);
    cr_expect_eq(images_count(images), MOST);
    write_build(path, 5);
    cr_expect_eq(images_acquire(images, "p", path, &image, &refusal), WEIR_OK,
                 "one that is there costs nothing: %s", refusal.text);
    images_release(images, image);
    fixture_compile(&f, "p", VERSION("8.0.0"), "");
    cr_expect_eq(images_acquire(images, "p", path, &image, &refusal), WEIR_OK,
                 "one that goes again is welcome: %s", refusal.text);
    images_release(images, image);
    cr_expect_eq(images_count(images), MOST);
    free(text_of_build);
}

/* ---- texts that lay in an image */

static const char literals[] =
    "#include <weir/weir.h>\n"
    "typedef struct { weir_header_id own, vary; } conf;\n"
    "static int configure(void *self, weir_error *error)\n"
    "{ conf *c = self; (void)error;\n"
    "  c->own = weir_header_intern(WEIR_LIT(\"X-From-Image\"));\n"
    "  c->vary = weir_header_intern(WEIR_LIT(\"Vary\"));\n"
    "  return 0; }\n"
    "static weir_verdict access_hook(weir_request *r, void *self, void *context)\n"
    "{ conf *c = self; (void)context;\n"
    "  weir_header_set(r, WEIR_SIDE_REQUEST, c->own, WEIR_LIT(\"a literal\"));\n"
    "  weir_header_add(r, WEIR_SIDE_RESPONSE, c->vary, WEIR_LIT(\"early\"));\n"
    "  weir_path_set(r, WEIR_LIT(\"/of/the/image\"));\n"
    "  weir_respond(r, 418, WEIR_LIT(\"text/x-image\"), WEIR_LIT(\"its body\"));\n"
    "  return WEIR_DONE; }\n"
    "WEIR_PLUGIN(\"p\", \"1.0.0\", 0, .priority = 1, WEIR_SELF(conf), .configure = configure,\n"
    "    .access = access_hook);\n";

#ifndef WEIR_NO_DLCLOSE
static int count_mapped(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    *(size_t *)user += strncmp(info->dlpi_name, f.folder, strlen(f.folder)) == 0;
    return 0;
}
#endif

static size_t mapped_images(void)
{
    size_t count = 0;
#ifndef WEIR_NO_DLCLOSE
    (void)dl_iterate_phdr(count_mapped, &count);
#endif
    return count;
}

Test(ends, what_an_image_gave_as_literals_is_read_when_it_is_gone)
{
    static struct weir_request request;
    static struct http_header items[8];
    static const struct request_ops ops;
    fixture_open(&f, NULL);
    fixture_compile(&f, "p", literals, "");
    fixture_load(&f, HEAD "plugins: [{name: p}]\n");
    cr_assert_eq(f.err, WEIR_OK, "%s", fixture_problems(&f));
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    cr_assert_not_null(arena);
    request_begin(&request, f.plugins.host, &ops, arena, f.policies);
    http_headers_init(&request.head.headers, items, COUNT_OF(items));
    cr_assert_eq(request_enter_global(&request), WEIR_OK);
    request.route = fixture_route(&f, "r");
    cr_assert_eq(request_enter_route(&request), WEIR_OK);
    cr_assert_eq(phase_run(&request, PHASE_ACCESS), PHASE_DONE);
    request_end(&request);
#ifdef WEIR_NO_DLCLOSE
    (void)printf("a sanitized build unloads nothing: that the image is gone is not tested\n");
#else
    cr_assert_eq(mapped_images(), 1);
#endif
    policies_stop(f.policies);
    f.policies = NULL;
    catalog_destroy(f.plugins.catalog);
    f.plugins.catalog = NULL;
    cr_assert_eq(images_count(f.plugins.images), 0);
    cr_assert_eq(mapped_images(), 0);
    cr_expect(span_equal(items[0].name, SPAN("X-From-Image")));
    cr_expect(span_equal(items[0].value, SPAN("a literal")));
    cr_assert_not_null(request.early_fields);
    cr_expect(span_equal(request.early_fields->items[0].value, SPAN("early")));
    cr_expect(span_equal(request.path_override, SPAN("/of/the/image")));
    cr_expect_eq(request.reply.status, 418);
    cr_expect(span_equal(request.reply.content_type, SPAN("text/x-image")));
    cr_expect(span_equal(request.reply.body, SPAN("its body")));
}
