/* Launches: when a device worked on what this process's steps gave to it. All of it runs under the interpreter's lock. */
#ifndef ENGINESCOPE_LAUNCHES_H
#define ENGINESCOPE_LAUNCHES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject LaunchesType;

#endif
