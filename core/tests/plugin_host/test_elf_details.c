/* What elf_details.h says of small objects that gcc makes here, and of their ruins. */
#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#include "base/buf.h"
#include "plugin_host/elf_details.h"

#if defined(__x86_64__)
#define OLDEST_LIBC "GLIBC_2.2.5"
#else
#define OLDEST_LIBC "GLIBC_2.17"
#endif

static char folder[64];

static void make_folder(void)
{
    (void)strcpy(folder, "/tmp/weir-details-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(elf_details, .init = make_folder, .fini = remove_folder);

/* Bytes of `source` compiled as a shared object. */
static void compile(const char *source, const char *flags, struct buf *out)
{
    char path[128], command[512];
    (void)snprintf(path, sizeof(path), "%s/p.c", folder);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    (void)fputs(source, file);
    cr_assert_eq(fclose(file), 0);
    (void)snprintf(command, sizeof(command),
                   "gcc -shared -fPIC -w -O1 -I%s/sdk/include %s %s/p.c -o %s/p.so",
                   getenv("WEIR_SOURCE_DIR"), flags, folder, folder);
    cr_assert_eq(system(command), 0, "%s", command);
    (void)snprintf(path, sizeof(path), "%s/p.so", folder);
    buf_free(out);
    *out = BUF_INIT;
    cr_assert_eq(buf_read_file(out, path, 1 << 20), WEIR_OK);
}

enum fact {
    IMPORTS,
    EXPORTS,
    NEEDS,
    STATIC,
    STATIC_BYTES,
    CONSTRUCTORS,
    TEXT_RELOCATIONS,
    EXECUTABLE_STACK,
    SEARCH_PATH,
    THREAD_LOCAL,
    BUILD_ID,
    DEBUG,
    SYMBOLS,
    VERSION,
    FACTS
};

/* A name that is there, or a number that is not 0. */
static bool holds(const struct elf_details *details, enum fact fact, const char *name)
{
    const struct elf_names *const lists[] = {
        [IMPORTS] = &details->imports,
        [EXPORTS] = &details->exports,
        [NEEDS] = &details->needed,
        [STATIC] = &details->static_data,
    };
    if (fact <= STATIC)
        return elf_has_name(lists[fact], span_text(name));
    if (fact == VERSION) {
        for (size_t i = 0; i < details->version_count; i++)
            if (span_equal(details->versions[i].version, span_text(name)))
                return true;
        return false;
    }
    const bool flags[FACTS] = {
        [STATIC_BYTES] = details->static_data_bytes > 0,
        [CONSTRUCTORS] = details->constructors > 0,
        [TEXT_RELOCATIONS] = details->text_relocations,
        [EXECUTABLE_STACK] = details->executable_stack,
        [SEARCH_PATH] =
            span_equal(details->search_path, span_text(name == NULL ? "" : name)) && name != NULL,
        [THREAD_LOCAL] = details->thread_local_bytes > 0,
        [BUILD_ID] = details->has_build_id,
        [DEBUG] = details->has_debug,
        [SYMBOLS] = details->has_symbols,
    };
    return flags[fact];
}

Test(elf_details, each_fact_is_seen_and_not_where_there_is_none)
{
    static const char plain[] = "int x(void) { return 1; }";
    static const struct {
        const char *why, *source, *flags;
        enum fact fact;
        const char *name;
        bool expected;
    } rows[] = {
        {"a call", "unsigned sleep(unsigned); int x(void) { return sleep(1); }", "", IMPORTS,
         "sleep", true},
        {"what it calls is no export", "unsigned sleep(unsigned); int x(void) { return sleep(1); }",
         "", EXPORTS, "sleep", false},
        {"libc", "unsigned sleep(unsigned); int x(void) { return sleep(1); }", "", NEEDS,
         "libc.so.6", true},
        {"a version that it needs", "unsigned sleep(unsigned); int x(void) { return sleep(1); }",
         "", VERSION, OLDEST_LIBC, true},
        {"no call", plain, "", IMPORTS, "sleep", false},
        {"a function", plain, "", EXPORTS, "x", true},
        {"not stripped", plain, "", SYMBOLS, NULL, true},
        {"the compiler's own", plain, "", CONSTRUCTORS, NULL, false},
        {"one that is not", plain, "", EXECUTABLE_STACK, NULL, false},
        {"none of them", plain, "", TEXT_RELOCATIONS, NULL, false},
        {"no search path", plain, "", SEARCH_PATH, "/opt/lib", false},
        {"a weak one may be absent",
         "__attribute__((weak)) int y(void); int x(void) { return y ? y() : 0; }", "", IMPORTS, "y",
         false},
        {"a hidden one", plain, "-fvisibility=hidden", EXPORTS, "x", false},
        {"another library", plain, "-Wl,--no-as-needed -lm", NEEDS, "libm.so.6", true},
        {"a variable", "static int seen; int x(void) { return ++seen; }", "", STATIC, "seen", true},
        {"a variable with a value", "static int seen = 4; int x(void) { return ++seen; }", "",
         STATIC, "seen", true},
        {"a constant", "static const int seen[2] = {4, 5}; int x(int i) { return seen[i]; }", "",
         STATIC, "seen", false},
        {"constant pointers: read-only once they are relocated",
         "static const char *const seen[2] = {\"a\", \"b\"}; const char *x(int i) { return "
         "seen[i]; }",
         "-Wl,-z,now", STATIC, "seen", false},
        {"a variable of a stripped file: its bytes alone",
         "static int seen[20]; int x(int i) { return ++seen[i]; }", "-s", STATIC_BYTES, NULL, true},
        {"nothing of a stripped file but what the compiler adds", plain, "-s", STATIC_BYTES, NULL,
         false},
        {"stripped", plain, "-s", SYMBOLS, NULL, false},
        {"a constructor",
         "static volatile int v; __attribute__((constructor)) static void c(void) { v = 1; }", "",
         CONSTRUCTORS, NULL, true},
        {"an executable stack", plain, "-Wl,-z,execstack", EXECUTABLE_STACK, NULL, true},
        {"text relocations", "__asm__(\".text\\n.quad there\\n.data\\nthere: .quad 1\\n\");",
         "-Wl,-z,notext", TEXT_RELOCATIONS, NULL, true},
        {"a search path", plain, "-Wl,-rpath,/opt/lib", SEARCH_PATH, "/opt/lib", true},
        {"a search path in the old way", plain, "-Wl,--disable-new-dtags,-rpath,/opt/lib",
         SEARCH_PATH, "/opt/lib", true},
        {"thread-local", "static __thread int seen; int x(void) { return ++seen; }", "",
         THREAD_LOCAL, NULL, true},
        {"thread-local is another thing than static",
         "static __thread int seen; int x(void) { return ++seen; }", "", STATIC, "seen", false},
        {"a build id", plain, "-Wl,--build-id", BUILD_ID, NULL, true},
        {"no build id", plain, "-Wl,--build-id=none", BUILD_ID, NULL, false},
        {"debug information", plain, "-g", DEBUG, NULL, true},
        {"no debug information", plain, "-g0", DEBUG, NULL, false},
        {"no version", plain, "-nostdlib", VERSION, OLDEST_LIBC, false},
    };
    AUTO_BUF bytes = BUF_INIT;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i == 0 || strcmp(rows[i].source, rows[i - 1].source) != 0 ||
            strcmp(rows[i].flags, rows[i - 1].flags) != 0)
            compile(rows[i].source, rows[i].flags, &bytes);
        struct arena *arena = arena_create(NULL);
        struct elf_details details;
        cr_assert_not_null(arena);
        cr_assert_eq(elf_read_details(buf_view(&bytes), arena, &details), WEIR_OK, "%s",
                     rows[i].why);
        cr_expect_eq(holds(&details, rows[i].fact, rows[i].name), rows[i].expected, "%s",
                     rows[i].why);
        arena_destroy(arena);
    }
}

