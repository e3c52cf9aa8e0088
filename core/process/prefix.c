#include "process/prefix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin_host/image.h"
#include "process/process.h"

/* Somebody else may have made it first in a place all can write to. */
static bool is_private(const char *path, char *why, size_t why_size)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        (void)snprintf(why, why_size, "%s: %s", path, strerrordesc_np(errno));
        return false;
    }
    if (S_ISDIR(status.st_mode) && (status.st_mode & 022) == 0 &&
        (status.st_uid == geteuid() || status.st_uid == 0))
        return true;
    (void)snprintf(why, why_size,
                   "%s must be a directory of this user that nobody else can write to", path);
    return false;
}

static bool make_directory(const char *path, char *why, size_t why_size)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(why, why_size, "cannot make %s: %s", path, strerrordesc_np(errno));
        return false;
    }
    return true;
}

const char *process_default_prefix(void)
{
    static char path[PREFIX_PATH_MAX];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0)
        (void)snprintf(path, sizeof(path), "/run/weir");
    else if (runtime != NULL && runtime[0] == '/')
        (void)snprintf(path, sizeof(path), "%s/weir", runtime);
    else
        (void)snprintf(path, sizeof(path), "/tmp/weir-%u", (unsigned)geteuid());
    /* Who uses it says why it cannot. */
    (void)mkdir(path, 0700);
    return path;
}

static bool take_lock(struct prefix *prefix, char *why, size_t why_size)
{
    prefix->lock = open(prefix->pid_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (prefix->lock < 0) {
        (void)snprintf(why, why_size, "%s: %s", prefix->pid_file, strerrordesc_np(errno));
        return false;
    }
    /* A lock of the process, not of the descriptor: workers that outlive a killed master do not
     * keep the next one from starting. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(prefix->lock, F_SETLK, &lock) != 0) {
        int saved = errno;
        struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if ((saved == EACCES || saved == EAGAIN) && fcntl(prefix->lock, F_GETLK, &holder) == 0 &&
            holder.l_type != F_UNLCK)
            (void)snprintf(why, why_size, "already running on %s with pid %d", prefix->path,
                           (int)holder.l_pid);
        else
            (void)snprintf(why, why_size, "cannot lock %s: %s", prefix->pid_file,
                           strerrordesc_np(saved));
        return false;
    }
    /* Whoever had it may have removed the file between our open and our lock. */
    struct stat ours, named;
    if (fstat(prefix->lock, &ours) != 0 || stat(prefix->pid_file, &named) != 0 ||
        ours.st_ino != named.st_ino) {
        (void)snprintf(why, why_size, "%s was just given up, try again", prefix->pid_file);
        return false;
    }
    char text[32];
    int size = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(prefix->lock, 0) != 0 || pwrite(prefix->lock, text, (size_t)size, 0) != size) {
        (void)snprintf(why, why_size, "cannot write %s: %s", prefix->pid_file,
                       strerrordesc_np(errno));
        return false;
    }
    return true;
}

static void empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder != NULL)
        (void)closedir(folder);
}

/* What an earlier run left behind. */
static void remove_builds(const struct prefix *prefix)
{
    DIR *folder = opendir(prefix->builds);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            prefix_build_remove(prefix, strtoull(entry->d_name, NULL, 10));
    if (folder != NULL)
        (void)closedir(folder);
}

