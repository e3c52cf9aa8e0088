#include "plugin_host/image.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/text.h"
#include "base/write.h"
#include "plugin_host/elf_lint.h"
#include "plugin_host/negotiate.h"

enum { FILE_LIMIT = 64 * 1024 * 1024 };

struct image {
    void *handle;        /* of dlopen */
    struct arena *arena; /* the tables below */
    weir_plugin plugin;
    char *path; /* of the copy that is mapped */
    char hash[IMAGE_HASH_TEXT];
    bool pinned;
    struct build_totals *row; /* borrowed */
};

struct load {
    const char *name, *source, *copies;
    const weir_host *host;
    struct image *image;
    struct image_refusal *refusal;
    char path[4096]; /* of the copy */
};

static enum weir_err refuse(struct load *load, enum weir_err err, const char *format, ...)
    WEIR_PRINTF(3, 4);
static enum weir_err refuse(struct load *load, enum weir_err err, const char *format, ...)
{
    char reason[384];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    (void)snprintf(load->refusal->text, sizeof(load->refusal->text), "plugin '%.63s': %s",
                   load->name, reason);
    return err;
}

/* ---- the private copy */

void image_hash_bytes(struct span bytes, char out[IMAGE_HASH_TEXT])
{
    unsigned char digest[DIGEST_SHA256];
    digest_sha256(digest, bytes);
    text_hex(out, digest, sizeof(digest));
}

/* Written beside and renamed: a copy is whole or not there, even when two workers make it at once.
 */
static enum weir_err write_copy(const char *path, struct span bytes)
{
    char beside[4096 + 8];
    (void)snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return WEIR_ERR_SYSTEM;
    enum weir_err err = write_all(fd, bytes);
    if (err == WEIR_OK && (fchmod(fd, 0444) != 0 || rename(beside, path) != 0))
        err = WEIR_ERR_SYSTEM;
    int reason = errno;
    if (err != WEIR_OK)
        (void)unlink(beside);
    (void)close(fd);
    errno = reason;
    return err;
}

static enum weir_err make_copy(struct load *load, struct span bytes)
{
    image_hash_bytes(bytes, load->image->hash);
    int size = snprintf(load->path, sizeof(load->path), "%s/%s.%.*s.so", load->copies, load->name,
                        IMAGE_HASH_TEXT, load->image->hash);
    if (size < 0 || (size_t)size >= sizeof(load->path))
        return refuse(load, WEIR_ERR_INVALID, "the path of its copy is too long");
    if (access(load->path, R_OK) == 0)
        return WEIR_OK;
    if (write_copy(load->path, bytes) != WEIR_OK)
        return refuse(load, WEIR_ERR_SYSTEM, "cannot copy %s to %s: %s", load->source, load->copies,
                      strerror(errno));
    return WEIR_OK;
}

static enum weir_err check_file(struct load *load, struct span bytes)
{
    struct elf_facts facts;
    char why[256];
    if (elf_lint(bytes, &facts, why, sizeof(why)) != WEIR_OK)
        return refuse(load, WEIR_ERR_INVALID, "%s: %s", load->source, why);
    if (!span_equal(facts.name, span_text(load->name)))
        return refuse(load, WEIR_ERR_INVALID, "%s: field 'name': have '%.*s', want '%s'",
                      load->source, SPAN_ARG(facts.name), load->name);
    if (facts.major != load->host->major)
        return refuse(load, WEIR_ERR_INVALID, "%s: field 'major': have %u, want %u", load->source,
                      facts.major, load->host->major);
    load->image->pinned = elf_is_pinned(&facts);
    return WEIR_OK;
}

/* ---- loading */

