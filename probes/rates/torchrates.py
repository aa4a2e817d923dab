"""The measurement of a machine's rates, by torch, with as many threads as the engine computes with; some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from probes.doctor.resources import model_threads
from probes.doctor.surroundings import here
from probes.engineplatform import CPU, CUDA, ROCM, engine_platform
from probes.errors import EnginescopeError
from probes.rates.rates import Rates

EACH_S = 0.25  # of measuring one size
READ_VALUES = 1 << 27  # float32: 512 MiB, far beyond any cache
SMALLEST, LARGEST = 256, {CPU: 2048, CUDA: 8192}  # rows and columns of the matrices
SLOW_S = 0.1  # a product that takes longer is not tried in the next size
DTYPES = {CPU: ("float32", "bfloat16"), CUDA: ("float32", "float16", "bfloat16")}


def measure_rates() -> Rates:
    """The rates of the device that an engine runs on here; `EnginescopeError` where they cannot be measured."""
    platform = engine_platform()
    if platform not in (CPU, CUDA, ROCM):
        raise EnginescopeError(f"the rates of {platform} devices are not measured; cpu and cuda are")
    device = CPU if platform == CPU else CUDA  # torch, and vLLM, call AMD's devices cuda too
    if device == CUDA and not torch.cuda.is_available():
        raise EnginescopeError("torch sees no GPU here; python -m probes.doctor says why")
    threads = model_threads(here()) if device == CPU else None
    if threads:
        torch.set_num_threads(threads)
    with torch.inference_mode():
        matrix = {name: _matrix_flop_s(device, name) for name in DTYPES[device]}
        return Rates(device, threads, _memory_bytes_s(device), matrix, time.strftime("%Y-%m-%dT%H:%M:%S%z"))


def _memory_bytes_s(device: str) -> float:
    """Bytes a second of the quicker of two ways to read a large array once: its sum, and its product with a vector."""
    matrix = torch.ones((1 << 13, READ_VALUES >> 13), device=device)
    vector = torch.ones(matrix.shape[1], device=device)
    seconds = min(_best_s(device, matrix.sum), _best_s(device, partial(torch.mv, matrix, vector)))
    return float(matrix.nbytes / seconds)


def _matrix_flop_s(device: str, dtype: str) -> float:
    """Operations a second of square products, the best of growing sizes."""
    best, size = 0.0, SMALLEST
    while size <= LARGEST[device]:
        a, b = (torch.rand((size, size), device=device).to(getattr(torch, dtype)) for _ in range(2))
        seconds = _best_s(device, partial(torch.mm, a, b))
        best = max(best, 2 * size**3 / seconds)
        if seconds > SLOW_S:
            break
        size *= 2
    return best


def _best_s(device: str, operation: Callable[[], object]) -> float:
    """Least seconds of one call, after one that does not count."""
    call_s = _event_s if device == CUDA else _clock_s
    call_s(operation)
    best, end = call_s(operation), time.perf_counter() + EACH_S
    while time.perf_counter() < end:
        best = min(best, call_s(operation))
    return best


def _clock_s(operation: Callable[[], object]) -> float:
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def _event_s(operation: Callable[[], object]) -> float:
    """By the device's own events: a launch is not an execution."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    operation()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end) / 1e3)
