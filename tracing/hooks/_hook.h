/* Hook: stands in for a function, and writes a span for every call. */
#ifndef ENGINESCOPE_HOOK_H
#define ENGINESCOPE_HOOK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject HookType;

/* The function that is called with an error of the recorder's own from now on. */
PyObject *hook_report_to(PyObject *self, PyObject *function);

#endif
