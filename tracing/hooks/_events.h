/* The records of one process (layout: tracing/events/layout.py). All of it runs under the interpreter's lock, so that a
 * slot is taken without a lock of our own. */
#ifndef ENGINESCOPE_EVENTS_H
#define ENGINESCOPE_EVENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "_mapped.h"
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPAN = 1, RAISED, LIST, MORE }; /* what a record is */
enum { COST = 10 };                    /* the code of a list */
enum { SITES = 256, COST_EACH = 32 };

typedef struct {
    int64_t start, end, step, value;
    uint32_t thread, request, extra;
    uint16_t site, kind;
} Record;

extern Mapped events;
extern const volatile uint8_t *paused; /* nothing is written while this is not 0 */
extern __thread uint32_t thread_id;
extern __thread int64_t current_step;
extern __thread int64_t last_length; /* of the span that this thread wrote last */
extern uint8_t calls_of_site[SITES];

static inline int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint32_t thread(void) {
    if (!thread_id) thread_id = (uint32_t)syscall(SYS_gettid);
    return thread_id;
}

static inline int writing(void) { return events.base && !*paused; }

/* Begin with new files at `path` and beside it, the latter for the texts: a log of at most `most` records, or a ring of
 * at least so many bytes; 0 or an errno. */
int events_open(const char *path, int64_t schema, int64_t most, int64_t ring_bytes);
int events_extend(void);
void events_close(int ours);
int64_t events_written(void);
int64_t events_dropped(void);

void write_span(uint16_t site, uint16_t kind, int64_t start, int64_t end, uint32_t request, int64_t step,
                int64_t value, uint32_t extra);
void write_list(uint16_t code, int64_t key, int64_t step, const uint32_t *words, int64_t count);

/* What watching a call costs is measured where it happens, in one call of COST_EACH of a site: from `cost_from`, which
 * gives 0 for the others, to `write_cost`, less the length of the call's span, which was written last. */
static inline int64_t cost_from(uint16_t site) { return ++calls_of_site[site % SITES] % COST_EACH ? 0 : clock_ns(); }
void write_cost(uint16_t site, int64_t from);

/* The number of a text, which is written down when it is first met; 0 for None and for what is not a text. */
uint32_t text_number(PyObject *text);
/* An int, or the number of a text. */
int64_t whole(PyObject *value);

#endif
