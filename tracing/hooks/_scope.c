/* Scope: stands in for a named scope of vLLM's own, and writes a span for it, with whatever vLLM itself does in it. */
#include "_scope.h"
#include "_events.h"

typedef struct {
    PyObject_HEAD
    PyObject *inner, *name;
    int64_t from, start; /* `from`: where its cost is written (see _events.h) */
    uint16_t site;
} Scope;

static PyObject *enter_name, *exit_name;

static PyObject *enter(PyObject *self, PyObject *ignored) {
    Scope *scope = (Scope *)self;
    scope->start = clock_ns();
    return PyObject_CallMethodNoArgs(scope->inner, enter_name);
}

static PyObject *leave(PyObject *self, PyObject *error) {
    Scope *scope = (Scope *)self;
    PyObject *exit = PyObject_GetAttr(scope->inner, exit_name);
    PyObject *done = exit ? PyObject_Call(exit, error, NULL) : NULL;
    Py_XDECREF(exit);
    if (!done) return NULL;
    int64_t end = clock_ns();
    write_span(scope->site, SPAN, scope->start, end, 0, current_step, text_number(scope->name), 0);
    if (scope->from) write_cost(scope->site, scope->from);
    return done;
}

static void scope_dealloc(PyObject *self) {
    Py_DECREF(((Scope *)self)->inner);
    Py_DECREF(((Scope *)self)->name);
    PyObject_Free(self);
}

static PyMethodDef methods[] = {
    {"__enter__", enter, METH_NOARGS, NULL}, {"__exit__", leave, METH_VARARGS, NULL}, {NULL}};

PyTypeObject ScopeType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_recorder.Scope",
    .tp_basicsize = sizeof(Scope),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = scope_dealloc,
    .tp_methods = methods,
};

PyObject *scope_around(PyObject *self, PyObject *args) {
    unsigned short site;
    PyObject *name, *inner;
    if (!PyArg_ParseTuple(args, "HOO", &site, &name, &inner)) return NULL;
    if (!writing()) return Py_NewRef(inner);
    if (!enter_name) enter_name = PyUnicode_InternFromString("__enter__");
    if (!exit_name) exit_name = PyUnicode_InternFromString("__exit__");
    Scope *scope = enter_name && exit_name ? PyObject_New(Scope, &ScopeType) : NULL;
    if (!scope) return NULL;
    scope->inner = Py_NewRef(inner);
    scope->name = Py_NewRef(name);
    scope->site = site;
    scope->start = 0;
    scope->from = cost_from(site);
    return (PyObject *)scope;
}
