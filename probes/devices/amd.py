"""AMD's devices: through the official binding amdsmi where it is installed, through `amd-smi` else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

from probes.devices.device import Activity, Device, DeviceReading
from probes.devices.tool import ask

Binding = Any  # the module `amdsmi`, which has no types
Table = Mapping[str, object]  # of the driver's: figures, texts and more tables, by name
UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
MIB = 2**20


def read_amd() -> DeviceReading:
    """Every AMD GPU of this machine; the driver's own words where it cannot be asked."""
    try:
        with redirect_stdout(StringIO()):  # it looks for its library while it is imported, and prints where it fails
            import amdsmi
    except (ImportError, OSError, KeyError):
        return _by_tool()
    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException:
        return _by_tool()
    try:
        return by_binding(amdsmi)
    finally:
        amdsmi.amdsmi_shut_down()


def by_binding(smi: Binding) -> DeviceReading:
    """The devices by amdsmi, which counts memory in MiB and a process's in bytes."""
    devices: list[Device] = []
    problems: list[str] = []
    for index, handle in enumerate(smi.amdsmi_get_processor_handles()):
        try:
            vram = smi.amdsmi_get_gpu_vram_usage(handle)
            holders = dict(map(_holder, smi.amdsmi_get_gpu_process_list(handle)))
            asic = smi.amdsmi_get_gpu_asic_info(handle)
            driver = smi.amdsmi_get_gpu_driver_info(handle)["driver_version"]
            uuid, ordinal = _hip_names(_hip(smi, handle), asic)
            activity = _activity(smi, handle)
        except smi.AmdSmiException as error:
            problems.append(f"AMD GPU {index}: {error}")
            continue
        used, total = int(vram["vram_used"]) * MIB, int(vram["vram_total"]) * MIB
        name = asic["market_name"]
        devices.append(Device("amd", index, name, used, total, None, driver, uuid, holders, activity, ordinal))
    return DeviceReading(devices, problems)


def _activity(smi: Binding, handle: object) -> Activity:
    power = _answer(smi, lambda: smi.amdsmi_get_power_info(handle))
    return Activity(
        _first_number(_answer(smi, lambda: smi.amdsmi_get_gpu_activity(handle)), "gfx_activity"),
        _first_number(power, "socket_power", "current_socket_power", "average_socket_power"),
        _first_number(_answer(smi, lambda: smi.amdsmi_get_clock_info(handle, smi.AmdSmiClkType.GFX)), "clk", "cur_clk"),
    )


def _hip(smi: Binding, handle: object) -> Table:
    """How ROCm's variables name the device: `hip_id`, and `hip_uuid` as `GPU-de8287300da37c72`; empty before ROCm 6.4.

    The driver's own order is that of discovery, HIP's that of the kernel's nodes.
    """
    if not hasattr(smi, "amdsmi_get_gpu_enumeration_info"):
        return {}
    return _answer(smi, lambda: smi.amdsmi_get_gpu_enumeration_info(handle))


def _hip_names(hip: Table, asic: Table) -> tuple[str, int | None]:
    """The words of a device's table: its UUID, else that of its serial number (`0xDE8287300DA37C72`), which most are
    named by, or ''; and HIP's number, where the driver tells it."""
    uuid, number, serial = str(hip.get("hip_uuid")), str(hip.get("hip_id")), str(asic.get("asic_serial")).lower()
    if not uuid.startswith("GPU-"):
        uuid = f"GPU-{serial[2:]}" if serial.startswith("0x") else ""
    return uuid, int(number) if number.isdigit() else None


def _answer(smi: Binding, ask_driver: Callable[[], Table]) -> Table:
    """A table of the driver's; empty where it refuses, as inside a virtual machine."""
    try:
        return ask_driver()
    except smi.AmdSmiException:
        return {}


