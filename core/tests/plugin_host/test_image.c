/* Every build a stranger could hand us: it loads, or one exact line says why not. The plugins are
 * compiled here with the system's compiler, so nothing of the gateway is linked into them. */
#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "plugin_host/elf_lint.h"
#include "plugin_host/image.h"

static char folder[] = "/tmp/weir-test-image-XXXXXX";
static const weir_host host = {.size = sizeof(weir_host), .major = WEIR_MAJOR, .minor = WEIR_MINOR};

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(image, .init = set_up, .fini = tear_down, .timeout = 60);

static void write_file(const char *name, struct span bytes)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    cr_assert_eq(fclose(file), 0);
}

/* Compile `source` to folder/NAME.so. */
static void compile(const char *name, const char *source, const char *flags)
{
    char command[1024], file[64];
    const char *root = getenv("WEIR_SOURCE_DIR");
    (void)snprintf(file, sizeof(file), "%s.c", name);
    write_file(file, span_text(source));
    (void)snprintf(command, sizeof(command),
                   "cc -std=gnu11 -O1 -shared -fPIC -fvisibility=hidden -I%s/sdk/include %s "
                   "-o %s/%s.so %s/%s.c",
                   root == NULL ? "." : root, flags, folder, name, folder, name);
    cr_assert_eq(system(command), 0, "%s", command);
}

static enum weir_err load_as(const char *name, const char *file, struct image **out,
                             struct image_refusal *refusal)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    *out = NULL;
    refusal->text[0] = '\0';
    return image_load(name, path, folder, &host, out, refusal);
}

/* The refusal with the private folder cut out of it. */
static void expect_refusal(const char *why, const char *file, const char *want)
{
    struct image *image;
    struct image_refusal refusal;
    cr_expect_eq(load_as("p", file, &image, &refusal), WEIR_ERR_INVALID, "%s", why);
    cr_expect_null(image, "%s", why);
    char text[512] = "";
    char *at = strstr(refusal.text, folder);
    if (at == NULL)
        (void)snprintf(text, sizeof(text), "%s", refusal.text);
    else
        (void)snprintf(text, sizeof(text), "%.*sDIR%s", (int)(at - refusal.text), refusal.text,
                       at + strlen(folder));
    cr_expect_str_eq(text, want, "%s:\n  have: %s\n  want: %s", why, text, want);
}

#define PLUGIN(...)                                                             \
    "#include <weir/weir.h>\n"                                                  \
    "typedef struct { int64_t limit; } conf;\n"                                 \
    "static const weir_field rows[] = {WEIR_INTEGER(conf, limit, .min = 1)};\n" \
    "WEIR_PLUGIN(\"p\", \"1.0.0\", 0, .priority = 7, WEIR_SELF(conf), "         \
    "WEIR_FIELDS(rows));\n" __VA_ARGS__

/* A plugin with a descriptor made by hand, to be wrong in one place. */
#define BY_HAND(setup)                                                                            \
    "#include <weir/weir.h>\n#include <string.h>\n"                                               \
    "__attribute__((section(\".weir.manifest\"), used)) static const char manifest[] =\n"         \
    "  \"weir-plugin/1\\nname=p\\nversion=1.0.0\\nabi=1.0\\n\";\n"                                \
    "static struct { weir_plugin d; unsigned char tail[64]; } w;\n"                               \
    "static struct { weir_field f; unsigned char tail[16]; } rows[2], inner[2];\n"                \
    "__attribute__((visibility(\"default\"))) const weir_plugin *weir_plugin_v1(const weir_host " \
    "*h)\n"                                                                                       \
    "{ (void)h; w.d = (weir_plugin){.size = sizeof(weir_plugin), .major = 1, .name = \"p\",\n"    \
    "    .version = \"1.0.0\", .fields = &rows[0].f, .field_count = 2, .self_size = 256,\n"       \
    "    .field_stride = sizeof(rows[0])};\n"                                                     \
    "  rows[0].f.name = \"a\"; rows[1].f.name = \"b\";\n"                                         \
    "  rows[0].f.type = rows[1].f.type = WEIR_TYPE_INTEGER; " setup " return &w.d; }\n"