Test(elf_details, the_descriptor_says_its_capabilities)
{
    AUTO_BUF bytes = BUF_INIT;
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct elf_details details;
    compile("#include <weir/weir.h>\n"
            "WEIR_PLUGIN(\"p\", \"1\", WEIR_CAP_THREADS | WEIR_CAP_BODY, .priority = 1);",
            "", &bytes);
    cr_assert_not_null(arena);
    cr_assert_eq(elf_read_details(buf_view(&bytes), arena, &details), WEIR_OK);
    cr_expect(details.has_capabilities);
    cr_expect_eq(details.capabilities, WEIR_CAP_THREADS | WEIR_CAP_BODY);
    compile("#include <weir/weir.h>\nWEIR_PLUGIN(\"p\", \"1\", 0, .priority = 1);", "-s", &bytes);
    cr_assert_eq(elf_read_details(buf_view(&bytes), arena, &details), WEIR_OK);
    cr_expect_not(details.has_capabilities, "nobody knows where it is in a stripped file");
}

/* A copy of its own, so that the sanitizer sees a read past the end. */
static void read_copy(const char *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size);
    struct arena *arena = arena_create(NULL);
    struct elf_details details;
    cr_assert(copy != NULL && arena != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    (void)!elf_read_details(span_of(copy, size), arena, &details);
    arena_destroy(arena);
    free(copy);
}

Test(elf_details, every_truncation_and_every_lie_is_survived)
{
    AUTO_BUF bytes = BUF_INIT;
    compile("#include <weir/weir.h>\n#include <stdio.h>\nstatic int seen;\n"
            "void x(void) { printf(\"%d\", ++seen); }\n"
            "WEIR_PLUGIN(\"p\", \"1\", WEIR_CAP_BODY, .priority = 1);",
            "", &bytes);
    for (size_t size = 0; size < bytes.size; size += 1 + size % 29)
        read_copy(bytes.data, size);
    static const unsigned char lies[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    Elf64_Ehdr header;
    memcpy(&header, bytes.data, sizeof(header));
    /* All of the file's header, its section table, and every 23rd byte of the rest. */
    for (size_t at = 0; at < bytes.size; at++) {
        if (at >= sizeof(header) && at < header.e_shoff && at % 23 != 0)
            continue;
        char kept = bytes.data[at];
        bytes.data[at] = (char)lies[at % sizeof(lies)];
        read_copy(bytes.data, bytes.size);
        bytes.data[at] = kept;
    }
}
