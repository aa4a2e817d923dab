"""An NVIDIA GPU's clocks and what holds them down: by NVML's binding where it is installed, by `nvidia-smi` else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from probes.devices.tool import ask

NvmlBinding = Any  # the module `pynvml`, which has no types
# NVML's bits (nvml.h, nvmlClocksEventReason…), which `nvidia-smi` prints as one number too.
THROTTLE_REASONS = {
    0x1: "no work",
    0x2: "an application clock that was set",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat, by the driver",
    0x40: "heat, by the hardware",
    0x80: "power brake",
    0x100: "a display clock that was set",
}
CLOCK_COLUMNS = "clocks.sm,clocks.mem"
REASON_COLUMNS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # of new drivers, and of old ones


@dataclass(frozen=True)
class DeviceClocks:
    """Clocks now; None where the driver does not tell, and no reason where nothing holds them down."""

    compute_mhz: float | None = None
    memory_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


def read_clocks(uuid: str) -> DeviceClocks:
    """The clocks of the GPU that the driver calls `uuid`; nothing is known of one that it does not know."""
    nvml = _initialised()
    return clocks_by_binding(nvml, uuid) if nvml is not None else clocks_by_tool(uuid)


@functools.cache
def _initialised() -> NvmlBinding | None:
    """The binding, initialised once and for good: that takes longer than what is measured beside it."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def clocks_by_binding(nvml: NvmlBinding, uuid: str) -> DeviceClocks:
    """The clocks by NVML."""
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return DeviceClocks()
    old = getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
    reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", old)
    mask = _figure(nvml, lambda: reasons(handle)) if reasons is not None else None
    return DeviceClocks(
        _figure(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        _figure(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        reason_names(int(mask)) if mask is not None else None,
    )


def _figure(nvml: NvmlBinding, read: Callable[[], int]) -> float | None:
    try:
        return float(read())  # exact for a mask, too: it has a few bits
    except nvml.NVMLError:
        return None


def clocks_by_tool(uuid: str) -> DeviceClocks:
    """The same by `nvidia-smi`; a driver that lacks a column refuses the whole query, so each is asked apart."""
    clocks = _words(CLOCK_COLUMNS, uuid)
    masks = (word for column in REASON_COLUMNS for word in _words(column, uuid) if word.startswith("0x"))
    mask = next(masks, None)
    reasons = reason_names(int(mask, 16)) if mask is not None else None
    compute, memory = map(_number, clocks if len(clocks) == 2 else ("", ""))
    return DeviceClocks(compute, memory, reasons)


def _words(columns: str, uuid: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={columns}", f"--id={uuid}", "--format=csv,noheader,nounits"]
    text, problem = ask(command)
    return [] if problem else text.split(", ")


def _number(word: str) -> float | None:
    return float(word) if word.isdigit() else None  # [N/A]


def reason_names(mask: int) -> tuple[str, ...]:
    """The reasons that a mask names; a bit that this table lacks is named by its number.

    | mask    | names                                |
    | ------- | ------------------------------------ |
    | `0x0`   |                                      |
    | `0x44`  | `power cap`, `heat, by the hardware` |
    | `0x200` | `reason 0x200`                       |
    """
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return tuple(THROTTLE_REASONS.get(bit, f"reason {bit:#x}") for bit in bits)