def _first_number(table: Table, *names: str) -> float | None:
    """The first of these figures that is one, bare or as `{"value": 120, "unit": "W"}`; None where all are `N/A`."""
    values = (value.get("value") if isinstance(value := table.get(name), dict) else value for name in names)
    return next((float(value) for value in values if isinstance(value, int | float)), None)


def _by_tool() -> DeviceReading:
    static, problem = _gpus("static", "--asic", "--driver", "--vram")
    if problem:
        return DeviceReading([], [f"AMD: {problem}"])
    metrics, processes, hip = _metrics(), _gpus("process")[0], hip_tables()
    devices = []
    for index, each in static.items():
        metric = metrics.get(index, {})
        usage, vram = _table(metric.get("mem_usage")), _table(each.get("vram"))
        total = _bytes(usage.get("total_vram")) or _bytes(vram.get("size"))
        asic = _table(each.get("asic"))
        name = str(asic.get("market_name", "AMD GPU"))
        driver = _table(each.get("driver")).get("version", "")
        holders = dict(_tool_holders(processes.get(index, {}).get("process_list")))
        used = _bytes(usage.get("used_vram"))
        activity = _tool_activity(metric)
        uuid, ordinal = _hip_names(hip.get(index, {}), asic)
        devices.append(Device("amd", index, name, used, total, None, str(driver), uuid, holders, activity, ordinal))
    return DeviceReading(devices)


@cache
def hip_tables() -> dict[int, Table]:
    """How HIP numbers and names the devices, asked once: it stays, and a sampler reads the rest each second."""
    return _gpus("list", "-e")[0]


def _metrics() -> dict[int, Table]:
    """Memory and activity; memory alone where this version of the tool cannot tell the rest."""
    return _gpus("metric", "--mem-usage", "--usage", "--power", "--clock")[0] or _gpus("metric", "--mem-usage")[0]


def _tool_activity(metric: Table) -> Activity:
    return Activity(
        _first_number(_table(metric.get("usage")), "gfx_activity"),
        _first_number(_table(metric.get("power")), "socket_power", "current_socket_power", "average_socket_power"),
        _first_number(_table(_table(metric.get("clock")).get("gfx_0")), "clk", "cur_clk"),
    )


def _table(value: object) -> Table:
    """A table of the tool's answer; empty where it has a text, `N/A`, in its place."""
    return value if isinstance(value, dict) else {}


def _gpus(*words: str) -> tuple[dict[int, Table], str | None]:
    """The tool's JSON by GPU, a list that later versions put under `gpu_data`; its words where it failed."""
    text, problem = ask(["amd-smi", *words, "--json"])
    if problem or not text:
        return {}, problem
    try:
        answer = json.loads(text)
    except ValueError:
        return {}, f"amd-smi {words[0]} answers no JSON: {text.splitlines()[0][:80]}"
    rows = answer.get("gpu_data", []) if isinstance(answer, dict) else answer
    tables = [row for row in rows if isinstance(row, dict) and str(row.get("gpu")).isdigit()]
    return {int(table["gpu"]): table for table in tables}, None


def _tool_holders(processes: object) -> Iterator[tuple[int, int | None]]:
    for each in processes if isinstance(processes, list) else ():
        info = _table(_table(each).get("process_info"))  # or a sentence: no process is running
        if str(info.get("pid")).isdigit():
            yield int(str(info["pid"])), _bytes(_table(info.get("memory_usage")).get("vram_mem"))


def _holder(process: Table) -> tuple[int, int | None]:
    size = _table(process.get("memory_usage")).get("vram_mem")
    return int(str(process["pid"])), size if isinstance(size, int) else None


def _bytes(size: object) -> int | None:
    """`{"value": 196592, "unit": "MB"}` in bytes; None for `N/A`."""
    if not isinstance(size, dict) or not str(size.get("value")).replace(".", "", 1).isdigit():
        return None
    return int(float(size["value"]) * UNITS.get(str(size.get("unit")), MIB))
