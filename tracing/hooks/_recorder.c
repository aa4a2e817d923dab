/* The recorder's hot path: takes stamps and writes records of 48 bytes into a mapped file (layout: tracing/events/layout.py).
 *
 * Everything here runs under the interpreter's lock, so that a slot is taken without a lock of our own. A record's `kind`
 * is written last: a reader takes a record for whole only then. No call for input or output is made on a caller's thread;
 * the file is made longer by `extend`, which a thread of the recorder's own calls from time to time.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include "_nvtx.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPAN = 1, RAISED, TEXT, LIST, MORE };
enum { RECORD_BYTES = 48, PAYLOAD_BYTES = 44, PAYLOAD_WORDS = 11 };
#define CHUNK_RECORDS (1 << 16) /* 3 MiB: what `extend` adds at a time */
#define AHEAD_RECORDS (1 << 17) /* how far the file is kept ahead of what is written */

typedef struct {
    int64_t start, end, step, value;
    uint32_t thread, request, extra;
    uint16_t site, kind;
} Record;

typedef struct {
    char magic[8];
    int64_t schema, pid, written, dropped, rest;
} Header;

static const uint8_t never;

static struct {
    int fd;
    uint8_t *base;
    int64_t next, allocated, most; /* in records after the header */
    const volatile uint8_t *paused; /* nothing is written while this is not 0 */
    PyObject *texts;               /* text -> its number */
} rec = {.fd = -1, .paused = &never};

static __thread uint32_t thread_id;
static __thread int64_t current_step = -1;

static inline int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint32_t thread(void) {
    if (!thread_id) thread_id = (uint32_t)syscall(SYS_gettid);
    return thread_id;
}

static inline int writing(void) { return rec.base && !*rec.paused; }

/* `count` records in a row, or NULL where the file has no room: then one more counts as dropped. */
static Record *take(int64_t count) {
    if (!writing()) return NULL;
    if (rec.next + count > rec.allocated) {
        ((Header *)rec.base)->dropped++;
        return NULL;
    }
    Record *first = (Record *)(rec.base + (rec.next + 1) * RECORD_BYTES);
    rec.next += count;
    return first;
}

static inline void publish(Record *r, uint16_t kind) {
    __atomic_store_n(&r->kind, kind, __ATOMIC_RELEASE);
}

static void fill_more(Record *r, const void *bytes, int64_t length) {
    for (; length > 0; length -= PAYLOAD_BYTES, bytes = (const char *)bytes + PAYLOAD_BYTES, r++) {
        memcpy(r, bytes, length < PAYLOAD_BYTES ? length : PAYLOAD_BYTES);
        publish(r, MORE);
    }
}

