/*
 * A disk and a clock that do as they are told, put between a process and the C library by LD_PRELOAD.
 *
 * FAULTS_FOLDER   only files under this folder are touched; the WAL's index (-shm) is no file that outlives a crash
 * FAULTS_TRACE    every write, truncation, sync and change of a name is appended to this file, in order
 * FAULTS_CONTROL  a mapped `struct control` that another process may change at any time
 *
 * A record of the trace is a `struct record`, then `size` bytes: what was written, or a path, or two with a zero between.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum call { WRITE = 1, SYNC = 2, TRUNCATE = 4 };

/* Read and written by tests/faults/library.py; every member is 8 bytes. */
struct control {
    int64_t clock_offset_ms; /* added to the wall clock */
    int64_t sync_delay_ms;   /* each sync takes this much longer */
    int64_t calls;           /* which calls may fail: a sum of `enum call` */
    int64_t first;           /* the number, from 0, of the first matching call that fails */
    int64_t count;           /* how many fail from then on */
    int64_t error;           /* the errno they fail with */
    int64_t seen;            /* matching calls so far */
    int64_t failed;          /* calls that were made to fail */
};

struct record {
    uint8_t kind; /* 'o'pen, 'w'rite, 't'runcate, 's'ync, 'c'lose, 'r'ename, 'l'ink, 'u'nlink */
    uint8_t created;
    uint16_t unused;
    int32_t pid;
    int32_t fd;
    uint32_t size;
    int64_t offset;
};

#define FDS 4096
static char tracked[FDS];
static char folder[4096];
static size_t folder_length;
static int trace = -1;
static volatile struct control *control;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAULTS_FOLDER");
    if (name == NULL || realpath(name, folder) == NULL)
        return;
    folder_length = strlen(folder);
    if ((name = getenv("FAULTS_TRACE")) != NULL)
        trace = REAL(open)(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((name = getenv("FAULTS_CONTROL")) != NULL) {
        int fd = REAL(open)(name, O_RDWR | O_CLOEXEC);
        void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped != MAP_FAILED)
            control = mapped;
        REAL(close)(fd);
    }
}

/* The path inside the folder, "" for the folder itself, or NULL when it is somebody else's. */
static const char *inside(const char *path, char *whole)
{
    if (folder_length == 0 || path == NULL)
        return NULL;
    if (path[0] == '/')
        snprintf(whole, 4096, "%s", path);
    else {
        char here[4096];
        if (getcwd(here, sizeof here) == NULL)
            return NULL;
        snprintf(whole, 4096, "%.2000s/%.2000s", here, path);
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/')
        whole[--length] = 0;
    if (strncmp(whole, folder, folder_length) != 0 || (whole[folder_length] != '/' && whole[folder_length] != 0))
        return NULL;
    if (length > 4 && strcmp(whole + length - 4, "-shm") == 0)
        return NULL;
    return whole[folder_length] ? whole + folder_length + 1 : "";
}

static int is_tracked(int fd)
{
    return fd >= 0 && fd < FDS && tracked[fd];
}

static void tell(char kind, int fd, int created, int64_t offset, const void *data, size_t size)
{
    if (trace < 0)
        return;
    char *whole = malloc(sizeof(struct record) + size);
    struct record head = {.kind = kind, .created = created, .pid = getpid(), .fd = fd, .size = size, .offset = offset};
    memcpy(whole, &head, sizeof head);
    memcpy(whole + sizeof head, data, size);
    int kept = errno;
    if (REAL(write)(trace, whole, sizeof head + size) != (ssize_t)(sizeof head + size))
        abort();
    errno = kept;
    free(whole);
}

static void lock(void)
{
    if (trace >= 0)
        pthread_mutex_lock(&order);
}

static void unlock(void)
{
    if (trace >= 0)
        pthread_mutex_unlock(&order);
}

static int must_fail(enum call call)
{
    if (control == NULL || !(control->calls & call))
        return 0;
    int64_t number = __atomic_fetch_add(&control->seen, 1, __ATOMIC_SEQ_CST);
    if (number < control->first || number >= control->first + control->count)
        return 0;
    __atomic_fetch_add(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)control->error;
    return 1;
}

/* Opening and closing. */

static int opened(const char *path, int flags, int fd, int existed)
{
    char whole[4096];
    const char *name = inside(path, whole);
    if (fd < 0 || fd >= FDS || name == NULL)
        return fd;
    tracked[fd] = 1;
    tell('o', fd, !existed, 0, name, strlen(name));
    if ((flags & O_TRUNC) && existed)
        tell('t', fd, 0, 0, "", 0);
    return fd;
}

static int exists(const char *path)
{
    int kept = errno, found = access(path, F_OK) == 0;
    errno = kept;
    return found;
}

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...)                         \
    {                                                                  \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        lock();                                                        \
        int existed = exists(path);                                    \
        int fd = opened(path, flags, REAL(name)(path, flags, mode), existed); \
        unlock();                                                      \
        return fd;                                                     \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    lock();
    if (is_tracked(fd)) {
        tracked[fd] = 0;
        tell('c', fd, 0, 0, "", 0);
    }
    int result = REAL(close)(fd);
    unlock();
    return result;
}