#define RECORD                                                                           \
    "rows[1].f.type = WEIR_TYPE_RECORD; rows[1].f.field_count = 2; rows[1].f.size = 16;" \
    "rows[1].f.fields = &inner[0].f; inner[0].f.name = \"x\";"                           \
    "inner[1].f.name = \"y\";"                                                           \
    "inner[0].f.type = inner[1].f.type = WEIR_TYPE_INTEGER;"

Test(image, the_example_loads_as_its_author_wrote_it)
{
    struct image *image;
    struct image_refusal refusal;
    compile("p", PLUGIN(""), "-Wl,-z,defs");
    cr_assert_eq(load_as("p", "p.so", &image, &refusal), WEIR_OK, "%s", refusal.text);
    const weir_plugin *plugin = image_plugin(image);
    cr_expect_str_eq(plugin->name, "p");
    cr_expect_str_eq(plugin->version, "1.0.0");
    cr_expect_eq(plugin->priority, 7);
    cr_assert_eq(plugin->field_count, 1);
    cr_expect_str_eq(plugin->fields[0].name, "limit");
    cr_expect(!image_is_pinned(image));
    char copy[256];
    (void)snprintf(copy, sizeof(copy), "%s/p.%.*s.so", folder, SPAN_ARG(image_hash(image)));
    cr_expect_eq(access(copy, R_OK), 0, "opened through its private copy");
    image_close(image);
}

