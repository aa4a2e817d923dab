"""Devices as stand-ins for the drivers' programs and bindings describe them, and how an engine uses them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from probes.devices import amd, nvidia
from probes.devices.device import Activity, Device, DeviceReading, balance, visible
from probes.devices.reading import read_devices
from probes.devices.sampling import SampledDevice, activity_text, means
from probes.memory.account import Memory
from probes.memory.table import device_lines, report

MIB, GIB = 2**20, 2**30
H100 = "NVIDIA H100 80GB HBM3"
QUERY = f"""0, GPU-a, {H100}, 61000, 81559
1, GPU-b, {H100}, 59000, 81559
2, GPU-c, {H100}, 4, 81559
3, GPU-d, GB10, [N/A], [N/A]"""
APPS = "GPU-a, 41, 60000\nGPU-b, 42, 54000\nGPU-b, 77, 4000"
SIZE = {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 1024, "unit": "MB"}}
AMD_ASIC = {"market_name": "AMD Instinct MI300X", "asic_serial": "0xDE8287300DA37C72"}
AMD_STATIC = [{"gpu": 0, "asic": AMD_ASIC, "driver": {"version": "6.10.5"}}]
AMD_METRIC = [
    {
        "gpu": 0,
        "mem_usage": SIZE,
        "usage": {"gfx_activity": {"value": 72, "unit": "%"}},
        "power": {"socket_power": {"value": 412, "unit": "W"}},
        "clock": {"gfx_0": {"clk": {"value": 1980, "unit": "MHz"}}},
    }
]
AMD_HOLDER = {"process_info": {"pid": 41, "memory_usage": {"vram_mem": {"value": 5, "unit": "MB"}}}}
AMD_PROCESS = [{"gpu": 0, "process_list": [AMD_HOLDER]}]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands alone in PATH, for the drivers' programs; no binding is installed."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    amd.hip_tables.cache_clear()
    return tmp_path


def program(folder: Path, name: str, answers: dict[str, str], code: int = 0) -> None:
    """`name` answers by the beginning of its first word and ends with `code`."""
    cases = [f"{start}*) cat <<'END'\n{text}\nEND\n;;" for start, text in answers.items()]
    (folder / name).write_text('#!/bin/sh\ncase "$1" in\n' + "\n".join(cases) + f"\nesac\nexit {code}\n")
    (folder / name).chmod(0o755)


def nvidia_smi(folder: Path, query: str, drivers: str, apps: str) -> None:
    answers = {"--query-gpu=index": query, "--query-gpu=name": drivers, "--query-compute": apps}
    answers["--query-gpu=uuid"] = "GPU-a, 87, 412.31, 1980\nGPU-b, 0, [N/A], 345\nGPU-d, [N/A], [N/A], [N/A]"
    program(folder, "nvidia-smi", answers)


def test_nvidia_devices_and_balance(programs: Path) -> None:
    nvidia_smi(programs, QUERY, "", APPS)
    reading = read_devices({41, 42})
    second = reading.devices[1]
    assert (second.name, second.used_bytes, second.total_bytes) == (H100, 59000 * MIB, 81559 * MIB)
    assert (second.engine_bytes, second.holders) == (54000 * MIB, {42: 54000 * MIB, 77: 4000 * MIB})
    assert balance(reading.devices) == 0.9  # of the two that the engine is on
    lines = list(report(Memory([], None, None, [], reading)))
    memory = f"GPU 1     {H100}: 57.62 GiB of 79.65 GiB used, 52.73 GiB of it this engine's"
    assert f"{memory}; now 0 % busy, 345 MHz, power unknown" in lines
    nothing = "utilization, power, clock unknown"
    assert f"GPU 3     GB10: memory not reported (MIG, permissions, or it shares the host's); now {nothing}" in lines
    assert reading.devices[0].activity == Activity(87, 412.31, 1980)
    assert reading.devices[2].activity == Activity()  # not in the answer


def test_no_balance_over_devices_that_may_not_be_the_engines(programs: Path) -> None:
    nvidia_smi(programs, QUERY, "", APPS)
    devices = read_devices({1}).devices
    assert {each.engine_bytes for each in devices} == {None} and balance(devices) is None


def test_a_container_with_a_mig_instance(programs: Path) -> None:
    hidden = "[Insufficient Permissions]"
    query = f"0, GPU-a, NVIDIA A100-SXM4-80GB, {hidden}, {hidden}"
    machine = f"NVIDIA A100-SXM4-80GB, 535.161.08, {hidden}, GPU-a"
    nvidia_smi(programs, query, machine, hidden)
    [device] = read_devices({41}).devices
    assert (device.driver, device.used_bytes, device.holders) == ("535.161.08", None, {})
    [line] = device_lines(DeviceReading([device]))
    assert line.startswith(
        "GPU 0     NVIDIA A100-SXM4-80GB: memory not reported (MIG, permissions, or it shares the host's);"
    )


@pytest.mark.parametrize(
    "words",
    [
        "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95",
    ],
)
def test_a_driver_that_fails_is_not_no_gpu(programs: Path, words: str) -> None:
    program(programs, "nvidia-smi", {"": words}, code=15)
    assert list(device_lines(read_devices())) == [f"GPU       not known: NVIDIA: {words.splitlines()[0]}"]


def test_a_row_of_a_lost_device(programs: Path) -> None:
    lost = "1, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]"
    nvidia_smi(programs, f"0, GPU-a, {H100}, 61000, 81559\n{lost}", "", "")
    reading = read_devices()
    assert ([each.index for each in reading.devices], reading.problems) == ([0], [f"NVIDIA: {lost}"])


def test_amd_devices(programs: Path) -> None:
    answers = {"static": AMD_STATIC, "metric": {"gpu_data": AMD_METRIC}, "process": AMD_PROCESS}
    program(programs, "amd-smi", {key: json.dumps(value) for key, value in answers.items()})
    [device] = read_devices({41}).devices
    assert (device.vendor, device.name, device.driver) == ("amd", "AMD Instinct MI300X", "6.10.5")
    assert (device.used_bytes, device.total_bytes, device.engine_bytes) == (1024 * MIB, 196592 * MIB, 5 * MIB)
    assert (device.uuid, device.activity) == ("GPU-de8287300da37c72", Activity(72, 412, 1980))


def test_hips_numbers_are_asked_for_once(programs: Path) -> None:
    """They stay, and a program that takes half a second is started for every sample else."""
    asked = programs / "asked"
    answers = f"static) echo '{json.dumps(AMD_STATIC)}';; list) echo '[{{\"gpu\": 0, \"hip_id\": 3}}]';;"
    (programs / "amd-smi").write_text(f'#!/bin/sh\necho "$1" >> {asked}\ncase "$1" in {answers} esac\n')
    (programs / "amd-smi").chmod(0o755)
    assert [read_devices().devices[0].number for _ in range(2)] == [3, 3]
    words = asked.read_text().split()
    assert (words.count("static"), words.count("list")) == (2, 1)


def test_an_amd_tool_that_knows_no_clock_option(programs: Path) -> None:
    """It ends with an error on an option it lacks: memory is asked for alone then."""
    static = json.dumps([{"gpu": 0, "asic": {"market_name": "MI210"}}])
    memory = json.dumps([{"gpu": 0, "mem_usage": SIZE}])
    cases = f"static*) echo '{static}';; *--clock*) exit 1;; *) echo '{memory}';;"
    script = f'#!/bin/sh\ncase "$*" in {cases} esac\n'
    (programs / "amd-smi").write_text(script)
    (programs / "amd-smi").chmod(0o755)
    [device] = read_devices().devices
    assert (device.used_bytes, device.activity, device.uuid) == (1024 * MIB, Activity(), "")


def test_amdsmi_without_its_library(programs: Path, monkeypatch, capsys) -> None:
    """It prints that while it is imported, which would stand before a command's JSON."""
    (programs / "amdsmi.py").write_text(
        'print("Unable to find libamd_smi.so library")\nraise KeyError("libamd_smi.so")'
    )
    monkeypatch.delitem(sys.modules, "amdsmi")
    monkeypatch.syspath_prepend(programs)
    program(programs, "amd-smi", {"static": json.dumps(AMD_STATIC)})
    assert [each.name for each in read_devices().devices] == ["AMD Instinct MI300X"]
    assert capsys.readouterr() == ("", "")