static int64_t more_records(int64_t bytes) { return (bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES; }

/* The number of a text, which is written down when it is first met; 0 for None and for what is not a text. */
static uint32_t text_number(PyObject *text) {
    if (!text || !PyUnicode_Check(text) || !rec.texts) return 0;
    PyObject *known = PyDict_GetItemWithError(rec.texts, text);
    if (known) return (uint32_t)PyLong_AsUnsignedLong(known);
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    Record *r = bytes ? take(1 + more_records(length)) : NULL;
    if (!r) {
        PyErr_Clear();
        return 0;
    }
    uint32_t number = (uint32_t)PyDict_GET_SIZE(rec.texts) + 1;
    PyObject *boxed = PyLong_FromUnsignedLong(number);
    if (!boxed || PyDict_SetItem(rec.texts, text, boxed) < 0) PyErr_Clear();
    Py_XDECREF(boxed);
    *r = (Record){.start = clock_ns(), .value = length, .thread = thread(), .request = number};
    fill_more(r + 1, bytes, length);
    publish(r, TEXT);
    return number;
}

static void write_span(uint16_t site, uint16_t kind, int64_t start, int64_t end, uint32_t request, int64_t step,
                       int64_t value, uint32_t extra) {
    Record *r = take(1);
    if (!r) return;
    r->start = start;
    r->end = end;
    r->step = step;
    r->value = value;
    r->thread = thread();
    r->request = request;
    r->extra = extra;
    r->site = site;
    publish(r, kind);
}

static void write_list(uint16_t code, int64_t key, int64_t step, const uint32_t *words, int64_t count) {
    Record *r = take(1 + more_records(count * 4));
    if (!r) return;
    *r = (Record){.start = clock_ns(), .end = key, .step = step, .value = count, .thread = thread(), .site = code};
    fill_more(r + 1, words, count * 4);
    publish(r, LIST);
}

/* An int, or the number of a text. */
static int64_t whole(PyObject *value) {
    if (PyLong_Check(value)) {
        int64_t number = PyLong_AsLongLong(value);
        if (number == -1 && PyErr_Occurred()) PyErr_Clear();
        return number;
    }
    return text_number(value);
}

/* --- functions --- */

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

static int grow(int64_t records) {
    int64_t from = (rec.allocated + 1) * RECORD_BYTES, bytes = records * RECORD_BYTES;
    int failure;
    Py_BEGIN_ALLOW_THREADS
    failure = posix_fallocate(rec.fd, rec.allocated ? from : 0, rec.allocated ? bytes : bytes + RECORD_BYTES);
#ifdef MADV_POPULATE_WRITE /* so that no page fault is left for the engine's threads; where it fails they take them */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)rec.base + from) & ~(page - 1);
    if (!failure) madvise((void *)begin, (uintptr_t)rec.base + from + bytes - begin, MADV_POPULATE_WRITE);
#endif
    Py_END_ALLOW_THREADS
    if (!failure) rec.allocated += records;
    return failure;
}

static PyObject *py_extend(PyObject *self, PyObject *ignored) {
    while (rec.base && rec.allocated - rec.next < AHEAD_RECORDS && rec.allocated + CHUNK_RECORDS <= rec.most) {
        int failure = grow(CHUNK_RECORDS);
        if (failure) {
            errno = failure;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    Py_RETURN_NONE;
}

static void release(int keep_length) {
    if (!rec.base) return;
    int64_t length = (rec.next + 1) * RECORD_BYTES;
    ((Header *)rec.base)->written = rec.next;
    munmap(rec.base, (rec.most + 1) * RECORD_BYTES);
    rec.base = NULL;
    if (!keep_length && ftruncate(rec.fd, length) != 0) errno = 0; /* the tail is zeros then, which readers know */
    close(rec.fd);
    rec.fd = -1;
    Py_CLEAR(rec.texts);
}

static PyObject *py_stop(PyObject *self, PyObject *ignored) {
    release(0);
    Py_RETURN_NONE;
}

/* In a forked child: the parent's file is the parent's, and this thread has another number. */
static PyObject *py_forget(PyObject *self, PyObject *ignored) {
    thread_id = 0;
    current_step = -1;
    release(1);
    Py_RETURN_NONE;
}

static PyObject *py_start(PyObject *self, PyObject *args) {
    const char *path;
    long long schema, most;
    if (!PyArg_ParseTuple(args, "sLL", &path, &schema, &most)) return NULL;
    if (rec.base) return PyErr_Format(PyExc_RuntimeError, "the recorder is running");
    rec.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (rec.fd < 0) return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    rec.next = rec.allocated = 0;
    rec.most = most < CHUNK_RECORDS ? CHUNK_RECORDS : most;
    void *base = mmap(NULL, (rec.most + 1) * RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rec.fd, 0);
    rec.base = base == MAP_FAILED ? NULL : base;
    int failure = rec.base ? grow(CHUNK_RECORDS) : errno;
    if (failure) {
        release(0);
        errno = failure;
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    }
    rec.texts = PyDict_New();
    Header *header = (Header *)rec.base;
    *header = (Header){.schema = schema, .pid = getpid()};
    memcpy(header->magic, "ESEVENT1", 8);
    return py_extend(self, NULL);
}

static PyObject *py_pause_by(PyObject *self, PyObject *args) {
    const char *path;
    if (!PyArg_ParseTuple(args, "s", &path)) return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *byte = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (byte == MAP_FAILED) return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    rec.paused = byte;
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
    return Py_BuildValue("LL", rec.next, rec.base ? ((Header *)rec.base)->dropped : 0);
}

/* --- Hook: stands in for a function, and writes a span for every call --- */

typedef struct {
    PyObject_HEAD
    PyObject *original, *keyword, *attribute, *numbers, *dict;
    vectorcallfunc vectorcall;
    Py_ssize_t position;
    uint16_t site;
    int range_only; /* an NVTX range, and no span: another stand-in around this one writes it */
} Hook;

/* The request that a call is about: an argument by position or keyword, or one attribute of it; NULL where none is. */
static PyObject *asked_for(Hook *hook, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    if (hook->position < 0) return NULL;
    PyObject *found = hook->position < count ? args[hook->position] : NULL;
    for (Py_ssize_t i = 0; !found && names && i < PyTuple_GET_SIZE(names); i++)
        if (PyUnicode_Compare(PyTuple_GET_ITEM(names, i), hook->keyword) == 0) found = args[count + i];
    if (!found || hook->attribute == Py_None) return Py_XNewRef(found);
    PyObject *value = PyObject_GetAttr(found, hook->attribute);
    if (!value) PyErr_Clear();
    return value;
}

/* A span's two numbers, from `numbers(result, *args)`, which returns a pair. */
static int told(Hook *hook, PyObject *result, PyObject *const *args, Py_ssize_t count, int64_t *value, uint32_t *extra) {
    PyObject *stack[8] = {result};
    if (count > 7) count = 7;
    memcpy(stack + 1, args, count * sizeof(PyObject *));
    PyObject *pair = PyObject_Vectorcall(hook->numbers, stack, count + 1, NULL);
    if (pair && PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2) {
        PyObject *first = PyTuple_GET_ITEM(pair, 0), *second = PyTuple_GET_ITEM(pair, 1);
        *value = whole(first);
        *extra = (uint32_t)whole(second);
        if (nvtx_on) nvtx_told(hook->site, 0, first, second, NULL, 0, current_step);
    } else if (pair) {
        PyErr_SetString(PyExc_TypeError, "numbers() must return a pair");
    }
    Py_XDECREF(pair);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *on_failure; /* what is called with an error of our own; NULL before `report_to` */

/* Our own failure: who was named by `report_to` stops for good and says so once. */
static void recorder_failed(void) {
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    PyObject *done = on_failure ? PyObject_CallOneArg(on_failure, error ? error : Py_None) : NULL;
    if (!done) PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
}

static PyObject *py_report_to(PyObject *self, PyObject *function) {
    Py_XSETREF(on_failure, Py_NewRef(function));
    Py_RETURN_NONE;
}

/* Write the span of a call that is over; where it raised the exception is put aside meanwhile. */
static void write_call(Hook *hook, PyObject *const *args, Py_ssize_t count, PyObject *request, PyObject *result,
                       int64_t start, int64_t end) {
    int64_t value = 0;
    uint32_t extra = 0;
    PyObject *type, *error, *trace;
    if (!result) PyErr_Fetch(&type, &error, &trace);
    uint32_t number = text_number(request);
    if (result && hook->numbers != Py_None && told(hook, result, args, count, &value, &extra) < 0) recorder_failed();
    if (!hook->range_only) write_span(hook->site, result ? SPAN : RAISED, start, end, number, current_step, value, extra);
    if (nvtx_on && !result) nvtx_told(hook->site, 0, NULL, NULL, NULL, 1, current_step);
    if (!result) PyErr_Restore(type, error, trace);
}

static PyObject *hook_call(PyObject *self, PyObject *const *args, size_t flags, PyObject *names) {
    Hook *hook = (Hook *)self;
    if (!writing()) return PyObject_Vectorcall(hook->original, args, flags, names);
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    PyObject *request = asked_for(hook, args, count, names);
    int ranged = nvtx_on;
    if (ranged) nvtx_push(hook->site, request, current_step);
    int64_t start = clock_ns();
    PyObject *result = PyObject_Vectorcall(hook->original, args, flags, names);
    int64_t end = clock_ns();
    if (ranged) nvtx_pop();
    if (writing()) write_call(hook, args, count, request, result, start, end);
    Py_XDECREF(request);
    return result;
}

static PyObject *hook_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"original", "site", "position", "keyword", "attribute", "numbers", "range_only", NULL};
    PyObject *original, *keyword = Py_None, *attribute = Py_None, *numbers = Py_None;
    int site, range_only = 0;
    Py_ssize_t position = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|nOOOp", names, &original, &site, &position, &keyword, &attribute,
                                     &numbers, &range_only))
        return NULL;
    Hook *hook = (Hook *)type->tp_alloc(type, 0);
    if (!hook) return NULL;
    hook->original = Py_NewRef(original);
    hook->keyword = keyword == Py_None ? PyUnicode_FromString("") : Py_NewRef(keyword);
    hook->attribute = Py_NewRef(attribute);
    hook->numbers = Py_NewRef(numbers);
    hook->position = position;
    hook->site = (uint16_t)site;
    hook->range_only = range_only;
    hook->vectorcall = hook_call;
    hook->dict = PyDict_New();
    return (PyObject *)hook;
}

