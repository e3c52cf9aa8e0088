#include "cli/lint.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#include "cli/lint_libraries.h"
#include "cli/verbs.h"
#include "plugin_host/elf_details.h"
#include "plugin_host/elf_lint.h"

enum level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_NOTE, LEVELS };

struct subject {
    const char *path;
    struct elf_facts facts;
    struct elf_details details;
    const struct libraries *libraries;
};

struct rule;
/* Is it so? Then `have` says what was found. */
typedef bool rule_holds(const struct subject *subject, const struct rule *rule, struct buf *have);

struct rule {
    const char *what;
    enum level level;
    rule_holds *holds;
    const char *names;        /* for imports(): separated by spaces */
    const char *want, *to_do; /* `to_do` says why, and how to mend it */
};

/* ---- predicates */

enum { NAMES_SHOWN = 5 };

static void say_name(struct buf *have, size_t *count, struct span name)
{
    if (*count < NAMES_SHOWN)
        buf_printf(have, "%s%.*s", *count == 0 ? "" : ", ", SPAN_ARG(name));
    else if (*count == NAMES_SHOWN)
        buf_text(have, ", …");
    ++*count;
}

static bool imports(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    struct span rest = span_text(rule->names), name;
    size_t count = 0;
    while (span_split(&rest, ' ', &name))
        if (elf_has_name(&subject->details.imports, name))
            say_name(have, &count, name);
    return count > 0;
}

static bool has_other_major(const struct subject *subject, const struct rule *rule,
                            struct buf *have)
{
    (void)rule;
    buf_printf(have, "%u", subject->facts.major);
    return subject->facts.major != WEIR_MAJOR;
}

static bool has_later_minor(const struct subject *subject, const struct rule *rule,
                            struct buf *have)
{
    (void)rule;
    buf_printf(have, "%u", subject->facts.minor);
    return subject->facts.major == WEIR_MAJOR && subject->facts.minor > WEIR_MINOR;
}

static bool has_other_name(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    const char *slash = strrchr(subject->path, '/');
    struct span file = span_text(slash == NULL ? subject->path : slash + 1);
    (void)rule;
    buf_printf(have, "'%.*s' in %.*s", SPAN_ARG(subject->facts.name), SPAN_ARG(file));
    return !span_ends_with(file, SPAN(".so")) ||
           !span_equal(span_first(file, file.size - 3), subject->facts.name);
}

/* Numbers with dots, then perhaps what release it is: 1, 1.2, 1.2.3-rc.1. */
static bool has_odd_version(const struct subject *subject, const struct rule *rule,
                            struct buf *have)
{
    struct span version = subject->facts.version, part;
    struct span numbers = span_first(version, span_find(version, '-'));
    bool good = !span_is_empty(numbers) && !span_ends_with(numbers, SPAN("."));
    (void)rule;
    buf_printf(have, "'%.*s'", SPAN_ARG(span_first(version, 64)));
    while (good && span_split(&numbers, '.', &part)) {
        good = !span_is_empty(part);
        for (size_t i = 0; i < part.size; i++)
            good = good && part.data[i] >= '0' && part.data[i] <= '9';
    }
    return !good;
}

static bool has_unknown_capability(const struct subject *subject, const struct rule *rule,
                                   struct buf *have)
{
    const uint64_t known = WEIR_CAP_SHARED_MEMORY | WEIR_CAP_NETWORK | WEIR_CAP_BODY |
                           WEIR_CAP_SECRETS | WEIR_CAP_ADMIN | WEIR_CAP_THREADS | WEIR_CAP_FILES;
    (void)rule;
    buf_printf(have, "0x%" PRIx64, subject->details.capabilities);
    return subject->details.has_capabilities && (subject->details.capabilities & ~known) != 0;
}

static bool has_undeclared_threads(const struct subject *subject, const struct rule *rule,
                                   struct buf *have)
{
    return subject->details.has_capabilities &&
           (subject->details.capabilities & WEIR_CAP_THREADS) == 0 && imports(subject, rule, have);
}