Test(image, descriptors_of_other_versions)
{
    static const struct {
        const char *why, *source, *refusal; /* NULL: loads */
    } rows[] = {
        {"as this host knows it", BY_HAND(""), NULL},
        {"shorter: an older plugin", BY_HAND("w.d.size = 48;"), NULL},
        {"longer with a zero tail: newer, but asks nothing new", BY_HAND("w.d.size += 64;"), NULL},
        {"longer with a used tail", BY_HAND("w.d.size += 64; w.tail[63] = 1;"),
         "plugin 'p': field 'size': have 248 and the tail is used, want at most 184"},
        {"no size at all", BY_HAND("w.d.size = 0;"),
         "plugin 'p': field 'size': have 0, want 24 to 65536"},
        {"another major", BY_HAND("w.d.major = 2;"), "plugin 'p': field 'major': have 2, want 1"},
        {"a minor from the future", BY_HAND("w.d.minor = 9;"),
         "plugin 'p': field 'minor': have 9, want at most 0"},
        {"a longer row whose tail is used", BY_HAND("rows[1].tail[0] = 1;"),
         "plugin 'p': field 'field_stride': row 1 has 120 bytes and uses the last, want 104"},
        {"rows that are nowhere", BY_HAND("w.d.fields = NULL;"),
         "plugin 'p': field 'field_stride': have 2 rows of 120 bytes, want at most 4096 rows"},
        {"rows of a record have the stride of those around them", BY_HAND(RECORD), NULL},
        {"and may not use what we do not know either", BY_HAND(RECORD "inner[1].tail[0] = 1;"),
         "plugin 'p': field 'field_stride': row 1 has 120 bytes and uses the last, want 104"},
        {"a record that is in itself",
         BY_HAND(RECORD "inner[1].f.type = WEIR_TYPE_RECORD; inner[1].f.size = 16; "
                        "inner[1].f.fields = &rows[0].f;"
                        "inner[1].f.field_count = 2;"),
         "plugin 'p': field 'fields': records are nested more than 8 deep"},
        {"rows of a credential kind that use what we do not know",
         BY_HAND("static weir_credential_kind kind; kind = (weir_credential_kind){.fields ="
                 "&rows[0].f, .field_count = 2, .field_stride = sizeof(rows[0])};"
                 "w.d.field_count = 0; w.d.credentials = &kind; w.d.credential_count = 1;"
                 "w.d.credential_stride = sizeof(kind); rows[1].tail[0] = 1;"),
         "plugin 'p': field 'field_stride': row 1 has 120 bytes and uses the last, want 104"},
        {"a capability from the future", BY_HAND("w.d.capabilities = 1ULL << 40 | 1;"),
         "plugin 'p': field 'capabilities': have 0x10000000001, want bits of 0x7f"},
        {"a flag from the future", BY_HAND("w.d.flags = 1U << 9;"),
         "plugin 'p': field 'flags': have 0x200, want bits of 0x7"},
        {"a field's flag from the future: it might say that this is a secret",
         BY_HAND("rows[1].f.flags = 1U << 20;"),
         "plugin 'p': field 'fields': row 1 has flags 0x100000, want bits of 0x7ff"},
        {"a type from the future", BY_HAND("rows[1].f.type = 11;"),
         "plugin 'p': field 'fields': row 1 has type 11, want 1 to 10"},
        {"a need from the future", BY_HAND("w.d.response_body_need = 4;"),
         "plugin 'p': field 'response_body_need': have 4, want at most 3"},
        {"no descriptor", BY_HAND("return NULL;"),
         "plugin 'p': field 'descriptor': have NULL, want what weir_plugin_v1() returns"},
        {"a name that is not the manifest's", BY_HAND("w.d.name = \"q\";"),
         "plugin 'p': field 'name': have 'q' in the descriptor, want 'p'"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        compile("v", rows[i].source, "-w");
        if (rows[i].refusal != NULL) {
            expect_refusal(rows[i].why, "v.so", rows[i].refusal);
            continue;
        }
        struct image *image;
        struct image_refusal refusal;
        cr_assert_eq(load_as("p", "v.so", &image, &refusal), WEIR_OK, "%s: %s", rows[i].why,
                     refusal.text);
        const weir_plugin *plugin = image_plugin(image);
        if (plugin->field_count == 2) /* the short one ends before its tables */
            cr_expect_str_eq(plugin->fields[1].name, "b", "%s: rows keep their stride",
                             rows[i].why);
        if (plugin->field_count == 2 && plugin->fields[1].type == WEIR_TYPE_RECORD)
            cr_expect_str_eq(plugin->fields[1].fields[1].name, "y", "%s", rows[i].why);
        cr_expect_null(plugin->log, "%s", rows[i].why);
        image_close(image);
    }
}

Test(image, files_that_are_no_plugin)
{
    write_file("text.so", SPAN("#!/bin/sh\necho hello\n"));
    expect_refusal("a text file", "text.so",
                   "plugin 'p': DIR/text.so: not an ELF shared object: field 'magic': have '#!/b', "
                   "want '?ELF'");
    write_file("empty.so", SPAN(""));
    expect_refusal("an empty file", "empty.so",
                   "plugin 'p': DIR/empty.so: not an ELF shared object: field 'magic': have '', "
                   "want '?ELF'");
    compile("plain", "int x(void) { return 1; }", "");
    expect_refusal("some other library", "plain.so",
                   "plugin 'p': DIR/plain.so: field 'manifest': have none, want what "
                   "WEIR_PLUGIN writes");
    compile("q", "#define name_ \n" PLUGIN(""), "-Dweir_plugin_v1=other -Wno-attributes");
    expect_refusal("no entry", "q.so",
                   "plugin 'p': DIR/q.so: field 'entry': have none, want an exported "
                   "weir_plugin_v1");
    compile("other", "#include <weir/weir.h>\nWEIR_PLUGIN(\"other\", \"1\", 0, .priority = 1);",
            "");
    expect_refusal("another plugin's file", "other.so",
                   "plugin 'p': DIR/other.so: field 'name': have 'other', want 'p'");
    struct image *image;
    struct image_refusal refusal;
    cr_expect_eq(load_as("p", "missing.so", &image, &refusal), WEIR_ERR_SYSTEM);
    cr_expect_not_null(strstr(refusal.text, "No such file or directory"), "%s", refusal.text);
}

Test(image, a_file_for_another_machine_and_every_truncation)
{
    compile("p", PLUGIN(""), "");
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/p.so", folder);
    AUTO_BUF file = BUF_INIT;
    cr_assert_eq(buf_read_file(&file, path, 1 << 20), WEIR_OK);
    struct elf_facts facts;
    char why[256];
    cr_assert_eq(elf_lint(buf_view(&file), &facts, why, sizeof(why)), WEIR_OK);
    for (size_t size = 0; size < file.size; size++) {
        /* A copy of its own, so that the sanitizer sees a read past the end. */
        char *cut = malloc(size + 1);
        cr_assert_not_null(cut);
        memcpy(cut, file.data, size);
        char *exact = realloc(cut, size == 0 ? 1 : size);
        cr_assert_not_null(exact);
        cr_assert_eq(elf_lint(span_of(exact, size), &facts, why, sizeof(why)), WEIR_ERR_INVALID,
                     "cut to %zu of %zu bytes", size, file.size);
        free(exact);
    }
    Elf64_Ehdr header;
    memcpy(&header, file.data, sizeof(header));
    header.e_machine = EM_RISCV;
    memcpy(file.data, &header, sizeof(header));
    cr_expect_eq(elf_lint(buf_view(&file), &facts, why, sizeof(why)), WEIR_ERR_INVALID);
    cr_expect_not_null(strstr(why, "field 'ELF machine': have 243, want "), "%s", why);
}

Test(image, images_that_cannot_be_unloaded_are_known_beforehand)
{
    struct image *image;
    struct image_refusal refusal;
    compile("p", PLUGIN(""), "-Wl,-z,nodelete");
    cr_assert_eq(load_as("p", "p.so", &image, &refusal), WEIR_OK, "%s", refusal.text);
    cr_expect(image_is_pinned(image));
    image_close(image);
}

/* dlopen() of a path whose file was replaced while the old one is open gives the old image. */
Test(image, a_replaced_file_is_a_new_image_and_the_same_bytes_are_the_same_one)
{
    struct image *images[3];
    struct image_refusal refusal;
    const char *versions[] = {"1.0.0", "2.0.0", "2.0.0"};
    for (size_t i = 0; i < 3; i++) {
        char source[512];
        (void)snprintf(source, sizeof(source),
                       "#include <weir/weir.h>\nWEIR_PLUGIN(\"p\", \"%s\", 0, .priority = 1);",
                       versions[i]);
        compile("next", source, "");
        char from[256], to[256];
        (void)snprintf(from, sizeof(from), "%s/next.so", folder);
        (void)snprintf(to, sizeof(to), "%s/p.so", folder);
        cr_assert_eq(rename(from, to), 0);
        cr_assert_eq(load_as("p", "p.so", &images[i], &refusal), WEIR_OK, "%s", refusal.text);
    }
    for (size_t i = 0; i < 3; i++)
        cr_expect_str_eq(image_plugin(images[i])->version, versions[i]);
    cr_expect(!span_equal(image_hash(images[0]), image_hash(images[1])));
    cr_expect(span_equal(image_hash(images[1]), image_hash(images[2])));
    for (size_t i = 0; i < 3; i++)
        image_close(images[i]);
}

/* Overwriting or truncating the operator's file must not touch what is mapped. */
Test(image, the_source_file_may_vanish_while_the_image_lives)
{
    struct image *image;
    struct image_refusal refusal;
    compile("p", PLUGIN(""), "");
    cr_assert_eq(load_as("p", "p.so", &image, &refusal), WEIR_OK, "%s", refusal.text);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/p.so", folder);
    cr_assert_eq(truncate(path, 0), 0);
    cr_expect_str_eq(image_plugin(image)->fields[0].name, "limit");
    expect_refusal("half-written now", "p.so",
                   "plugin 'p': DIR/p.so: not an ELF shared object: field 'magic': have '', "
                   "want '?ELF'");
    image_close(image);
}