static int hook_traverse(Hook *hook, visitproc visit, void *arg) {
    Py_VISIT(hook->original);
    Py_VISIT(hook->numbers);
    Py_VISIT(hook->dict);
    return 0;
}

static int hook_clear(Hook *hook) {
    Py_CLEAR(hook->original);
    Py_CLEAR(hook->keyword);
    Py_CLEAR(hook->attribute);
    Py_CLEAR(hook->numbers);
    Py_CLEAR(hook->dict);
    return 0;
}

static void hook_dealloc(Hook *hook) {
    PyObject_GC_UnTrack(hook);
    hook_clear(hook);
    Py_TYPE(hook)->tp_free(hook);
}

static PyObject *hook_get(PyObject *self, PyObject *object, PyObject *type) {
    return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}

static PyGetSetDef hook_getset[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}, {NULL}};

static PyTypeObject HookType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_recorder.Hook",
    .tp_doc = "Hook(original, site, position=-1, keyword='', attribute=None, numbers=None, range_only=False)",
    .tp_basicsize = sizeof(Hook),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_new = hook_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Hook, vectorcall),
    .tp_descr_get = hook_get,
    .tp_traverse = (traverseproc)hook_traverse,
    .tp_clear = (inquiry)hook_clear,
    .tp_dealloc = (destructor)hook_dealloc,
    .tp_dictoffset = offsetof(Hook, dict),
    .tp_getset = hook_getset,
};

