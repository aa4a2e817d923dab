/* Scope: stands in for a named scope of vLLM's own, and writes a span for it. */
#ifndef ENGINESCOPE_SCOPE_H
#define ENGINESCOPE_SCOPE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject ScopeType;

/* What stands in for a scope with this name while spans are written, else the scope itself. */
PyObject *scope_around(PyObject *self, PyObject *args);

#endif
