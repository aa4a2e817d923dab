"""The reference kernel on a real GPU, by the very function that a worker of vLLM's runs.

It needs a GPU with its driver and `nvidia-smi`, torch with CUDA, pynvml and pytest; of the repository the folders
`offline`, `probes`, `tracing` and `tests`. vLLM is not needed: a worker is anything with a `device`. With nothing else
installed: `python -m pytest -s --noconftest -o addopts= tests/gpu/test_reference_kernel.py`.
"""

from __future__ import annotations

import statistics
from dataclasses import fields
from typing import Any

import pytest

from offline.engine.devicekernel import BUFFER_VALUES, REPEATS, DeviceKernel, read_kernel
from offline.records.kernelreading import KernelReading, clocks_sentence
from probes.devices.clocks import clocks_by_binding, clocks_by_tool
from probes.devices.reading import read_devices
from tests.needs import needs_gpu, needs_torch

pytestmark = [needs_gpu, needs_torch]
READINGS = 20
MIB = 2**20


@pytest.fixture(scope="module")
def device() -> Any:
    import torch

    return torch.device("cuda:0")


def described(reading: KernelReading) -> str:
    """The medians of a reading, its clocks, and what held them down."""
    parts = [statistics.median(reading.memory_ns), statistics.median(reading.compute_ns)]
    clocks = f"{reading.compute_mhz} and {reading.memory_mhz} MHz, {reading.throttle_reasons}"
    return f"memory {parts[0] / 1e6:.3f} ms, compute {parts[1] / 1e6:.3f} ms; {clocks}"


def test_a_worker_answers_with_a_reading(device: Any) -> None:
    class Worker(DeviceKernel):
        pass

    worker = Worker()
    worker.device = device
    reading = KernelReading(**worker.enginescope_device_kernel())
    print(f"\n{reading.name}: {described(reading)}")
    assert len(reading.memory_ns) == len(reading.compute_ns) == REPEATS
    assert min(*reading.memory_ns, *reading.compute_ns) > 0
    assert None not in [getattr(reading, each.name) for each in fields(reading)]
    assert reading.uuid in {each.uuid for each in read_devices().devices}


def test_an_idle_device_gives_about_the_same_time_again(device: Any) -> None:
    """Printed is what a run's drift is told from; the bound is that of a kernel that measures nothing."""
    readings = [read_kernel(device) for _ in range(READINGS)]
    seconds = [each.kernel_s for each in readings]
    middle = statistics.median(seconds)
    within = [max(each.memory_ns) / min(each.memory_ns) - 1 for each in readings]
    ends = f"{min(seconds) / middle - 1:+.2%} to {max(seconds) / middle - 1:+.2%}"
    print(f"\n{READINGS} readings: {middle * 1e3:.3f} ms, {ends}; copies within one up to {max(within):.2%} apart")
    print(clocks_sentence(readings))
    assert max(seconds) / min(seconds) < 2


def test_it_keeps_its_two_buffers_and_no_more(device: Any) -> None:
    import torch

    read_kernel(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    read_kernel(device)
    taken = torch.cuda.max_memory_allocated(device) - before
    print(f"\nkept {before / MIB:.1f} MiB, more while it runs {taken / MIB:.1f} MiB")
    assert before >= 2 * 2 * BUFFER_VALUES and taken <= MIB


def test_the_binding_and_the_tool_tell_the_same_clocks(device: Any) -> None:
    import pynvml

    uuid = read_kernel(device).uuid
    pynvml.nvmlInit()
    binding, tool = clocks_by_binding(pynvml, uuid), clocks_by_tool(uuid)
    print(f"\nbinding {binding}\ntool    {tool}")
    assert binding.memory_mhz == tool.memory_mhz
    assert binding.throttle_reasons is not None and tool.throttle_reasons is not None
    assert binding.compute_mhz and tool.compute_mhz
