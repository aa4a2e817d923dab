/* A delay before the calls of one site (see _delay.h): it holds the interpreter's lock as the site's own work would.
 *
 * Python code gives the lock up once a switch interval where another thread wants it, so a spin does; a sleep that holds
 * it blocks the process's other threads without taking a processor from anybody.
 */
#include "_delay.h"
#include "_events.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SPINNING = 1, HOLDING, RELEASING, ON_DEVICE };

static const Delay nowhere = {.site = UINT16_MAX};
static uint16_t span_code;
static PyObject *put_on_device; /* NULL before `delay_put_by` */

const volatile Delay *asked = &nowhere;

int delay_map(const char *path, uint16_t code) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *file = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(Delay), PROT_READ, MAP_SHARED, fd, 0);
    int failure = file == MAP_FAILED ? errno : 0;
    if (fd >= 0) close(fd);
    if (failure) return failure;
    span_code = code;
    asked = file;
    return 0;
}

void delay_put_by(PyObject *function) { Py_XSETREF(put_on_device, Py_NewRef(function)); }

static void put(const Delay *now, int64_t length) {
    if (!put_on_device || current_step < 0) return; /* to warm up or to capture graphs nothing is delayed */
    PyObject *done = PyObject_CallFunction(put_on_device, "iIL", now->site, now->phase, (long long)length);
    if (!done) PyErr_Clear();
    Py_XDECREF(done);
}

/* A waiting thread asks for the lock once it has waited a switch interval, and each release begins its wait anew: a
 * turn is longer, so that the release is one that was asked for, which hands the lock over. */
static void spin(int64_t end, int64_t interval) {
    interval += interval / 4;
    int64_t turn = clock_ns() + interval;
    for (int64_t now; (now = clock_ns()) < end;)
        if (now >= turn) {
            Py_BEGIN_ALLOW_THREADS
            Py_END_ALLOW_THREADS
            turn = clock_ns() + interval;
        }
}

static void sleep_until(int64_t end) {
    struct timespec at = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

void delay_wait(void) {
    Delay now = {asked->until_ns, asked->length_ns, asked->switch_ns, asked->phase, asked->site, asked->kind, asked->pid};
    if (now.pid && now.pid != (uint32_t)getpid()) return;
    int64_t start = clock_ns(), end = start + now.length_ns;
    if (end > now.until_ns) end = now.until_ns; /* who asked for it has died, or will not see it through */
    if (end <= start) return;
    if (now.kind == ON_DEVICE) {
        put(&now, end - start);
        return;
    }
    if (now.kind == SPINNING) spin(end, now.switch_ns);
    if (now.kind == HOLDING) sleep_until(end);
    if (now.kind == RELEASING) {
        Py_BEGIN_ALLOW_THREADS
        sleep_until(end);
        Py_END_ALLOW_THREADS
    }
    write_span(span_code, SPAN, start, clock_ns(), 0, current_step, now.site, now.phase);
}
