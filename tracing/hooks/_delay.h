/* A delay before the calls of one site, as a mapped file asks for it (layout: tracing/events/delays.py). */
#ifndef ENGINESCOPE_DELAY_H
#define ENGINESCOPE_DELAY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

typedef struct {
    int64_t until_ns, length_ns, switch_ns;
    uint32_t phase;
    uint16_t site, kind;
    uint32_t pid; /* 0: every process */
} Delay;

extern const volatile Delay *asked; /* of no site before `delay_map` */

/* Look at this file from now on; a delay is a span of site `code`. 0 or an errno. */
int delay_map(const char *path, uint16_t code);
/* Delays on the device are put there by this function from now on: it is called with the site, the phase and the
 * nanoseconds, and raises nothing. */
void delay_put_by(PyObject *function);
/* Let the time go by that the file asks for, or let it be put on the device; called with the interpreter's lock. */
void delay_wait(void);

static inline void delay_before(uint16_t site) {
    if (asked->site == site) delay_wait();
}

#endif
