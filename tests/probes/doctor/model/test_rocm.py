"""`probes.doctor --model` with AMD's cards, by what amd-smi says of four: their numbers, holders, and the line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from probes.devices import amd
from probes.devices.reading import read_devices
from probes.doctor.model.findings import Wish, examine_model
from probes.doctor.model.selection import Selection
from probes.doctor.surroundings import Finding, Process
from tests.probes.doctor.machines import ROCM_SET, machine
from tests.probes.shardedmodel import laid, sharded_model

USED_MB = (288, 150_000, 288, 288)
HIP = (1, 0, 3, 2)  # the driver counts as it discovers, HIP by the kernel's nodes
SELECTION = Selection("rocm", "ROCM_ATTN", {"ROCM_ATTN": "", "TRITON_ATTN": ""}, ["ROCM_ATTN", "TRITON_ATTN"])


def size(megabytes: int) -> dict[str, Any]:
    return {"value": megabytes, "unit": "MB"}


def process(pid: int, megabytes: int) -> dict[str, Any]:
    return {"process_info": {"name": "python3", "pid": pid, "memory_usage": {"vram_mem": size(megabytes)}}}


ASIC = {"market_name": "AMD Instinct MI300X OAM", "target_graphics_version": "gfx942"}
ANSWERS: dict[str, Any] = {
    "static": {
        "gpu_data": [
            {"gpu": at, "asic": ASIC | {"asic_serial": f"0xDE{at:014X}"}, "driver": {"version": "6.14.14"}}
            for at in range(4)
        ]
    },
    "metric": {
        "gpu_data": [
            {
                "gpu": at,
                "mem_usage": {"total_vram": size(196_592), "used_vram": size(used)},
                "usage": {"gfx_activity": {"value": 0, "unit": "%"}},
            }
            for at, used in enumerate(USED_MB)
        ]
    },
    # A process that has opened the driver is named for each card.
    "process": [
        {"gpu": 0, "process_list": [process(41, 0)]},
        {"gpu": 1, "process_list": [process(41, 149_000)]},
        {"gpu": 2, "process_list": [{"process_info": "No running processes detected"}]},
        {"gpu": 3, "process_list": [process(41, 0)]},
    ],
    "list": [
        {"gpu": at, "hip_id": hip, "hip_uuid": f"GPU-de{at:014x}", "render": f"renderD{128 + at}"}
        for at, hip in enumerate(HIP)
    ],
}


@pytest.fixture
def amd_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that gives these answers, and no other driver's; its folder."""
    cases = "".join(f"{word}) cat <<'END'\n{json.dumps(answer)}\nEND\n;;\n" for word, answer in ANSWERS.items())
    (folder := tmp_path / "programs").mkdir()
    (folder / "amd-smi").write_text(f'#!/bin/sh\ncase "$1" in\n{cases}esac\n')
    (folder / "amd-smi").chmod(0o755)
    for binding in ("pynvml", "amdsmi"):
        monkeypatch.setitem(sys.modules, binding, None)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    amd.hip_tables.cache_clear()
    return folder


def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], gpus: int) -> dict[str, Finding]:
    monkeypatch.setattr("probes.doctor.model.findings.ask_selection", lambda *_: SELECTION)
    model = laid(tmp_path / "model", sharded_model())
    processes = (Process(41, 1, "/opt/venv/bin/python3 -m vllm --api-key secret"),)
    site = {"site/vllm/__init__.py": ""}
    at = machine(tmp_path, site, distributions=ROCM_SET, environ=environ, processes=processes)
    wish = Wish(str(model), gpus, None, 0.9)
    return {each.name: each for each in reversed(examine_model(wish, at, read_devices().devices))}


def line(finding: Finding) -> str:
    return (finding.remedy or "").partition(" vllm serve")[0]


def test_cards_have_the_drivers_number_and_hips(amd_smi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = examined(tmp_path, monkeypatch, {}, 2)
    name = "AMD Instinct MI300X OAM"
    assert by_name["GPU 0"].detail == f"free: {name}, number 1 here, 191.70 GiB of 191.98 GiB free, 0 % busy"
    assert by_name["GPU 1"].detail == (
        f"taken: {name}, number 0 here, 45.50 GiB of 191.98 GiB free, 0 % busy; held by python3 (process 41, 145.5 GiB)"
    )
    assert by_name["GPU 2"].detail == f"free: {name}, number 3 here, 191.70 GiB of 191.98 GiB free, 0 % busy"
    # Two of the driver's cards 0, 2 and 3, which are HIP's 1, 3 and 2.
    assert line(by_name["start"]) == "HIP_VISIBLE_DEVICES=1,3"
    assert by_name["start"].detail == "3 of 4 cards are free"
    assert by_name["attention"].detail == "ROCM_ATTN on rocm, by vLLM's own selection; also possible: TRITON_ATTN"


@pytest.mark.parametrize(
    ("environ", "numbers", "expected"),
    [
        ({"HIP_VISIBLE_DEVICES": "3,1"}, {"GPU 0": 1, "GPU 2": 0}, "HIP_VISIBLE_DEVICES=1,3"),
        # ROCR leaves HIP's 3 and 1, and what follows counts among those.
        ({"ROCR_VISIBLE_DEVICES": "3,1"}, {"GPU 0": 1, "GPU 2": 0}, "HIP_VISIBLE_DEVICES=0,1"),
        (
            {"ROCR_VISIBLE_DEVICES": f"GPU-de{0:014x},GPU-de{3:014x}"},
            {"GPU 0": 0, "GPU 3": 1},
            "HIP_VISIBLE_DEVICES=0,1",
        ),
        # vLLM refuses to start with two that differ.
        (
            {"CUDA_VISIBLE_DEVICES": "1,2"},
            {"GPU 0": 0, "GPU 3": 1},
            "env -u CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES=1,2",
        ),
    ],
)
def test_only_cards_that_rocms_variables_show(
    amd_smi: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    numbers: dict[str, int],
    expected: str,
) -> None:
    by_name = examined(tmp_path, monkeypatch, environ, 2)
    shown = {f"GPU {at}": by_name[f"GPU {at}"].detail for at in range(4)}
    assert {name for name, detail in shown.items() if not detail.startswith("hidden")} == set(numbers)
    assert all(f"number {number} here" in shown[name] for name, number in numbers.items())
    assert line(by_name["start"]) == expected


def test_a_driver_before_hips_numbers_counts_as_it_is(
    amd_smi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = amd_smi / "amd-smi"
    program.write_text(program.read_text().replace('"hip_id"', '"node_id"').replace('"hip_uuid"', '"uuid"'))
    assert line(examined(tmp_path, monkeypatch, {}, 2)["start"]) == "HIP_VISIBLE_DEVICES=0,2"