static bool has_threads(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    return !has_undeclared_threads(subject, rule, have) && imports(subject, rule, have);
}

static bool lacks_import(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    const struct elf_names *names = &subject->details.imports;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < names->count; i++)
        if (span_is_empty(libraries_find(subject->libraries, names->items[i])))
            say_name(have, &count, names->items[i]);
    return count > 0;
}

static bool lacks_library(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    size_t count = 0;
    struct span name;
    (void)rule;
    while (!span_is_empty(name = libraries_missing(subject->libraries, count)))
        say_name(have, &count, name);
    return count > 0;
}

static bool lacks_version(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    const struct elf_details *details = &subject->details;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < details->version_count; i++)
        if (!span_is_empty(details->versions[i].file) &&
            !libraries_offer(subject->libraries, &details->versions[i]))
            say_name(have, &count, details->versions[i].version);
    return count > 0;
}

static bool is_cut_short(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    (void)rule;
    buf_text(have, "a segment that ends behind the end of the file");
    return subject->details.cut_short;
}

static bool has_more_exports(const struct subject *subject, const struct rule *rule,
                             struct buf *have)
{
    const struct elf_names *names = &subject->details.exports;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < names->count; i++)
        if (!span_starts_with(names->items[i], SPAN("weir_plugin_v")) &&
            span_is_empty(libraries_find(subject->libraries, names->items[i])))
            say_name(have, &count, names->items[i]);
    return count > 0;
}

static bool has_clashes(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    const struct elf_names *names = &subject->details.exports;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < names->count; i++)
        if (!span_is_empty(libraries_find(subject->libraries, names->items[i])))
            say_name(have, &count, names->items[i]);
    return count > 0;
}

static bool is_never_unloaded(const struct subject *subject, const struct rule *rule,
                              struct buf *have)
{
    (void)rule;
    buf_text(have, "DF_1_NODELETE");
    return subject->facts.no_delete;
}

static bool has_unique_symbols(const struct subject *subject, const struct rule *rule,
                               struct buf *have)
{
    (void)rule;
    buf_text(have, "STB_GNU_UNIQUE symbols");
    return subject->facts.unique;
}

static bool has_static_tls(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    (void)rule;
    buf_printf(have, "DF_STATIC_TLS, %" PRIu64 " bytes", subject->details.thread_local_bytes);
    return subject->facts.static_tls;
}

static bool has_text_relocations(const struct subject *subject, const struct rule *rule,
                                 struct buf *have)
{
    (void)rule;
    buf_text(have, "DT_TEXTREL");
    return subject->details.text_relocations;
}

static bool has_executable_stack(const struct subject *subject, const struct rule *rule,
                                 struct buf *have)
{
    (void)rule;
    buf_text(have, "PT_GNU_STACK that is executable, or none");
    return subject->details.executable_stack;
}

static bool has_writable_code(const struct subject *subject, const struct rule *rule,
                              struct buf *have)
{
    (void)rule;
    buf_text(have, "a segment that is both");
    return subject->details.writable_code;
}

static bool has_library_path(const struct subject *subject, const struct rule *rule,
                             struct buf *have)
{
    const struct elf_names *names = &subject->details.needed;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < names->count; i++)
        if (span_find(names->items[i], '/') < names->items[i].size)
            say_name(have, &count, names->items[i]);
    return count > 0;
}

static bool has_search_path(const struct subject *subject, const struct rule *rule,
                            struct buf *have)
{
    struct span rest = subject->details.search_path, folder;
    size_t count = 0;
    (void)rule;
    while (span_split(&rest, ':', &folder))
        if (!span_is_empty(folder) && !span_starts_with(folder, SPAN("$ORIGIN")) &&
            !span_starts_with(folder, SPAN("${ORIGIN}")))
            say_name(have, &count, folder);
    return count > 0;
}

