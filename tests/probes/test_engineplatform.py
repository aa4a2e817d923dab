"""The platform that an engine runs on: vLLM's own answer, or the devices'."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from probes import engineplatform
from probes.devices.device import Device, DeviceReading

NVIDIA = Device("nvidia", 0, "H100", 0, 80)
AMD = Device("amd", 0, "MI300X", 0, 192)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    engineplatform.engine_platform.cache_clear()
    yield
    engineplatform.engine_platform.cache_clear()


@pytest.mark.parametrize(
    ("version", "answer", "devices", "platform"),
    [
        ("0.32.0+cpu", None, [NVIDIA], "cpu"),  # a CPU build does not use the GPU beside it
        ("0.32.0", "enginescope platform: rocm\n", [AMD], "rocm"),
        ("0.32.0", "enginescope platform: cuda\n", [NVIDIA], "cuda"),
        ("0.32.0", "enginescope platform:\n", [AMD], "rocm"),  # a CUDA build on AMD's devices: no CPU machine
        (None, None, [AMD], "rocm"),
        (None, None, [], "cpu"),
    ],
)
def test_platform(monkeypatch, version, answer, devices, platform) -> None:
    monkeypatch.delenv("VLLM_TARGET_DEVICE", raising=False)
    monkeypatch.setattr(engineplatform, "installed_version", lambda: version)
    monkeypatch.setattr(engineplatform, "read_devices", lambda: DeviceReading(devices))
    done = subprocess.CompletedProcess([], 0, stdout=answer)
    monkeypatch.setattr(engineplatform.subprocess, "run", lambda *words, **options: done)
    assert engineplatform.engine_platform() == platform


def test_a_driver_that_fails_is_a_gpu_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(engineplatform, "read_devices", lambda: DeviceReading([], ["NVIDIA: GPU is lost"]))
    assert engineplatform.by_devices() == "cuda"
