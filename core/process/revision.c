#include "process/revision.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/write.h"
#include "config/document.h"

/* A million credentials are some 50 MiB, and compiling them takes its time on a busy machine. */
enum { STEP_MS = 30000, STEP_MS_FOR_MIB = 4000 };

enum weir_err revision_read(const char *file, uint64_t number, struct revision **out_revision)
{
    AUTO_BUF text = BUF_INIT;
    TRY(buf_read_file(&text, file, DOCUMENT_BYTES_MAX));
    AUTO(revision_destroy) struct revision *revision = calloc(1, sizeof(*revision));
    if (revision == NULL)
        return WEIR_ERR_NO_MEMORY;
    revision->number = number;
    revision->step_ms = STEP_MS + STEP_MS_FOR_MIB * (uint32_t)(text.size >> 20);
    revision->fd = memfd_create("weir-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (revision->fd < 0)
        return WEIR_ERR_SYSTEM;
    TRY(write_all(revision->fd, buf_view(&text)));
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (fcntl(revision->fd, F_ADD_SEALS, seals) != 0)
        return WEIR_ERR_SYSTEM;
    *out_revision = TAKE(revision);
    return WEIR_OK;
}

enum weir_err revision_again(const struct revision *revision, uint64_t number,
                             struct revision **out_revision)
{
    AUTO(revision_destroy) struct revision *again = calloc(1, sizeof(*again));
    if (again == NULL)
        return WEIR_ERR_NO_MEMORY;
    *again = *revision;
    again->number = number;
    again->fd = fcntl(revision->fd, F_DUPFD_CLOEXEC, 0);
    if (again->fd < 0)
        return WEIR_ERR_SYSTEM;
    *out_revision = TAKE(again);
    return WEIR_OK;
}

void revision_destroy(struct revision *revision)
{
    if (revision == NULL)
        return;
    if (revision->fd >= 0)
        (void)close(revision->fd);
    free(revision);
}

enum weir_err mapped_text_open(int fd, struct mapped_text *out_mapped)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size < 0)
        return WEIR_ERR_SYSTEM;
    struct mapped_text mapped = {.text = SPAN("")};
    if (status.st_size > 0) {
        size_t size = (size_t)status.st_size;
        mapped.memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped.memory == MAP_FAILED)
            return WEIR_ERR_SYSTEM;
        mapped.text = span_of(mapped.memory, size);
    }
    *out_mapped = mapped;
    return WEIR_OK;
}

void mapped_text_close(struct mapped_text *mapped)
{
    if (mapped->memory != NULL)
        (void)munmap(mapped->memory, mapped->text.size);
    *mapped = (struct mapped_text){.text = SPAN_NONE};
}
