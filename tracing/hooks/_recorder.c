/* The recorder's functions, as Python calls them: spans and lists go into the event file, and to NVTX where it is on.
 *
 * No call for input or output is made on a caller's thread; the files are made longer by `extend`, which a thread of the
 * recorder's own calls from time to time.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include "_delay.h"
#include "_events.h"
#include "_hook.h"
#include "_launches.h"
#include "_nvtx.h"
#include "_scope.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

static PyObject *py_now(PyObject *self, PyObject *ignored) { return PyLong_FromLongLong(clock_ns()); }

static PyObject *py_set_step(PyObject *self, PyObject *number) {
    int64_t step = PyLong_AsLongLong(number);
    if (step == -1 && PyErr_Occurred()) return NULL;
    current_step = step;
    Py_RETURN_NONE;
}

static PyObject *py_step(PyObject *self, PyObject *ignored) { return PyLong_FromLongLong(current_step); }

static PyObject *py_span(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    int64_t end = clock_ns();
    if (count < 2) return PyErr_Format(PyExc_TypeError, "span() takes a site and a start");
    int64_t value = count > 3 ? whole(args[3]) : 0, given_end = count > 6 ? whole(args[6]) : 0;
    uint32_t request = count > 2 ? text_number(args[2]) : 0, extra = count > 4 ? (uint32_t)whole(args[4]) : 0;
    int64_t step = count > 5 && args[5] != Py_None ? whole(args[5]) : current_step;
    uint16_t kind = count > 7 && PyObject_IsTrue(args[7]) ? RAISED : SPAN;
    uint16_t site = (uint16_t)whole(args[0]);
    int64_t start = whole(args[1]);
    write_span(site, kind, start, given_end ? given_end : end, request, step, value, extra);
    if (nvtx_on && writing())
        nvtx_told(site, start == given_end, count > 3 ? args[3] : NULL, count > 4 ? args[4] : NULL,
                  count > 2 ? args[2] : NULL, kind == RAISED, step);
    Py_RETURN_NONE;
}

static PyObject *py_numbers(PyObject *self, PyObject *args) {
    int code;
    PyObject *values;
    long long key = 0, step = current_step;
    if (!PyArg_ParseTuple(args, "iO|LL", &code, &values, &key, &step)) return NULL;
    PyObject *items = PySequence_Fast(values, "numbers() takes a sequence");
    if (!items) return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    uint32_t *words = PyMem_Malloc(count * 4 + 4);
    for (Py_ssize_t i = 0; words && i < count; i++) words[i] = (uint32_t)whole(PySequence_Fast_GET_ITEM(items, i));
    if (words) write_list((uint16_t)code, key, step, words, count);
    if (nvtx_on && writing()) nvtx_list(code, key, PySequence_Fast_ITEMS(items), count, step);
    PyMem_Free(words);
    Py_DECREF(items);
    Py_RETURN_NONE;
}

static PyObject *py_batch(PyObject *self, PyObject *args) {
    int code;
    PyObject *tokens, *request, *number;
    if (!PyArg_ParseTuple(args, "iO!", &code, &PyDict_Type, &tokens)) return NULL;
    uint32_t *words = PyMem_Malloc(PyDict_GET_SIZE(tokens) * 8 + 8);
    Py_ssize_t position = 0, count = 0;
    while (words && PyDict_Next(tokens, &position, &request, &number)) {
        words[count++] = text_number(request);
        words[count++] = (uint32_t)whole(number);
    }
    if (words) write_list((uint16_t)code, 0, current_step, words, count);
    PyMem_Free(words);
    Py_RETURN_NONE;
}

static PyObject *failed(int failure, const char *path) {
    errno = failure;
    return path ? PyErr_SetFromErrnoWithFilename(PyExc_OSError, path) : PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *py_start(PyObject *self, PyObject *args) {
    const char *path;
    long long schema, most, ring_bytes = 0;
    if (!PyArg_ParseTuple(args, "sLL|L", &path, &schema, &most, &ring_bytes)) return NULL;
    if (events.base) return PyErr_Format(PyExc_RuntimeError, "the recorder is running");
    int failure = events_open(path, schema, most, ring_bytes);
    if (failure) return failed(failure, path);
    Py_RETURN_NONE;
}

static PyObject *py_extend(PyObject *self, PyObject *ignored) {
    int failure = events_extend();
    if (failure) return failed(failure, NULL);
    Py_RETURN_NONE;
}

static PyObject *py_stop(PyObject *self, PyObject *ignored) {
    events_close(1);
    Py_RETURN_NONE;
}

/* In a forked child: the parent's files are the parent's, and this thread has another number. */
static PyObject *py_forget(PyObject *self, PyObject *ignored) {
    thread_id = 0;
    current_step = -1;
    events_close(0);
    Py_RETURN_NONE;
}

static PyObject *py_pause_by(PyObject *self, PyObject *args) {
    const char *path;
    if (!PyArg_ParseTuple(args, "s", &path)) return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *byte = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (byte == MAP_FAILED) return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    paused = byte;
    Py_RETURN_NONE;
}

static PyObject *py_delay_by(PyObject *self, PyObject *args) {
    const char *path;
    unsigned short code;
    if (!PyArg_ParseTuple(args, "sH", &path, &code)) return NULL;
    int failure = delay_map(path, code);
    if (failure) return failed(failure, path);
    Py_RETURN_NONE;
}

static PyObject *py_delay_on_device(PyObject *self, PyObject *function) {
    delay_put_by(function);
    Py_RETURN_NONE;
}

