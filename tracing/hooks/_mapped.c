/* A mapped file that is kept ahead of what is written into it (see _mapped.h). */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include "_mapped.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int grow(Mapped *file) {
    int failure;
    Py_BEGIN_ALLOW_THREADS
    failure = posix_fallocate(file->fd, file->allocated, file->chunk);
#ifdef MADV_POPULATE_WRITE /* so that no page fault is left for the engine's threads; where it fails they take them */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)file->base + file->allocated;
    uintptr_t begin = from & ~(page - 1);
    if (!failure) madvise((void *)begin, from + file->chunk - begin, MADV_POPULATE_WRITE);
#endif
    Py_END_ALLOW_THREADS
    if (!failure) file->allocated += file->chunk;
    return failure;
}

int mapped_extend(Mapped *file) {
    int failure = 0;
    while (!failure && file->base && file->allocated - file->used < 2 * file->chunk &&
           file->allocated + file->chunk <= file->most)
        failure = grow(file);
    return failure;
}

int mapped_open(Mapped *file, const char *path, int64_t most, int64_t chunk) {
    *file = (Mapped){.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), .chunk = chunk};
    if (file->fd < 0) return errno;
    file->most = most < chunk ? chunk : most;
    void *base = mmap(NULL, file->most, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    file->base = base == MAP_FAILED ? NULL : base;
    int failure = file->base ? grow(file) : errno;
    if (failure) mapped_close(file, 1);
    return failure;
}

void mapped_close(Mapped *file, int ours) {
    if (file->base) munmap(file->base, file->most);
    if (file->fd >= 0) {
        if (ours && ftruncate(file->fd, file->used) != 0) errno = 0; /* the tail is zeros then, which readers know */
        close(file->fd);
    }
    *file = (Mapped){.fd = -1};
}
