/* A mapped file that is kept ahead of what is written into it, so that a writer makes no call for output. */
#ifndef ENGINESCOPE_MAPPED_H
#define ENGINESCOPE_MAPPED_H

#include <stdint.h>

typedef struct {
    int fd;
    uint8_t *base;                 /* NULL while there is no file */
    int64_t used, allocated, most; /* in bytes */
    int64_t chunk;                 /* what the file is made longer by; it is kept two of them ahead */
} Mapped;

/* These return 0 or an errno, and are called with the interpreter's lock, which they let go of for the slow part. */
int mapped_open(Mapped *file, const char *path, int64_t most, int64_t chunk);
int mapped_extend(Mapped *file);
/* Close it, cut to what was written unless it is another process's. */
void mapped_close(Mapped *file, int ours);

/* Room for so many bytes in a row, or NULL where there is none. */
static inline void *mapped_take(Mapped *file, int64_t bytes) {
    if (file->used + bytes > file->allocated) return 0;
    void *room = file->base + file->used;
    file->used += bytes;
    return room;
}

#endif
