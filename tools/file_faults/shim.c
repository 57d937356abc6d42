/* Counts the file calls of this process below a folder, and lets the n-th one fail, fall short or kill.

   Built and preloaded by server.py, which forks a process per fault; what is counted is seen by both. Calls that
   libc makes inside itself, as those of fopen's streams, are not seen: nothing here writes by those. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, WRITE, FSYNC, RENAME, CLOSE, MKDIR, UNLINK, LINK, READ, NUM_KINDS };
enum { ONCE, FROM_NOW_ON, SHORT, KILL, TEAR };

static char root[PATH_MAX];
static size_t root_length; /* 0: not armed */
static unsigned kinds;
static long at;
static int error_number, action;
static int poor; /* as a file system without exchange, sync of folders, and rename of the folder `model` */
static long *seen; /* calls of each kind, and of all kinds that are asked for */

__attribute__((constructor)) static void begin(void) {
    seen = mmap(NULL, (NUM_KINDS + 1) * sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void fault_arm(const char *folder, unsigned of_kinds, long number, int error, int what, int is_poor) {
    root_length = 0;
    strncpy(root, folder, sizeof root - 1);
    kinds = of_kinds, at = number, error_number = error, action = what, poor = is_poor;
    memset(seen, 0, (NUM_KINDS + 1) * sizeof *seen);
    root_length = strlen(root);
}

long fault_seen(unsigned kind) { return seen[kind]; }

static int below(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int path_below(int folder, const char *path) {
    char whole[PATH_MAX * 2] = "", link[64];
    if (!root_length || !path) return 0;
    if (path[0] == '/') return below(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if (readlink(link, whole, PATH_MAX) < 0) return 0;
    }
    strcat(whole, "/");
    strncat(whole, path, PATH_MAX - 1);
    return below(whole);
}

static int file_below(int file) {
    char path[PATH_MAX] = "", link[64];
    if (!root_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return readlink(link, path, sizeof path - 1) > 0 && below(path);
}

/* Whether this call is the one; a kill does not return. */
static int hit(unsigned kind, int is_below) {
    if (!is_below) return 0;
    __atomic_add_fetch(seen + kind, 1, __ATOMIC_SEQ_CST);
    if (!(kinds >> kind & 1)) return 0;
    long number = __atomic_add_fetch(seen + NUM_KINDS, 1, __ATOMIC_SEQ_CST);
    if (number != at && !(action == FROM_NOW_ON && number > at && at > 0)) return 0;
    if (action == KILL || (action == TEAR && kind != WRITE)) kill(getpid(), SIGKILL);
    errno = error_number;
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

#define OPENER(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return hit(OPEN, path_below(AT_FDCWD, path)) ? -1 : real(path, flags, mode); \
    }
OPENER(open)
OPENER(open64)

#define OPENER_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return hit(OPEN, path_below(folder, path)) ? -1 : real(folder, path, flags, mode); \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

ssize_t write(int file, const void *bytes, size_t size) {
    REAL(write);
    if (!hit(WRITE, file_below(file))) return real(file, bytes, size);
    if (action == ONCE || action == FROM_NOW_ON) return -1;
    ssize_t done = real(file, bytes, (size + 1) / 2);
    if (action == TEAR) kill(getpid(), SIGKILL);
    return done;
}

#define POSITIONED(name, offset_type) \
    ssize_t name(int file, const void *bytes, size_t size, offset_type offset) { \
        REAL(name); \
        if (!hit(WRITE, file_below(file))) return real(file, bytes, size, offset); \
        if (action == ONCE || action == FROM_NOW_ON) return -1; \
        ssize_t done = real(file, bytes, (size + 1) / 2, offset); \
        if (action == TEAR) kill(getpid(), SIGKILL); \
        return done; \
    }
POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    if (!hit(WRITE, file_below(file))) return real(file, parts, count);
    if (action == ONCE || action == FROM_NOW_ON) return -1;
    ssize_t done = real(file, parts, 1);
    if (action == TEAR) kill(getpid(), SIGKILL);
    return done;
}

ssize_t read(int file, void *bytes, size_t size) {
    REAL(read);
    return hit(READ, file_below(file)) ? -1 : real(file, bytes, size);
}

int close(int file) {
    REAL(close);
    int writes = root_length && (fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int fails = writes && hit(CLOSE, file_below(file)), number = errno;
    int done = real(file); /* closed in any case, as Linux has it */
    if (!fails) return done;
    errno = number;
    return -1;
}

#define ON_FILE(name, kind) \
    int name(int file) { \
        REAL(name); \
        if (hit(kind, file_below(file))) return -1; \
        struct stat about; \
        if (!poor || fstat(file, &about) || !S_ISDIR(about.st_mode)) return real(file); \
        errno = EINVAL; \
        return -1; \
    }
ON_FILE(fsync, FSYNC)
ON_FILE(fdatasync, FSYNC)

int rename(const char *from, const char *to) {
    REAL(rename);
    if (hit(RENAME, path_below(AT_FDCWD, from))) return -1;
    const char *name = strrchr(from, '/');
    if (!poor || !name || strcmp(name, "/model")) return real(from, to);
    errno = EXDEV;
    return -1;
}

int renameat(int folder, const char *from, int other, const char *to) {
    REAL(renameat);
    return hit(RENAME, path_below(folder, from)) ? -1 : real(folder, from, other, to);
}

int renameat2(int folder, const char *from, int other, const char *to, unsigned flags) {
    REAL(renameat2);
    if (hit(RENAME, path_below(folder, from))) return -1;
    if (!poor || !flags) return real(folder, from, other, to, flags);
    errno = EINVAL;
    return -1;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return hit(MKDIR, path_below(AT_FDCWD, path)) ? -1 : real(path, mode);
}

int unlink(const char *path) {
    REAL(unlink);
    return hit(UNLINK, path_below(AT_FDCWD, path)) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return hit(UNLINK, path_below(folder, path)) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    return hit(UNLINK, path_below(AT_FDCWD, path)) ? -1 : real(path);
}

int link(const char *from, const char *to) {
    REAL(link);
    return hit(LINK, path_below(AT_FDCWD, to)) ? -1 : real(from, to);
}