static PyMethodDef functions[] = {
    {"now", py_now, METH_NOARGS, "Nanoseconds of CLOCK_MONOTONIC."},
    {"set_step", py_set_step, METH_O, "The step, or message key, of this thread's spans from now on."},
    {"step", py_step, METH_NOARGS, "What `set_step` was last given on this thread; -1 before."},
    {"span", (PyCFunction)(void (*)(void))py_span, METH_FASTCALL,
     "span(site, start, request=None, value=0, extra=0, step=None, end=0, raised=False); end 0 is now."},
    {"numbers", py_numbers, METH_VARARGS, "numbers(list code, values, key=0, step=this thread's): ints or texts."},
    {"batch", py_batch, METH_VARARGS, "batch(list code, {request: tokens})."},
    {"start", py_start, METH_VARARGS, "start(path, schema, most records): open a new event file; OSError."},
    {"extend", py_extend, METH_NOARGS, "Keep the file ahead of what is written; OSError on a full disk."},
    {"stop", py_stop, METH_NOARGS, "Close the file, cut to what was written."},
    {"forget", py_forget, METH_NOARGS, "In a forked child: let go of the parent's file."},
    {"pause_by", py_pause_by, METH_VARARGS,
     "pause_by(path): write nothing, and count nothing as dropped, while the file's first byte is not 0; OSError."},
    {"report_to", py_report_to, METH_O, "report_to(function): it is called with an error of the recorder's own."},
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
    PyObject *made = PyModule_Create(&module);
    if (!made || PyType_Ready(&HookType) < 0) return NULL;
    Py_INCREF(&HookType);
    if (PyModule_AddObject(made, "Hook", (PyObject *)&HookType) < 0) return NULL;
    return made;
}
