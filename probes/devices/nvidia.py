"""NVIDIA's devices: through NVML's official binding where it is installed, through `nvidia-smi` else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probes.devices.device import Activity, Device, DeviceReading
from probes.devices.tool import ask

Binding = Any  # the module `pynvml`, which has no types
MIB = 2**20
COLUMNS = "index,uuid,name,memory.used,memory.total"
DRIVER_COLUMNS = "name,driver_version,memory.total,uuid"
APPS = "gpu_uuid,pid,used_memory"
ACTIVITY_COLUMNS = "uuid,utilization.gpu,power.draw,clocks.sm"  # asked apart: an old driver refuses a column it lacks


def read_nvidia() -> DeviceReading:
    """Every NVIDIA GPU of this machine; the driver's own words where it cannot be asked."""
    try:
        import pynvml
    except ImportError:
        return _by_tool()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return _by_tool()  # it tells a machine without a driver from one whose driver fails
    try:
        return by_binding(pynvml)
    finally:
        pynvml.nvmlShutdown()


def by_binding(nvml: Binding) -> DeviceReading:
    """The devices by NVML; one that is lost is a problem, and no reason to leave out the others."""
    driver, devices, problems = _text(nvml.nvmlSystemGetDriverVersion()), [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            devices.append(_device(nvml, index, driver))
        except nvml.NVMLError as error:
            problems.append(f"NVIDIA GPU {index}: {error}")
    return DeviceReading(devices, problems)


def _device(nvml: Binding, index: int, driver: str) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    used, total = _memory(nvml, handle)
    try:
        apps = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        apps = []
    holders = {int(app.pid): app.usedGpuMemory for app in apps}
    activity = Activity(
        _figure(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        _figure(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),  # in mW
        _figure(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
    )
    return Device("nvidia", index, name, used, total, driver=driver, uuid=uuid, holders=holders, activity=activity)


def _memory(nvml: Binding, handle: object) -> tuple[int | None, int | None]:
    """Used and total bytes; None where they are not supported (memory of the host) or not allowed (MIG's containers).

    What the driver keeps for itself (616 MiB of an H200) is not used, as for `nvidia-smi`; an old driver counts it.
    """
    for version in ({"version": nvml.nvmlMemory_v2}, {}):
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle, **version)
            return int(memory.used), int(memory.total)
        except nvml.NVMLError:
            continue
    return None, None


def _figure(nvml: Binding, read: Callable[[], float]) -> float | None:
    """A figure of NVML's; None where this device has none."""
    try:
        return float(read())
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _by_tool() -> DeviceReading:
    rows, problem = _rows(f"--query-gpu={COLUMNS}")
    if problem is None and not rows:
        return DeviceReading([])
    drivers = {row[3]: row[1] for row in _rows(f"--query-gpu={DRIVER_COLUMNS}")[0] if len(row) == 4}
    apps = _rows(f"--query-compute-apps={APPS}")[0]
    odd = [row for row in rows if not _names_device(row)]
    devices = [_device_of_row(row, drivers, apps) for row in rows if row not in odd]
    activities = {
        row[0]: Activity(*map(_number, row[1:])) for row in _rows(f"--query-gpu={ACTIVITY_COLUMNS}")[0] if len(row) == 4
    }
    devices = [replace(each, activity=activities.get(each.uuid, Activity())) for each in devices]
    return DeviceReading(devices, [f"NVIDIA: {text}" for text in ([problem] if problem else map(", ".join, odd))])


def _names_device(row: list[str]) -> bool:
    """Whether a row is a device's, and no sentence or `1, [GPU is lost], [GPU is lost], …`."""
    return len(row) == 5 and row[0].isdigit() and not row[2].startswith("[")


def _device_of_row(row: list[str], drivers: dict[str, str], apps: list[list[str]]) -> Device:
    index, uuid, name, used, total = row
    own = [app for app in apps if len(app) == 3 and app[0] == uuid and app[1].isdigit()]
    holders = {int(pid): _bytes(size) for _, pid, size in own}
    driver = drivers.get(uuid, "")
    return Device("nvidia", int(index), name, _bytes(used), _bytes(total), driver=driver, uuid=uuid, holders=holders)


def _number(figure: str) -> float | None:
    return float(figure) if figure.replace(".", "", 1).isdigit() else None  # [N/A], [Not Supported]


def _bytes(mib: str) -> int | None:
    return int(mib) * MIB if mib.isdigit() else None  # [N/A], [Insufficient Permissions], [GPU is lost]


def _rows(query: str) -> tuple[list[list[str]], str | None]:
    """The tool's rows, and its words where it failed."""
    text, problem = ask(["nvidia-smi", query, "--format=csv,noheader,nounits"])
    if problem is None and "No devices were found" in text:
        return [], None
    return ([] if problem else [line.split(", ") for line in text.splitlines()]), problem
