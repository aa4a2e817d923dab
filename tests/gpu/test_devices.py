"""What the drivers say of a real GPU, by the binding, by the tool and by torch."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from probes.devices import nvidia
from probes.devices.device import Activity, Device
from probes.devices.reading import read_devices
from tests.needs import needs_gpu

pytestmark = needs_gpu
MIB = 2**20


def without_time(device: Device) -> Device:
    """What does not change from one look to the next."""
    return replace(device, used_bytes=None, activity=Activity())


def test_the_binding_and_the_tool_say_the_same() -> None:
    import pynvml

    pynvml.nvmlInit()
    binding, tool = nvidia.by_binding(pynvml), nvidia._by_tool()
    assert not binding.problems and not tool.problems and binding.devices
    for one, other in zip(binding.devices, tool.devices, strict=True):
        assert replace(without_time(one), total_bytes=None) == replace(without_time(other), total_bytes=None)
        assert one.total_bytes == pytest.approx(other.total_bytes, abs=MIB)
        assert one.used_bytes == pytest.approx(other.used_bytes, abs=8 * MIB)
        assert None not in (one.activity.utilization_percent, one.activity.power_w, one.activity.clock_mhz)


def test_what_this_process_holds_is_its_share() -> None:
    import torch

    block = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    (device, *_) = read_devices({os.getpid()}).devices
    free, total = torch.cuda.mem_get_info()
    assert device.used_bytes is not None and device.used_bytes == pytest.approx(total - free, abs=8 * MIB)
    assert device.engine_bytes is None or block.nbytes <= device.engine_bytes <= device.used_bytes
