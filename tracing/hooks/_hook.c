/* Hook: stands in for a function, and writes a span for every call. */
#include "_hook.h"
#include "_delay.h"
#include "_events.h"
#include "_nvtx.h"
#include <stddef.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall; /* with `original` all that a call needs which goes through: one line of a cache */
    PyObject *original, *keyword, *attribute, *numbers, *dict;
    PyObject *special; /* called with `watched` and the arguments, and writes the span; None: the hook itself does */
    PyObject *watched; /* the original, or a stand-in for it that is called only while spans are written */
    Py_ssize_t position;
    uint16_t site;
    int range_only; /* an NVTX range, and no span: another stand-in around this one writes it */
    int inside;     /* what it costs is in what the stand-in around it does */
    int delays;     /* before a call; one between two stand-ins is made by the one inside */
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

PyObject *hook_report_to(PyObject *self, PyObject *function) {
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

static PyObject *call_special(Hook *hook, PyObject *const *args, size_t flags, PyObject *names) {
    Py_ssize_t count = PyVectorcall_NARGS(flags), named = names ? PyTuple_GET_SIZE(names) : 0;
    PyObject *given[] = {hook->watched, PyTuple_New(count), PyDict_New()};
    int failed = !given[1] || !given[2];
    for (Py_ssize_t i = 0; !failed && i < count; i++) PyTuple_SET_ITEM(given[1], i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; !failed && i < named; i++)
        failed = PyDict_SetItem(given[2], PyTuple_GET_ITEM(names, i), args[count + i]) < 0;
    PyObject *result = failed ? NULL : PyObject_Vectorcall(hook->special, given, 3, NULL);
    Py_XDECREF(given[1]);
    Py_XDECREF(given[2]);
    return result;
}

static PyObject *call_and_write(Hook *hook, PyObject *const *args, size_t flags, PyObject *names) {
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

static PyObject *hook_call(PyObject *self, PyObject *const *args, size_t flags, PyObject *names) {
    Hook *hook = (Hook *)self;
    if (!writing()) return PyObject_Vectorcall(hook->original, args, flags, names);
    if (hook->delays) delay_before(hook->site);
    int64_t from = hook->inside ? 0 : cost_from(hook->site);
    PyObject *result = (hook->special == Py_None ? call_and_write : call_special)(hook, args, flags, names);
    if (from && result) write_cost(hook->site, from);
    return result;
}

static PyObject *hook_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"original", "site", "position", "keyword", "attribute", "numbers", "range_only",
                            "inside", "delays", "special", "watched", NULL};
    PyObject *original, *keyword = Py_None, *attribute = Py_None, *numbers = Py_None, *special = Py_None;
    PyObject *watched = Py_None;
    int site, range_only = 0, inside = 0, delays = 1;
    Py_ssize_t position = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|nOOOpppOO", names, &original, &site, &position, &keyword, &attribute,
                                     &numbers, &range_only, &inside, &delays, &special, &watched))
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
    hook->inside = range_only || inside;
    hook->delays = delays && !range_only;
    hook->special = Py_NewRef(special);
    hook->watched = Py_NewRef(watched == Py_None ? original : watched);
    hook->vectorcall = hook_call;
    hook->dict = PyDict_New();
    return (PyObject *)hook;
}

static int hook_traverse(Hook *hook, visitproc visit, void *arg) {
    Py_VISIT(hook->original);
    Py_VISIT(hook->numbers);
    Py_VISIT(hook->special);
    Py_VISIT(hook->watched);
    Py_VISIT(hook->dict);
    return 0;
}

static int hook_clear(Hook *hook) {
    Py_CLEAR(hook->original);
    Py_CLEAR(hook->keyword);
    Py_CLEAR(hook->attribute);
    Py_CLEAR(hook->numbers);
    Py_CLEAR(hook->special);
    Py_CLEAR(hook->watched);
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

PyTypeObject HookType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_recorder.Hook",
    .tp_doc = "Hook(original, site, position=-1, keyword='', attribute=None, numbers=None, range_only=False, inside=False, "
              "delays=True, special=None, watched=None)",
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
