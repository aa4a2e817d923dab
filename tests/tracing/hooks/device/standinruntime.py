"""A stand-in for CUDA's runtime library, compiled: its device is an in-order queue that is a clock; and for torch."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace

SOURCE = """
#include <stdlib.h>
enum { NOT_READY = 600, LOST = 999 };
typedef struct { long long at; void *stream; } Event;
long long now, free_at;
int lost, last;
void *stream_of_last;
long long clock_ns(void) { return now += 100; }
static long long horizon(void) { return now > free_at ? now : free_at; }
void work(long long ns) { free_at = horizon() + ns; }
int cudaGetLastError(void) { int code = last; last = 0; return code; }
const char *cudaGetErrorString(int code) { return code == LOST ? "device lost" : "no error"; }
int cudaEventCreate(void **event) { *event = calloc(1, sizeof(Event)); return last = *event ? 0 : 2; }
int cudaEventRecord(void *event, void *stream) {
    ((Event *)event)->at = horizon();
    stream_of_last = stream;
    return last = lost;
}
int cudaEventQuery(void *event) { return last = lost ? lost : now < ((Event *)event)->at ? NOT_READY : 0; }
int cudaEventElapsedTime(float *ms, void *begin, void *end) {
    *ms = (((Event *)end)->at - ((Event *)begin)->at) / 1e6;
    return last = lost;
}
"""
STREAM = 0xABC0


def compile_library(path: str, source: str, *linked: str) -> None:
    compiler = ["cc", "-O2", "-shared", "-fPIC", "-o", path, "-x", "c", "-", *linked]
    subprocess.run(compiler, input=source, text=True, check=True)


class StandInRuntime:
    """The library, loaded by an `extension` that is linked to it, as torch's is; `without` a function of it.

    Its clock is set, and a look at it takes 100 ns.
    """

    def __init__(self, folder: Path, without: str = "") -> None:
        library, self.extension = str(folder / "libcudart.so.12"), str(folder / "_C.so")
        compile_library(library, SOURCE.replace(f"int {without}(", f"int not_{without}(") if without else SOURCE)
        compile_library(self.extension, "", "-Wl,--no-as-needed", "-x", "none", library)
        self._loaded = ctypes.CDLL(self.extension)
        self._library = ctypes.CDLL(library)
        self.now, self.free_at = (ctypes.c_longlong.in_dll(self._library, name) for name in ("now", "free_at"))
        self.lost, self.last = (ctypes.c_int.in_dll(self._library, name) for name in ("lost", "last"))
        self.stream_of_last = ctypes.c_void_p.in_dll(self._library, "stream_of_last")
        self.clock = ctypes.cast(self._library.clock_ns, ctypes.c_void_p).value or 0

    def work(self, ns: int) -> tuple[int, int]:
        """Give the device so much of it: when it begins and ends."""
        self._library.work(ctypes.c_longlong(ns))
        return self.free_at.value - ns, self.free_at.value


class RuntimeEvent:
    """A torch event of the runtime library's, as far as it is asked whether it works."""

    cuda_event = 1

    def record(self, stream: object, /) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: RuntimeEvent, /) -> float:
        return 0.0


def torch_with_device(extension: str) -> SimpleNamespace:
    """What is asked of torch where there is a device: its own extension module is this, its functions are C's."""
    cuda = SimpleNamespace(Event=lambda enable_timing: RuntimeEvent(), is_available=lambda: True)
    stream_of = {0: STREAM}.__getitem__
    inside = SimpleNamespace(__file__=extension, _cuda_getDevice=int, _cuda_getCurrentRawStream=stream_of)
    return SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=None), _C=inside)