def test_no_driver(programs: Path) -> None:
    assert read_devices({1}) == DeviceReading([])


class NVMLError(Exception):
    pass


@pytest.mark.parametrize(("newer", "used"), [(True, 2100), (False, 2700)])
def test_nvml_with_a_lost_device(newer: bool, used: int) -> None:
    """One of two answers; what the driver keeps for itself is used memory where the driver tells nothing else."""

    def handle(index: int) -> int:
        if index:
            raise NVMLError("GPU is lost")
        return index

    def unsupported(handle: int) -> int:
        raise NVMLError("Not Supported")

    def memory(handle: int, version: int = 1) -> SimpleNamespace:
        if version == 2 and not newer:
            raise NVMLError("Function Not Found")
        return SimpleNamespace(used=(2100 if version == 2 else 2700) * MIB, total=80 * GIB)

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlMemory_v2=2,
        nvmlSystemGetDriverVersion=lambda: b"580.1",
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda handle: H100,
        nvmlDeviceGetUUID=lambda handle: "GPU-a",
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=41, usedGpuMemory=None)],
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=87, memory=20),
        nvmlDeviceGetPowerUsage=unsupported,
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1980}[kind],
        NVML_CLOCK_SM=1,
    )
    activity = Activity(87, None, 1980)
    device = Device("nvidia", 0, H100, used * MIB, 80 * GIB, None, "580.1", "GPU-a", {41: None}, activity)
    assert nvidia.by_binding(nvml) == DeviceReading([device], ["NVIDIA GPU 1: GPU is lost"])