bool prefix_take(struct prefix *prefix, struct span path, char *why, size_t why_size)
{
    *prefix = (struct prefix){.lock = -1};
    struct span base = span_is_empty(path) ? span_text(process_default_prefix()) : path;
    /* Links below it hold its path. */
    char here[PREFIX_PATH_MAX] = "";
    bool relative = base.size > 0 && base.data[0] != '/';
    if (relative && getcwd(here, sizeof(here)) == NULL)
        here[0] = '\0';
    int size = snprintf(prefix->path, sizeof(prefix->path), "%s%s%.*s", here, relative ? "/" : "",
                        SPAN_ARG(base));
    if (size < 0 || (size_t)size >= sizeof(prefix->path)) {
        (void)snprintf(why, why_size, "the prefix is too long");
        return false;
    }
    (void)snprintf(prefix->images, sizeof(prefix->images), "%s/images", prefix->path);
    (void)snprintf(prefix->builds, sizeof(prefix->builds), "%s/builds", prefix->path);
    (void)snprintf(prefix->control, sizeof(prefix->control), "%s/weir.sock", prefix->path);
    (void)snprintf(prefix->pid_file, sizeof(prefix->pid_file), "%s/weir.pid", prefix->path);
    if (make_directory(prefix->path, why, why_size) && is_private(prefix->path, why, why_size) &&
        take_lock(prefix, why, why_size) && make_directory(prefix->images, why, why_size) &&
        make_directory(prefix->builds, why, why_size)) {
        empty_folder(prefix->images);
        remove_builds(prefix);
        return true;
    }
    prefix_forget(prefix);
    return false;
}

void prefix_leave(struct prefix *prefix)
{
    if (prefix->lock < 0)
        return;
    remove_builds(prefix);
    empty_folder(prefix->images);
    (void)unlink(prefix->pid_file);
    prefix_forget(prefix);
}

void prefix_forget(struct prefix *prefix)
{
    if (prefix->lock >= 0)
        (void)close(prefix->lock);
    prefix->lock = -1;
}

const char *prefix_build(const struct prefix *prefix, uint64_t number)
{
    static char path[PREFIX_PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/%" PRIu64, prefix->builds, number);
    return path;
}

bool prefix_build_make(const struct prefix *prefix, uint64_t number)
{
    prefix_build_remove(prefix, number);
    return mkdir(prefix_build(prefix, number), 0700) == 0;
}

/* Of NAME.<sha256>.so; 0: it is no such file. */
static size_t name_size(const char *file)
{
    const size_t tail = IMAGE_HASH_TEXT + sizeof(".") - 1 + sizeof(".so") - 1;
    size_t size = strlen(file);
    return size <= tail || size >= 256 || file[size - tail] != '.' ? 0 : size - tail;
}

/* NAME.<sha256>.so in `folder` -> NAME.so, a link to it in images/. */
static bool seal_one(const struct prefix *prefix, int folder, const char *file)
{
    char target[PREFIX_PATH_MAX + 300], link[300];
    size_t size = name_size(file);
    if (size == 0)
        return true; /* none of ours */
    (void)snprintf(target, sizeof(target), "%s/%s", prefix->images, file);
    (void)snprintf(link, sizeof(link), "%.*s.so", (int)size, file);
    if (renameat(folder, file, AT_FDCWD, target) != 0 || symlinkat(target, folder, link) != 0)
        return false;
    /* Two names of one file are not renamed: the image was there before. */
    return unlinkat(folder, file, 0) == 0 || errno == ENOENT;
}

bool prefix_build_seal(const struct prefix *prefix, uint64_t number)
{
    DIR *folder = opendir(prefix_build(prefix, number));
    const struct dirent *entry;
    bool good = folder != NULL;
    while (good && (entry = readdir(folder)) != NULL)
        good = seal_one(prefix, dirfd(folder), entry->d_name);
    if (folder != NULL)
        (void)closedir(folder);
    return good;
}

bool prefix_build_latest(const struct prefix *prefix, uint64_t number, char *out_name, size_t size)
{
    DIR *folder = opendir(prefix_build(prefix, number));
    const struct dirent *entry;
    struct timespec newest = {0};
    bool found = false;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        struct stat status;
        if (name_size(entry->d_name) == 0 ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        const struct timespec *at = &status.st_mtim;
        if (found && (at->tv_sec < newest.tv_sec ||
                      (at->tv_sec == newest.tv_sec && at->tv_nsec < newest.tv_nsec)))
            continue;
        newest = *at;
        found = true;
        (void)snprintf(out_name, size, "%.*s", (int)name_size(entry->d_name), entry->d_name);
    }
    if (folder != NULL)
        (void)closedir(folder);
    return found;
}

void prefix_build_remove(const struct prefix *prefix, uint64_t number)
{
    char path[PREFIX_PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s", prefix_build(prefix, number));
    empty_folder(path);
    (void)rmdir(path);
}