static bool has_static_data(const struct subject *subject, const struct rule *rule,
                            struct buf *have)
{
    const struct elf_details *details = &subject->details;
    size_t count = 0;
    (void)rule;
    for (size_t i = 0; i < details->static_data.count; i++)
        say_name(have, &count, details->static_data.items[i]);
    if (!details->has_symbols)
        buf_printf(have, "%" PRIu64 " bytes", details->static_data_bytes);
    return details->has_symbols ? count > 0 : details->static_data_bytes > 0;
}

static bool has_constructors(const struct subject *subject, const struct rule *rule,
                             struct buf *have)
{
    (void)rule;
    buf_printf(have, "%zu", subject->details.constructors);
    return subject->details.constructors > 0;
}

static bool lacks_build_id(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    (void)rule;
    buf_text(have, "none");
    return !subject->details.has_build_id;
}

static bool lacks_debug(const struct subject *subject, const struct rule *rule, struct buf *have)
{
    (void)rule;
    buf_text(have, "none");
    return !subject->details.has_debug;
}

/* ---- the rules */

/* clang-format off */
static const struct rule rules[] = {
    /* A gateway refuses it, or could not stand it. */
    {"field 'major'", LEVEL_ERROR, has_other_major, NULL,
     WEIR_TEXT_OF(WEIR_MAJOR), "build it with this weir's headers"},
    {"field 'minor'", LEVEL_ERROR, has_later_minor, NULL,
     "at most " WEIR_TEXT_OF(WEIR_MINOR), "define WEIR_TARGET_MINOR as the oldest weir it must run on"},
    {"field 'capabilities'", LEVEL_ERROR, has_unknown_capability, NULL,
     "WEIR_CAP_… alone", "bits that this weir does not know are refused"},
    {"segments", LEVEL_ERROR, is_cut_short, NULL,
     "all of the file", "it was cut while it was copied: copy it again"},
    {"imports", LEVEL_ERROR, lacks_import, NULL,
     "what libc or a library it names defines", "link with -Wl,-z,defs and the library that has it"},
    {"libraries", LEVEL_ERROR, lacks_library, NULL,
     "libraries that are installed", "install it on the gateways, or link it statically"},
    {"versions", LEVEL_ERROR, lacks_version, NULL,
     "those of the libraries here", "build it on the oldest system that it must run on"},
    {"stack", LEVEL_ERROR, has_executable_stack, NULL,
     "one that is not executable", "link with -Wl,-z,noexecstack; no nested functions; assembly needs .note.GNU-stack"},
    {"writable and executable", LEVEL_ERROR, has_writable_code, NULL,
     "no such segment", "an overwritten variable would be code"},
    {"field 'name'", LEVEL_WARNING, has_other_name, NULL,
     "NAME in NAME.so", "plugin_path finds plugins by the file's name, and refuses others"},
    {"sanitizers", LEVEL_WARNING, imports, "__asan_init __ubsan_handle_type_mismatch_v1_abort __tsan_init",
     "none", "for tests: a gateway without them cannot load it"},

    /* It cannot be swapped cleanly. */
    {"unloading", LEVEL_WARNING, is_never_unloaded, NULL,
     "no -z nodelete", "each swap would leave the old image in memory; after a few no swap is taken"},
    {"unique symbols", LEVEL_WARNING, has_unique_symbols, NULL,
     "none", "the image could not be unloaded: build with -fno-gnu-unique, no inline variables"},
    {"C++ thread_local", LEVEL_WARNING, imports, "__cxa_thread_atexit __cxa_thread_atexit_impl",
     "no destructors of thread_local objects", "the image could not be unloaded: make them members of self"},
    {"thread-local storage", LEVEL_WARNING, has_static_tls, NULL,
     "the dynamic model", "the space for it runs out after a few swaps: no -ftls-model=initial-exec"},
    {"static data", LEVEL_WARNING, has_static_data, NULL,
     "const, or members of self", "it is lost at a swap, shared by all policies and separate in each worker"},
    {"thread keys", LEVEL_WARNING, imports, "pthread_key_create tss_create",
     "none", "their destructors would run in an image that is gone"},
    {"code at exit", LEVEL_WARNING, imports, "atexit __cxa_atexit on_exit at_quick_exit",
     "stop()", "static objects with destructors, atexit(): it runs at a swap or never"},

    /* It disturbs the process it is a guest in. */
    {"exported symbols", LEVEL_WARNING, has_more_exports, NULL,
     "weir_plugin_v1 alone", "build with -fvisibility=hidden and link with -Wl,--exclude-libs,ALL"},
    {"symbols of a library", LEVEL_WARNING, has_clashes, NULL,
     "names of its own", "its own calls would reach the library's: make them static or hidden"},
    {"blocking calls", LEVEL_WARNING, imports,
     "sleep usleep nanosleep clock_nanosleep pause wait waitpid wait4 system popen getaddrinfo getnameinfo "
     "gethostbyname gethostbyname2 gethostbyaddr gethostbyname_r gethostbyaddr_r flock lockf sem_wait "
     "pthread_join pthread_cond_wait sigwait",
     "weir_timer_start, weir_fetch_start, weir_stream_open", "the worker serves nobody else meanwhile; with a deadline return WEIR_WAIT"},
    {"threads without the capability", LEVEL_WARNING, has_undeclared_threads, "pthread_create thrd_create",
     "WEIR_CAP_THREADS", "declare it and join them in stop(); their code must not be unloaded under them"},
    {"threads", LEVEL_NOTE, has_threads, "pthread_create thrd_create",
     "WEIR_CAP_THREADS, and a join in stop()", "such an image stays in memory after a swap"},
    {"signals", LEVEL_WARNING, imports,
     "signal sigaction sigset sigprocmask pthread_sigmask bsd_signal sysv_signal __sysv_signal signalfd alarm setitimer "
     "timer_create",
     "none", "they are the gateway's, and a handler left behind crashes later"},
    {"the process's state", LEVEL_WARNING, imports,
     "setlocale chdir fchdir chroot umask setenv putenv unsetenv clearenv setuid setgid seteuid setegid setreuid "
     "setregid setrlimit prctl tzset srand srandom mallopt",
     "none", "all policies and the gateway share it"},
    {"processes", LEVEL_WARNING, imports,
     "fork vfork _Fork clone posix_spawn posix_spawnp execl execle execlp execv execve execvp execvpe daemon",
     "none", "a child would hold the gateway's sockets; talk to a server instead"},
    {"loading code", LEVEL_WARNING, imports, "dlopen dlmopen",
     "libraries linked when it is built", "what it loads is neither checked nor unloaded"},
    {"text relocations", LEVEL_WARNING, has_text_relocations, NULL,
     "position-independent code", "build with -fPIC; some systems refuse it"},
    {"libraries by path", LEVEL_WARNING, has_library_path, NULL,
     "names", "that path is the building machine's: link with -lNAME"},
    {"search path", LEVEL_WARNING, has_search_path, NULL,
     "none, or $ORIGIN", "weir loads a copy from a folder of its own; that path is the building machine's"},

    /* Worth a look. */
    {"field 'version'", LEVEL_NOTE, has_odd_version, NULL,
     "numbers with dots (1.4.0)", "operators compare it"},
    {"calls that may block", LEVEL_NOTE, imports,
     "poll ppoll select pselect epoll_wait connect accept accept4 recv recvfrom recvmsg send sendto sendmsg read "
     "write fopen fopen64 open open64 fsync fdatasync stat stat64 opendir syslog vsyslog printf puts",
     "weir_io_add, weir_stream_open, weir_file_append, weir_log", "a descriptor must be non-blocking; disks and pipes can hang"},
    {"ending the process", LEVEL_NOTE, imports, "exit _exit _Exit quick_exit abort raise kill __assert_fail",
     "WEIR_FAIL", "a worker ends with all of its requests, and the build may be put into quarantine"},
    {"constructors", LEVEL_NOTE, has_constructors, NULL,
     "none", "they run before weir has said a word: prepare in configure()"},
    {"build id", LEVEL_NOTE, lacks_build_id, NULL,
     "one", "link with -Wl,--build-id, so that a core and the debug information find each other"},
    {"debug information", LEVEL_NOTE, lacks_debug, NULL,
     "some", "build with -g, so that a crash has lines (it costs nothing at run time)"},
};
/* clang-format on */

