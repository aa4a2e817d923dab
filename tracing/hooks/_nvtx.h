/* NVTX ranges and marks of the recorder (tracing/_nvtx.c). All of it runs under the interpreter's lock. */
#ifndef ENGINESCOPE_NVTX_H
#define ENGINESCOPE_NVTX_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

extern int nvtx_on; /* 0 until `nvtx_begin`: nothing below may be called before */

/* Take NVIDIA's library, and the names and colours of all sites by code; one named None has neither ranges nor marks. */
PyObject *nvtx_begin(PyObject *self, PyObject *args);

void nvtx_push(uint16_t site, PyObject *request, int64_t step);
void nvtx_pop(void);
uint64_t nvtx_start(uint16_t site, PyObject *request, int64_t step);
void nvtx_end(uint64_t range);

void nvtx_mark(const char *text, int64_t payload);
/* What a range could not know; `value` and `extra` NULL are 0. An exception may be set while there is no text to say. */
void nvtx_told(uint16_t site, int instant, PyObject *value, PyObject *extra, PyObject *request, int raised, int64_t step);
void nvtx_list(int code, int64_t key, PyObject *const *items, Py_ssize_t count, int64_t step);
/* The same of integers. */
void nvtx_words(int code, int64_t key, const uint32_t *words, Py_ssize_t count, int64_t step);

#endif