static enum weir_err open_copy(struct load *load)
{
    typedef const weir_plugin *entry(const weir_host *);
    if ((load->image->path = strdup(load->path)) == NULL)
        return refuse(load, WEIR_ERR_NO_MEMORY, "no memory");
    load->image->handle = dlopen(load->path, RTLD_NOW | RTLD_LOCAL);
    if (load->image->handle == NULL)
        return refuse(load, WEIR_ERR_INVALID, "field 'imports': have %s, want all found",
                      dlerror());
    void *symbol = dlsym(load->image->handle, "weir_plugin_v1");
    if (symbol == NULL)
        return refuse(load, WEIR_ERR_INVALID,
                      "field 'entry': have none, want an exported weir_plugin_v1");
    entry *enter;
    memcpy(&enter, &symbol, sizeof(enter)); /* ISO C has no cast from object to function pointer */
    struct negotiation talk = {.name = load->name, .host = load->host, .arena = load->image->arena};
    enum weir_err err = negotiate(&talk, enter(load->host), &load->image->plugin);
    if (err != WEIR_OK)
        return refuse(load, err, "%s", talk.why);
    if ((load->image->plugin.capabilities & WEIR_CAP_THREADS) != 0)
        load->image->pinned = true;
    return WEIR_OK;
}

enum weir_err image_read(const char *name, const char *source, struct buf *out_bytes,
                         struct image_refusal *out_refusal)
{
    struct load load = {.name = name, .refusal = out_refusal};
    enum weir_err err = buf_read_file(out_bytes, source, FILE_LIMIT);
    if (err != WEIR_OK)
        return refuse(&load, err, "cannot read %s: %s", source,
                      err == WEIR_ERR_SYSTEM ? strerror(errno) : weir_err_text(err));
    return WEIR_OK;
}

enum weir_err image_load_bytes(const char *name, const char *source, struct span bytes,
                               const char *copies, const weir_host *host, struct image **out_image,
                               struct image_refusal *out_refusal)
{
    AUTO(image_close) struct image *image = calloc(1, sizeof(*image));
    struct load load = {.name = name, .source = source, .copies = copies, .host = host};
    load.image = image;
    load.refusal = out_refusal;
    if (image == NULL || (image->arena = arena_create(NULL)) == NULL)
        return refuse(&load, WEIR_ERR_NO_MEMORY, "no memory");
    TRY(check_file(&load, bytes));
    TRY(make_copy(&load, bytes));
    TRY(open_copy(&load));
    *out_image = TAKE(image);
    return WEIR_OK;
}

enum weir_err image_load(const char *name, const char *source, const char *copies,
                         const weir_host *host, struct image **out_image,
                         struct image_refusal *out_refusal)
{
    AUTO_BUF file = BUF_INIT;
    TRY(image_read(name, source, &file, out_refusal));
    return image_load_bytes(name, source, buf_view(&file), copies, host, out_image, out_refusal);
}

#ifndef WEIR_NO_DLCLOSE
struct mapped_search {
    const char *path;
    bool found;
};

static int compare_mapped(struct dl_phdr_info *info, size_t size, void *user)
{
    struct mapped_search *search = user;
    (void)size;
    search->found = search->found || strcmp(info->dlpi_name, search->path) == 0;
    return search->found;
}

/* Lets go, and looks whether it is gone: dlclose() does not say. */
static bool let_go(struct image *image)
{
    struct mapped_search search = {image->path, false};
    (void)dlclose(image->handle);
    (void)dl_iterate_phdr(compare_mapped, &search);
    image->handle = search.found ? dlopen(image->path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) : NULL;
    return !search.found;
}
#else
/* A sanitizer's trace needs the names of an image until the process ends. */
static bool let_go(struct image *image)
{
    image->handle = NULL;
    return true;
}
#endif

bool image_unload(struct image *image)
{
    if (image->handle == NULL)
        return true;
    image->pinned = image->pinned || !let_go(image);
    return !image->pinned;
}

void image_close(struct image *image)
{
    if (image == NULL)
        return;
    (void)!image_unload(image);
    arena_destroy(image->arena);
    free(image->path);
    free(image);
}

const weir_plugin *image_plugin(const struct image *image)
{
    return &image->plugin;
}

struct span image_hash(const struct image *image)
{
    return span_of(image->hash, sizeof(image->hash));
}

bool image_is_pinned(const struct image *image)
{
    return image->pinned;
}

void image_set_row(struct image *image, struct build_totals *row)
{
    image->row = row;
}

struct build_totals *image_row(const struct image *image)
{
    return image->row;
}