static PyObject *py_enter(PyObject *self, PyObject *site) {
    int64_t from = writing() ? cost_from((uint16_t)whole(site)) : 0;
    return PyLong_FromLongLong(from ? from : writing());
}

static PyObject *py_cost(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) return PyErr_Format(PyExc_TypeError, "cost() takes a site and what enter() gave");
    if (writing()) write_cost((uint16_t)whole(args[0]), whole(args[1]));
    Py_RETURN_NONE;
}

static PyObject *py_writing(PyObject *self, PyObject *ignored) { return PyBool_FromLong(writing()); }

static PyObject *py_push(PyObject *self, PyObject *args) {
    unsigned short site;
    if (!PyArg_ParseTuple(args, "H", &site)) return NULL;
    if (nvtx_on) nvtx_push(site, NULL, current_step);
    Py_RETURN_NONE;
}

static PyObject *py_pop(PyObject *self, PyObject *ignored) {
    if (nvtx_on) nvtx_pop();
    Py_RETURN_NONE;
}

static PyObject *py_open_range(PyObject *self, PyObject *args) {
    unsigned short site;
    PyObject *request = Py_None;
    if (!PyArg_ParseTuple(args, "H|O", &site, &request)) return NULL;
    return PyLong_FromUnsignedLongLong(nvtx_on && writing() ? nvtx_start(site, request, current_step) : 0);
}

static PyObject *py_close_range(PyObject *self, PyObject *range) {
    uint64_t number = PyLong_AsUnsignedLongLong(range);
    if (PyErr_Occurred()) return NULL;
    if (nvtx_on && number) nvtx_end(number);
    Py_RETURN_NONE;
}

static PyObject *py_mark(PyObject *self, PyObject *args) {
    const char *text;
    long long payload;
    if (!PyArg_ParseTuple(args, "sL", &text, &payload)) return NULL;
    if (nvtx_on) nvtx_mark(text, payload);
    Py_RETURN_NONE;
}

static PyObject *py_counts(PyObject *self, PyObject *ignored) {
    return Py_BuildValue("LL", (long long)events_written(), (long long)events_dropped());
}

static PyMethodDef functions[] = {
    {"now", py_now, METH_NOARGS, "Nanoseconds of CLOCK_MONOTONIC."},
    {"set_step", py_set_step, METH_O, "The step, or message key, of this thread's spans from now on."},
    {"step", py_step, METH_NOARGS, "What `set_step` was last given on this thread; -1 before."},
    {"span", (PyCFunction)(void (*)(void))py_span, METH_FASTCALL,
     "span(site, start, request=None, value=0, extra=0, step=None, end=0, raised=False); end 0 is now."},
    {"numbers", py_numbers, METH_VARARGS, "numbers(list code, values, key=0, step=this thread's): ints or texts."},
    {"batch", py_batch, METH_VARARGS, "batch(list code, {request: tokens})."},
    {"start", py_start, METH_VARARGS, "start(path, schema, most records, ring bytes=0): new files, the texts' beside; OSError."},
    {"extend", py_extend, METH_NOARGS, "Keep the files ahead of what is written; OSError on a full disk."},
    {"stop", py_stop, METH_NOARGS, "Close the files, cut to what was written."},
    {"forget", py_forget, METH_NOARGS, "In a forked child: let go of the parent's files."},
    {"pause_by", py_pause_by, METH_VARARGS,
     "pause_by(path): write nothing, and count nothing as dropped, while the file's first byte is not 0; OSError."},
    {"delay_by", py_delay_by, METH_VARARGS,
     "delay_by(path, site): while spans are written, delay what the file asks for; a delay is a span of that site; OSError."},
    {"delay_on_device", py_delay_on_device, METH_O,
     "delay_on_device(function): it puts delays on the device, called with the site, the phase and nanoseconds."},
    {"enter", py_enter, METH_O,
     "enter(site): 0 where no spans are written now; else 1, or of a call whose cost is to be written what `cost` needs."},
    {"cost", (PyCFunction)(void (*)(void))py_cost, METH_FASTCALL,
     "cost(site, entered): a call whose span was just written, on this thread, is over."},
    {"scope", scope_around, METH_VARARGS,
     "scope(site, name, scope): what writes a span of the scope, where spans are written now; else the scope itself."},
    {"report_to", hook_report_to, METH_O, "report_to(function): it is called with an error of the recorder's own."},
    {"writing", py_writing, METH_NOARGS, "Whether spans are written now: a file is open, and nothing is paused."},
    {"make_ranges", nvtx_begin, METH_VARARGS,
     "make_ranges(library, domain, [(site or None, colour)]): spans are NVTX ranges and marks from now on; OSError."},
    {"push_range", py_push, METH_VARARGS, "push_range(site): as all below, nothing before `make_ranges`."},
    {"pop_range", py_pop, METH_NOARGS, "End the range last pushed on this thread."},
    {"open_range", py_open_range, METH_VARARGS, "open_range(site, request=None): one that may end in any order."},
    {"close_range", py_close_range, METH_O, "close_range(what open_range gave)."},
    {"mark", py_mark, METH_VARARGS, "mark(text, payload)."},
    {"counts", py_counts, METH_NOARGS, "(records written, spans dropped)."},
    {NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_recorder", "The recorder's hot path.", -1, functions};

PyMODINIT_FUNC PyInit__recorder(void) {
    PyObject *made = PyType_Ready(&ScopeType) < 0 ? NULL : PyModule_Create(&module);
    if (!made || PyModule_AddType(made, &HookType) < 0 || PyModule_AddType(made, &LaunchesType) < 0) return NULL;
    return made;
}
