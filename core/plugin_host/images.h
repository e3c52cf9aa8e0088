/* The images a process has loaded, counted: the same build is loaded once, however many generations
 * use it, and is closed when the last one lets go (from the loop, never from plugin stack). */
#ifndef WEIR_PLUGIN_HOST_IMAGES_H
#define WEIR_PLUGIN_HOST_IMAGES_H

#include "plugin_host/host.h"
#include "plugin_host/image.h"

struct images;

/* Private copies are made in the folder `copies` (borrowed). */
WEIR_MUST_USE struct images *images_create(struct plugin_host *host, const char *copies);
/* Every image must have been released. NULL is fine. */
void images_destroy(struct images *images);
AUTO_DEFINE(struct images, images_destroy)

/* The build that FILE is now: the loaded one when it has the same hash. Each success is one
 * images_release(). */
WEIR_MUST_USE enum weir_err images_acquire(struct images *images, const char *name,
                                           const char *source, struct image **out_image,
                                           struct image_refusal *out_refusal);
void images_release(struct images *images, struct image *image);
size_t images_count(const struct images *images);
size_t images_pinned(const struct images *images);

#endif
