/* A file system and a clock that fail on demand, put before libc by LD_PRELOAD.

   FAULT_KIND  full: writes fail with ENOSPC; readonly: opening for writing fails with EROFS;
               crash: the process ends, as by a power cut, at a rename or fsync; clock: the wall clock jumps;
               order: a rename of a file that was not flushed since it was last written is told in FAULT_LOG
   FAULT_PATH  only files whose path has this
   FAULT_AT    from the so-maniest such call of this process on */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FLUSHED 4096

static long calls;
static ino_t flushed[FLUSHED];

static int kind(const char *wanted) {
    const char *is = getenv("FAULT_KIND");
    return is && strcmp(is, wanted) == 0;
}

static int ours(const char *path) {
    const char *part = getenv("FAULT_PATH");
    return path && part && strstr(path, part) != NULL;
}

static int ours_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path);
}

static int due(void) {
    const char *at = getenv("FAULT_AT");
    return __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) >= (at ? atol(at) : 1);
}

static void mark(int fd, int clean) {
    struct stat found;
    if (!kind("order") || fstat(fd, &found)) return;
    flushed[found.st_ino % FLUSHED] = clean ? found.st_ino : 0;
}

static int full(int fd) {
    if (!kind("full") || !ours_fd(fd) || !due()) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (full(fd)) return -1;
    mark(fd, 0);
    return NEXT(write)(fd, bytes, count);
}

#define PWRITE(name)                                                   \
    ssize_t name(int fd, const void *bytes, size_t count, off_t at) {  \
        if (full(fd)) return -1;                                       \
        mark(fd, 0);                                                   \
        return NEXT(name)(fd, bytes, count, at);                       \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define SENDFILE(name)                                                 \
    ssize_t name(int out, int in, off_t *at, size_t count) {           \
        if (full(out)) return -1;                                      \
        mark(out, 0);                                                  \
        return NEXT(name)(out, in, at, count);                         \
    }
SENDFILE(sendfile)
SENDFILE(sendfile64)

static int refused(const char *path, int flags) {
    if (!kind("readonly") || (flags & O_ACCMODE) == O_RDONLY || !ours(path) || !due()) return 0;
    errno = EROFS;
    return 1;
}

#define OPEN(name)                                            \
    int name(const char *path, int flags, ...) {              \
        va_list rest;                                         \
        va_start(rest, flags);                                \
        mode_t mode = va_arg(rest, mode_t);                   \
        va_end(rest);                                         \
        return refused(path, flags) ? -1 : NEXT(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int openat(int folder, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return refused(path, flags) ? -1 : NEXT(openat)(folder, path, flags, mode);
}

int fsync(int fd) {
    if (kind("crash") && ours_fd(fd) && due()) _exit(137);
    int done = NEXT(fsync)(fd);
    if (!done) mark(fd, 1);
    return done;
}

int rename(const char *from, const char *to) {
    struct stat found;
    if (kind("crash") && ours(to) && due()) _exit(137);
    if (kind("order") && ours(to) && !stat(from, &found) && S_ISREG(found.st_mode) &&
        flushed[found.st_ino % FLUSHED] != found.st_ino) {
        FILE *log = fopen(getenv("FAULT_LOG"), "a");
        if (log) { fprintf(log, "%s was renamed before it was flushed\n", to); fclose(log); }
    }
    return NEXT(rename)(from, to);
}

/* Forward and back by up to four months, another way at each call. */
static long jump(void) {
    return kind("clock") ? (long)(__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) * 2654435761UL % 20000000) - 10000000 : 0;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int done = NEXT(clock_gettime)(which, now);
    if (!done && which == CLOCK_REALTIME) now->tv_sec += jump();
    return done;
}

time_t time(time_t *out) {
    time_t now = NEXT(time)(NULL) + jump();
    if (out) *out = now;
    return now;
}