/* ---- findings */

struct findings {
    size_t counts[LEVELS];
};

static void report(struct findings *findings, const char *path, enum level level, const char *text)
{
    static const char *const words[LEVELS] = {
        [LEVEL_ERROR] = "error", [LEVEL_WARNING] = "warning", [LEVEL_NOTE] = "note"};
    findings->counts[level]++;
    (void)printf("%s: %s: %s\n", path, words[level], text);
}

static void apply(struct findings *findings, const struct subject *subject, const struct rule *rule)
{
    AUTO_BUF have = BUF_INIT, line = BUF_INIT;
    if (!rule->holds(subject, rule, &have))
        return;
    buf_printf(&line, "%s: have %.*s, want %s (%s)", rule->what, SPAN_ARG(buf_view(&have)),
               rule->want, rule->to_do);
    buf_byte(&line, '\0');
    report(findings, subject->path, rule->level,
           line.failed || have.failed ? "no memory to say what" : line.data);
}

static bool lint_bytes(struct findings *findings, const char *path, struct span bytes)
{
    struct subject subject = {.path = path};
    char why[256];
    if (elf_lint(bytes, &subject.facts, why, sizeof(why)) != WEIR_OK) {
        report(findings, path, LEVEL_ERROR, why);
        return true;
    }
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    enum weir_err err =
        arena == NULL ? WEIR_ERR_NO_MEMORY : elf_read_details(bytes, arena, &subject.details);
    if (err == WEIR_ERR_INVALID) {
        report(findings, path, LEVEL_ERROR, "its section table cannot be read");
        return true;
    }
    AUTO(libraries_close)
    struct libraries *libraries = err == WEIR_OK ? libraries_open(&subject.details, path) : NULL;
    if (libraries == NULL) {
        (void)fprintf(stderr, "weir: %s: out of memory\n", path);
        return false;
    }
    subject.libraries = libraries;
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        apply(findings, &subject, &rules[i]);
    return true;
}

