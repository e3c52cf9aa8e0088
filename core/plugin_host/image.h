/* An image: one loaded build of a plugin. What is opened is never the file the operator named but a
 * private copy called NAME.<sha256>.so: a file replaced by rename would give the old image again,
 * one that is truncated while mapped would end the process. Same hash, same image. */
#ifndef WEIR_PLUGIN_HOST_IMAGE_H
#define WEIR_PLUGIN_HOST_IMAGE_H

#include <weir/weir.h>

#include "base/buf.h"
#include "base/span.h"

#define IMAGE_HASH_TEXT 64

struct build_totals;
struct image;

/* Why a plugin was refused: one line that names the plugin, and where numbers disagree, have and
 * want. */
struct image_refusal {
    char text[512];
};

/* Load the plugin `name` from `source` through a copy in the folder `copies`, and negotiate with
 * the offered host table (it must outlive the image). INVALID: refused, see `out_refusal`; SYSTEM:
 * a file could not be read or written, said there too. Runs the plugin's constructors and entry.
 * [worker] */
WEIR_MUST_USE enum weir_err image_load(const char *name, const char *source, const char *copies,
                                       const weir_host *host, struct image **out_image,
                                       struct image_refusal *out_refusal);
/* The same in two steps: read the file (what it hashes to says whether it is loaded already), then
 * load these bytes. Nothing of the plugin runs before they passed elf_lint(). */
WEIR_MUST_USE enum weir_err image_read(const char *name, const char *source, struct buf *out_bytes,
                                       struct image_refusal *out_refusal);
void image_hash_bytes(struct span bytes, char out[IMAGE_HASH_TEXT]);
WEIR_MUST_USE enum weir_err image_load_bytes(const char *name, const char *source,
                                             struct span bytes, const char *copies,
                                             const weir_host *host, struct image **out_image,
                                             struct image_refusal *out_refusal);
/* Have the linker let go of it. False: it stays mapped all the same (the linker says nothing of
 * that), and the image is pinned from now on. Nothing of the plugin may be in use any more. */
WEIR_MUST_USE bool image_unload(struct image *image);
/* Unloads unless the image is pinned; NULL is fine. Nothing of the plugin may be in use any more.
 */
void image_close(struct image *image);
AUTO_DEFINE(struct image, image_close)

/* The descriptor as this host understands it: short ones are filled up with zeros, and the rows of
 * its tables have this host's size. Lives as long as the image. */
const weir_plugin *image_plugin(const struct image *image);
/* IMAGE_HASH_TEXT hex digits of the build. */
struct span image_hash(const struct image *image);
/* Never unloaded: the linker would not, or threads of the plugin may still run in it. */
bool image_is_pinned(const struct image *image);
/* Where what its policies do is counted (builds.h); images.c sets it, and it outlives the image. */
void image_set_row(struct image *image, struct build_totals *row);
struct build_totals *image_row(const struct image *image);

#endif