/* Writing. */

#define PWRITE(name, offset_type)                                                    \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset)          \
    {                                                                                \
        if (!is_tracked(fd))                                                         \
            return REAL(name)(fd, data, size, offset);                               \
        if (must_fail(WRITE))                                                        \
            return -1;                                                               \
        lock();                                                                      \
        ssize_t written = REAL(name)(fd, data, size, offset);                        \
        if (written > 0)                                                             \
            tell('w', fd, 0, offset, data, written);                                 \
        unlock();                                                                    \
        return written;                                                              \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size)
{
    if (!is_tracked(fd))
        return REAL(write)(fd, data, size);
    if (must_fail(WRITE))
        return -1;
    lock();
    ssize_t written = REAL(write)(fd, data, size);
    if (written > 0)
        tell('w', fd, 0, lseek(fd, 0, SEEK_CUR) - written, data, written);
    unlock();
    return written;
}

#define FTRUNCATE(name, size_type)                    \
    int name(int fd, size_type size)                  \
    {                                                 \
        if (!is_tracked(fd))                          \
            return REAL(name)(fd, size);              \
        if (must_fail(TRUNCATE))                      \
            return -1;                                \
        lock();                                       \
        int result = REAL(name)(fd, size);            \
        if (result == 0)                              \
            tell('t', fd, 0, size, "", 0);            \
        unlock();                                     \
        return result;                                \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

/* Syncing. */

#define FSYNC(name)                                                              \
    int name(int fd)                                                             \
    {                                                                            \
        if (!is_tracked(fd))                                                     \
            return REAL(name)(fd);                                               \
        for (int64_t waited = 0; control != NULL && waited < control->sync_delay_ms; waited += 5) \
            usleep(5000);                                                        \
        if (must_fail(SYNC))                                                     \
            return -1;                                                           \
        lock();                                                                  \
        int result = REAL(name)(fd);                                             \
        if (result == 0)                                                         \
            tell('s', fd, 0, 0, "", 0);                                          \
        unlock();                                                                \
        return result;                                                           \
    }
FSYNC(fsync)
FSYNC(fdatasync)

/* Names. */

static void tell_names(char kind, const char *one, const char *other)
{
    char whole[4096], whole_other[4096], both[8192];
    const char *name = inside(one, whole), *second = other ? inside(other, whole_other) : "";
    if (name == NULL || second == NULL)
        return;
    size_t length = strlen(name);
    memcpy(both, name, length + 1);
    memcpy(both + length + 1, second, strlen(second));
    tell(kind, -1, 0, 0, both, length + 1 + strlen(second));
}

#define TWO_NAMES(name, kind)                         \
    int name(const char *from, const char *to)        \
    {                                                 \
        lock();                                       \
        int result = REAL(name)(from, to);            \
        if (result == 0)                              \
            tell_names(kind, from, to);               \
        unlock();                                     \
        return result;                                \
    }
TWO_NAMES(rename, 'r')
TWO_NAMES(link, 'l')

int unlink(const char *path)
{
    lock();
    int result = REAL(unlink)(path);
    if (result == 0)
        tell_names('u', path, NULL);
    unlock();
    return result;
}

/* The wall clock. Monotonic time goes on as it does. */

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = REAL(clock_gettime)(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && control != NULL) {
        int64_t milliseconds = time->tv_nsec / 1000000 + control->clock_offset_ms % 1000 + 1000;
        time->tv_sec += control->clock_offset_ms / 1000 + milliseconds / 1000 - 1;
        time->tv_nsec = time->tv_nsec % 1000000 + milliseconds % 1000 * 1000000;
    }
    return result;
}
