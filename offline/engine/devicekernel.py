"""A fixed kernel on the device that an engine computes on, timed by the device's own events beside every trial.

vLLM puts `DeviceKernel` among the bases of its workers (`worker_extension_cls`), so that it runs inside the process and
the CUDA context that the engine has anyway: of the card it takes its two buffers, which are kept, and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from offline.records.kernelreading import KernelReading
from probes.devices.clocks import DeviceClocks, read_clocks
from probes.processes.dialogue import Message

BUFFER_VALUES = 24 << 20  # float16: 48 MiB, and two of them: more than the second-level cache of an H100
ROWS = 4096  # of the matrices, which lie in the same buffers
COPIES, PRODUCTS = 32, 8  # one to two milliseconds of each on an H100
REPEATS = 5
Device = Any  # a `torch.device`
Work = Callable[[], object]


class TimedEvent(Protocol):
    """What `torch.cuda.Event(enable_timing=True)` does."""

    def record(self) -> None:
        """Take the time when the device gets here."""

    def synchronize(self) -> None:
        """Wait until it got here."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds to a later event."""


class DeviceKernel:
    """What vLLM adds to a worker, which has the attribute `device`."""

    device: Device

    def enginescope_device_kernel(self) -> Message:
        """The kernel now, as a `KernelReading` holds it; `{"note": …}` says why it cannot be timed."""
        if self.device.type != "cuda":  # as torch, and vLLM, call AMD's devices too
            return {"note": f"the kernel is one of CUDA and ROCm, the engine runs on {self.device.type}"}
        try:
            return asdict(read_kernel(self.device))
        except (RuntimeError, AttributeError) as error:  # torch's own, its lack of memory among them
            return {"note": f"{type(error).__name__}: {error}".splitlines()[0]}


def read_kernel(device: Device) -> KernelReading:
    """Time the kernel on an idle CUDA device, and read its clocks meanwhile."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    uuid = f"GPU-{properties.uuid}"
    with torch.inference_mode(), torch.cuda.device(device):
        parts = _parts(device)
        torch.cuda.synchronize()
        times, clocks = time_parts(parts, functools.partial(torch.cuda.Event, enable_timing=True), uuid)
    return KernelReading(properties.name, uuid, times["memory_ns"], times["compute_ns"], **asdict(clocks))


@functools.cache
def _parts(device: Device) -> dict[str, Work]:
    """The two parts, by their field of a `KernelReading`; float16, which every card multiplies, and fixed values."""
    import torch

    # Row by row: as a whole it would count beyond float16, and leave NaN.
    source = torch.linspace(-1, 1, ROWS, dtype=torch.float16, device=device).repeat(BUFFER_VALUES // ROWS)
    target = torch.empty_like(source)
    matrix, product = (each[: ROWS * ROWS].view(ROWS, ROWS) for each in (source, target))
    copies, products = functools.partial(target.copy_, source), functools.partial(torch.mm, matrix, matrix, out=product)
    return {
        "memory_ns": functools.partial(repeat, copies, COPIES),
        "compute_ns": functools.partial(repeat, products, PRODUCTS),
    }


def repeat(work: Work, count: int) -> None:
    """The same work several times: a single kernel is short beside what an event costs."""
    for _ in range(count):
        work()


def time_parts(
    parts: Mapping[str, Work],
    event: Callable[[], TimedEvent],
    uuid: str,
    clocks: Callable[[str], DeviceClocks] = read_clocks,
) -> tuple[dict[str, tuple[int, ...]], DeviceClocks]:
    """Nanoseconds of each repeat of the parts, which are launched first, so that clocks are read while they run."""
    launched = {name: _launched(work, event) for name, work in parts.items()}
    reading = clocks(uuid)
    return {name: tuple(map(_duration_ns, pairs)) for name, pairs in launched.items()}, reading


def _launched(work: Work, event: Callable[[], TimedEvent]) -> list[tuple[TimedEvent, TimedEvent]]:
    work()  # the first after a pause does not count: clocks rise
    pairs = []
    for _ in range(REPEATS):
        begin, end = event(), event()
        begin.record()
        work()
        end.record()
        pairs.append((begin, end))
    return pairs


def _duration_ns(pair: tuple[TimedEvent, TimedEvent]) -> int:
    begin, end = pair
    end.synchronize()
    return round(begin.elapsed_time(end) * 1e6)