def test_amdsmi() -> None:
    def refused(handle: str, kind: int) -> dict[str, int]:
        raise OSError("not supported in a virtual machine")

    smi = SimpleNamespace(
        AmdSmiException=OSError,
        amdsmi_get_processor_handles=lambda: ["handle"],
        amdsmi_get_gpu_vram_usage=lambda handle: {"vram_total": 2, "vram_used": 1},
        amdsmi_get_gpu_process_list=lambda handle: [{"pid": 41, "memory_usage": {"vram_mem": 7}}],
        amdsmi_get_gpu_asic_info=lambda handle: {"market_name": "MI300X", "asic_serial": "0x00AB"},
        amdsmi_get_gpu_driver_info=lambda handle: {"driver_version": "6.10.5"},
        amdsmi_get_gpu_enumeration_info=lambda handle: {"hip_uuid": "GPU-de82"},
        amdsmi_get_gpu_activity=lambda handle: {"gfx_activity": 0, "umc_activity": "N/A"},
        amdsmi_get_power_info=lambda handle: {"current_socket_power": "N/A", "average_socket_power": 340},
        amdsmi_get_clock_info=refused,
        AmdSmiClkType=SimpleNamespace(GFX=1),
    )
    device = Device("amd", 0, "MI300X", MIB, 2 * MIB, None, "6.10.5", "GPU-de82", {41: 7}, Activity(0, 340, None))
    assert amd.by_binding(smi) == DeviceReading([device])


@pytest.mark.parametrize(
    ("environ", "indices"),
    [
        ({}, [0, 1, 2]),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [2, 0]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, [0]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"HIP_VISIBLE_DEVICES": "1"}, [0, 1, 2]),
    ],
)
def test_visible(environ: dict[str, str], indices: list[int]) -> None:
    devices = [Device("nvidia", at, H100, 0, 0, uuid=f"GPU-{name}1") for at, name in enumerate("abc")]
    assert [each.index for each in visible(devices, environ)] == indices


@pytest.mark.parametrize(
    ("environ", "indices"),
    [
        ({"ROCR_VISIBLE_DEVICES": "GPU-b1"}, [1]),
        ({"ROCR_VISIBLE_DEVICES": "gpu-B1,0"}, [1, 0]),
        ({"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "1"}, [1]),
        ({"ROCR_VISIBLE_DEVICES": "2,1", "CUDA_VISIBLE_DEVICES": "0"}, [2]),
        ({"HIP_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "0"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-nobody"}, [0, 1, 2]),  # a partition has a UUID that the driver does not give
    ],
)
def test_visible_to_rocm(environ: dict[str, str], indices: list[int]) -> None:
    devices = [Device("amd", at, "MI300X", 0, 0, uuid=f"GPU-{name}1") for at, name in enumerate("abc")]
    assert [each.index for each in visible(devices, environ)] == indices


def test_means_of_samples() -> None:
    """A figure that was given in one sample only is the mean of that one."""
    samples = [Activity(90, 300, None), Activity(70, None, None)]
    devices = [Device("nvidia", 0, H100, 0, 0, activity=activity) for activity in samples]
    assert means(devices) == [SampledDevice(0, H100, 2, Activity(80, 300, None))]
    assert activity_text(Activity(80, 1300, None)) == "80 % busy, 1,300 W, clock unknown"
