"""AMD's devices: through the official binding amdsmi where it is installed, through `amd-smi` else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from probes.devices.device import Device, DeviceReading
from probes.devices.tool import ask

UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
MIB = 2**20


def read_amd() -> DeviceReading:
    """Every AMD GPU of this machine; the driver's own words where it cannot be asked."""
    try:
        import amdsmi
    except (ImportError, OSError, KeyError):  # it looks for its library while it is imported
        return _by_tool()
    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException:
        return _by_tool()
    try:
        return by_binding(amdsmi)
    finally:
        amdsmi.amdsmi_shut_down()


def by_binding(smi: Any) -> DeviceReading:
    """The devices by amdsmi, which counts memory in MiB and a process's in bytes."""
    devices: list[Device] = []
    problems: list[str] = []
    for index, handle in enumerate(smi.amdsmi_get_processor_handles()):
        try:
            vram = smi.amdsmi_get_gpu_vram_usage(handle)
            holders = dict(map(_holder, smi.amdsmi_get_gpu_process_list(handle)))
            name = smi.amdsmi_get_gpu_asic_info(handle)["market_name"]
            driver = smi.amdsmi_get_gpu_driver_info(handle)["driver_version"]
            uuid = smi.amdsmi_get_gpu_device_uuid(handle)
        except smi.AmdSmiException as error:
            problems.append(f"AMD GPU {index}: {error}")
            continue
        used, total = int(vram["vram_used"]) * MIB, int(vram["vram_total"]) * MIB
        devices.append(Device("amd", index, name, used, total, driver=driver, uuid=uuid, holders=holders))
    return DeviceReading(devices, problems)


def _by_tool() -> DeviceReading:
    static, problem = _gpus("static", "--asic", "--driver", "--vram")
    if problem:
        return DeviceReading([], [f"AMD: {problem}"])
    memory = {int(each["gpu"]): each.get("mem_usage", {}) for each in _gpus("metric", "--mem-usage")[0]}
    processes = {int(each["gpu"]): each.get("process_list", []) for each in _gpus("process")[0]}
    devices = []
    for each in static:
        index = int(each["gpu"])
        usage, vram = _table(memory.get(index)), _table(each.get("vram"))
        total = _bytes(usage.get("total_vram")) or _bytes(vram.get("size"))
        name = _table(each.get("asic")).get("market_name", "AMD GPU")
        driver = _table(each.get("driver")).get("version", "")
        holders = dict(_tool_holders(processes.get(index, [])))
        used = _bytes(usage.get("used_vram"))
        devices.append(Device("amd", index, name, used, total, driver=str(driver), holders=holders))
    return DeviceReading(devices)


def _table(value: Any) -> dict[str, Any]:
    """A table of the tool's answer; empty where it has a text, `N/A`, in its place."""
    return value if isinstance(value, dict) else {}


def _gpus(*words: str) -> tuple[list[dict[str, Any]], str | None]:
    """The tool's JSON, a list by GPU, which later versions put under `gpu_data`; its words where it failed."""
    text, problem = ask(["amd-smi", *words, "--json"])
    if problem or not text:
        return [], problem
    try:
        answer = json.loads(text)
    except ValueError:
        return [], f"amd-smi {words[0]} answers no JSON: {text.splitlines()[0][:80]}"
    rows = answer.get("gpu_data", []) if isinstance(answer, dict) else answer
    return [row for row in rows if isinstance(row, dict) and str(row.get("gpu")).isdigit()], None


def _tool_holders(processes: list[Any]) -> Iterator[tuple[int, int | None]]:
    for each in processes:
        info = each.get("process_info") if isinstance(each, dict) else None
        if isinstance(info, dict) and str(info.get("pid")).isdigit():  # else a sentence: no process is running
            yield int(info["pid"]), _bytes(_table(info.get("memory_usage")).get("vram_mem"))


def _holder(process: dict[str, Any]) -> tuple[int, int | None]:
    return int(process["pid"]), process.get("memory_usage", {}).get("vram_mem")


def _bytes(size: Any) -> int | None:
    """`{"value": 196592, "unit": "MB"}` in bytes; None for `N/A`."""
    if not isinstance(size, dict) or not str(size.get("value")).replace(".", "", 1).isdigit():
        return None
    return int(float(size["value"]) * UNITS.get(str(size.get("unit")), MIB))
