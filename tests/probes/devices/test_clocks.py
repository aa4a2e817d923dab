"""What NVML and `nvidia-smi` say of clocks, and the names of what holds them down."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probes.devices.clocks import DeviceClocks, clocks_by_binding, clocks_by_tool, reason_names


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0x0, ()),
        (0x1, ("no work",)),
        (0x44, ("power cap", "heat, by the hardware")),
        (0x204, ("power cap", "reason 0x200")),
    ],
)
def test_the_names_of_a_mask(mask: int, names: tuple[str, ...]) -> None:
    assert reason_names(mask) == names


class NVMLError(Exception):
    pass


def binding(**more: Any) -> SimpleNamespace:
    """NVML of a machine with one GPU, `GPU-a`, whose memory has no clock to tell."""

    def handle(uuid: str) -> str:
        if uuid != "GPU-a":
            raise NVMLError("Not Found")
        return uuid

    def clock(handle: str, kind: int) -> int:
        if kind == 2:
            raise NVMLError("Not Supported")
        return 1980

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetClockInfo=clock,
        **more,
    )


@pytest.mark.parametrize(
    "name", ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]
)
def test_clocks_by_new_and_old_bindings(name: str) -> None:
    assert clocks_by_binding(binding(**{name: lambda handle: 0x4}), "GPU-a") == DeviceClocks(1980, None, ("power cap",))


def test_what_the_binding_does_not_know() -> None:
    assert clocks_by_binding(binding(), "GPU-a") == DeviceClocks(1980, None, None)
    assert clocks_by_binding(binding(), "GPU-b") == DeviceClocks()


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of `nvidia-smi`, which alone is in the path."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    return tmp_path / "nvidia-smi"


@pytest.mark.parametrize("column", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_clocks_by_the_tool_of_new_and_old_drivers(column: str, tool: Path) -> None:
    clocks = '--query-gpu=clocks.sm,clocks.mem) echo "1755, 2619" ;;'
    reasons = f'--query-gpu={column}) echo "0x0000000000000020" ;;'
    refusal = '*) echo "Field is not a valid field to query."; exit 2 ;;'
    tool.write_text(f'#!/bin/sh\n[ "$2" = --id=GPU-a ] || exit 6\ncase "$1" in\n{clocks}\n{reasons}\n{refusal}\nesac\n')
    tool.chmod(0o755)
    assert clocks_by_tool("GPU-a") == DeviceClocks(1755, 2619, ("heat, by the driver",))
    assert clocks_by_tool("GPU-b") == DeviceClocks()


def test_a_machine_without_the_tool(tool: Path) -> None:
    assert clocks_by_tool("GPU-a") == DeviceClocks()
