/* Builds in use are counted, folders are searched in order. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy_fixture.h"

static struct fixture f;
static struct image_refusal refusal;

static void set_up(void)
{
    fixture_open(&f, NULL);
}

static void tear_down(void)
{
    fixture_close(&f);
}

TestSuite(images, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *path_of(const char *file)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", f.folder, file);
    return path;
}

static struct image *acquire(const char *name)
{
    struct image *image = NULL;
    char file[64];
    (void)snprintf(file, sizeof(file), "%s.so", name);
    cr_assert_eq(images_acquire(f.plugins.images, name, path_of(file), &image, &refusal), WEIR_OK,
                 "%s", refusal.text);
    return image;
}

#define VERSION(text) "#include <weir/weir.h>\nWEIR_PLUGIN(\"p\", \"" text "\", 0, .priority = 1);"

Test(images, the_same_build_is_loaded_once_and_another_beside_it)
{
    struct images *images = f.plugins.images;
    fixture_compile(&f, "p", VERSION("1.0.0"), "");
    struct image *first = acquire("p"), *again = acquire("p");
    cr_expect_eq(first, again);
    cr_expect_eq(images_count(images), 1);
    fixture_compile(&f, "p", VERSION("2.0.0"), "");
    struct image *second = acquire("p");
    cr_expect_neq(first, second);
    cr_expect_str_eq(image_plugin(first)->version, "1.0.0", "the old one stays as it is");
    cr_expect_str_eq(image_plugin(second)->version, "2.0.0");
    cr_expect_eq(images_count(images), 2);
    images_release(images, first);
    cr_expect_eq(images_count(images), 2, "it is used once more");
    images_release(images, again);
    cr_expect_eq(images_count(images), 1);
    images_release(images, second);
    cr_expect_eq(images_count(images), 0);
    cr_expect_eq(images_pinned(images), 0);
}

Test(images, what_cannot_be_unloaded_is_kept_and_used_again)
{
    static const struct {
        const char *why, *source, *flags;
    } rows[] = {
        {"the linker says so", VERSION("1.0.0"), "-Wl,-z,nodelete"},
        {"it has threads",
         "#include <weir/weir.h>\nWEIR_PLUGIN(\"p\", \"2\", WEIR_CAP_THREADS, .priority = 1);", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        fixture_compile(&f, "p", rows[i].source, rows[i].flags);
        struct image *image = acquire("p");
        images_release(f.plugins.images, image);
        cr_expect_eq(images_count(f.plugins.images), i + 1, "%s", rows[i].why);
        cr_expect_eq(images_pinned(f.plugins.images), i + 1, "%s", rows[i].why);
        cr_expect_eq(acquire("p"), image, "%s", rows[i].why);
        images_release(f.plugins.images, image);
    }
}

Test(images, a_refused_file_leaves_nothing_behind)
{
    struct image *image = NULL;
    cr_expect_eq(images_acquire(f.plugins.images, "p", path_of("none.so"), &image, &refusal),
                 WEIR_ERR_SYSTEM);
    cr_expect_not_null(strstr(refusal.text, "No such file or directory"), "%s", refusal.text);
    fixture_compile(&f, "p", "int x;", "");
    cr_expect_eq(images_acquire(f.plugins.images, "p", path_of("p.so"), &image, &refusal),
                 WEIR_ERR_INVALID);
    cr_expect_not_null(strstr(refusal.text, "plugin 'p': "), "%s", refusal.text);
    cr_expect_null(image);
    cr_expect_eq(images_count(f.plugins.images), 0);
}

/* ---- catalog */

Test(images, of_two_folders_the_first_one_wins)
{
    char list[600], folder[256];
    fixture_compile(&f, "p", VERSION("1.0.0"), "");
    (void)snprintf(folder, sizeof(folder), "%s", path_of("first"));
    cr_assert_eq(mkdir(folder, 0700), 0);
    (void)snprintf(list, sizeof(list), "%s/p.so", folder);
    cr_assert_eq(rename(path_of("p.so"), list), 0);
    fixture_compile(&f, "p", VERSION("2.0.0"), "");
    fixture_plugin(&f, "q", "-DPRIORITY=1");
    (void)snprintf(list, sizeof(list), "%s::/nowhere:%s", folder, f.folder);
    AUTO(catalog_destroy) struct catalog *catalog = catalog_create(list, f.plugins.images);
    cr_assert_not_null(catalog);
    cr_expect_str_eq(catalog_name(catalog, 0), "p");
    cr_expect_str_eq(catalog_name(catalog, 1), "q");
    cr_expect_null(catalog_name(catalog, 2));
    const struct image *image = catalog_find_image(catalog, SPAN("p"), &refusal);
    cr_assert_not_null(image, "%s", refusal.text);
    cr_expect_str_eq(image_plugin(image)->version, "1.0.0");
    cr_expect_not_null(catalog_find_image(catalog, SPAN("q"), &refusal), "%s", refusal.text);
    cr_expect_null(catalog_find_image(catalog, SPAN("none"), &refusal));
    char want[640];
    (void)snprintf(want, sizeof(want), "no plugin 'none' in %s", list);
    cr_expect_str_eq(refusal.text, want);
}

Test(images, nothing_is_loaded_that_nobody_asks_for)
{
    fixture_plugin(&f, "p", "-DPRIORITY=1");
    fixture_plugin(&f, "q", "-DPRIORITY=1 -DCREDENTIALS");
    AUTO(catalog_destroy) struct catalog *catalog = catalog_create(f.folder, f.plugins.images);
    cr_assert_not_null(catalog);
    const struct plugin_catalog *view = catalog_view(catalog);
    char why[256];
    cr_expect_not_null(view->find(view->user, SPAN("p"), why, sizeof(why)));
    cr_expect_eq(images_count(f.plugins.images), 1);
    const struct credential_schema *kind = view->find_credential(view->user, SPAN("second_keys"));
    cr_assert_not_null(kind, "its owner is looked for");
    cr_expect(span_equal(kind->plugin, SPAN("q")));
    cr_expect_eq(images_count(f.plugins.images), 2);
    cr_expect_null(view->find_credential(view->user, SPAN("third_keys")));
}