static int lint_file(const char *path, bool strict)
{
    AUTO_BUF file = BUF_INIT;
    struct findings findings = {0};
    enum weir_err err = buf_read_file(&file, path, (size_t)64 << 20);
    if (err != WEIR_OK) {
        (void)fprintf(stderr, "weir: %s: %s\n", path,
                      err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
        return CLI_FAILED;
    }
    if (!lint_bytes(&findings, path, buf_view(&file)))
        return CLI_FAILED;
    (void)printf("%s: %zu errors, %zu warnings, %zu notes\n", path, findings.counts[LEVEL_ERROR],
                 findings.counts[LEVEL_WARNING], findings.counts[LEVEL_NOTE]);
    bool bad = findings.counts[LEVEL_ERROR] > 0 || (strict && findings.counts[LEVEL_WARNING] > 0);
    return bad ? CLI_FAILED : CLI_OK;
}

static int lint_project(bool strict)
{
    glob_t files;
    int answer = CLI_OK;
    if (glob("build/*.so", 0, NULL, &files) != 0)
        return cli_usage("plugin", "lint: which file? There is no build/*.so here");
    for (size_t i = 0; i < files.gl_pathc; i++)
        if (lint_file(files.gl_pathv[i], strict) != CLI_OK)
            answer = CLI_FAILED;
    globfree(&files);
    return answer;
}

int cli_plugin_lint(int argc, char **argv)
{
    bool strict = false;
    int files = 0, answer = CLI_OK;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--strict") == 0)
            strict = true;
        else if (argv[i][0] == '-')
            return cli_usage("plugin", "lint: what is '%s'?", argv[i]);
        else
            files++;
    }
    if (files == 0)
        return lint_project(strict);
    for (int i = 0; i < argc; i++)
        if (argv[i][0] != '-' && lint_file(argv[i], strict) != CLI_OK)
            answer = CLI_FAILED;
    return answer;
}
