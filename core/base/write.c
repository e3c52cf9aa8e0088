#include "base/write.h"

#include <errno.h>
#include <unistd.h>

enum weir_err write_all(int fd, struct span bytes)
{
    while (bytes.size > 0) {
        ssize_t put = write(fd, bytes.data, bytes.size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return WEIR_ERR_SYSTEM;
        bytes = span_from(bytes, (size_t)put);
    }
    return WEIR_OK;
}
