"""The fingerprint reads this machine, compares what matters, and names nobody."""

from __future__ import annotations

import dataclasses
import getpass
import json
import socket
import subprocess
from pathlib import Path

import pytest

from probes import machine
from probes.devices.device import Device, DeviceReading
from probes.machine import Gpu, differences, fingerprint

MACHINE = {
    "machine_id": "0123456789ab",
    "cpu_model": "EPYC",
    "cores_logical": 8,
    "cores_usable": 8,
    "memory_bytes": 64_000_000_000,
    "gpus": [],
    "python": "3.11.7",
    "torch": "2.13.0",
    "vllm": "0.32.0",
    "vllm_distribution": "vllm",
    "kernel": "6.1.0",
    "git_hash": "abc",
}


def test_reads_this_machine() -> None:
    here = fingerprint()
    assert 1 <= here.cores_usable <= here.cores_logical
    assert here.memory_bytes > 2**28
    assert here.cpu_model and here.kernel and here.os_name
    assert here.numpy is not None
    assert len(here.machine_id) == 12 and int(here.machine_id, 16) >= 0
    assert here.machine_id == fingerprint().machine_id


def test_survives_json_and_names_nobody() -> None:
    here = fingerprint().as_dict()
    assert json.loads(json.dumps(here)) == here
    private = {socket.gethostname(), str(Path.home()), f"/{getpass.getuser()}"}
    assert [name for name in private if len(name) > 1 and name in json.dumps(here)] == []


def test_machine_id_tells_twins_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One disk image, other network cards or devices."""
    monkeypatch.setattr(machine, "_read", lambda path: "same image")
    monkeypatch.setattr(machine, "_hardware_addresses", lambda: ["02:00:00:00:00:01"])
    first, with_gpu = machine._machine_id([]), machine._machine_id(["GPU-1"])
    monkeypatch.setattr(machine, "_hardware_addresses", lambda: ["02:00:00:00:00:02"])
    assert len({first, with_gpu, machine._machine_id([])}) == 3


def test_names_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    h200 = Device("nvidia", 0, "NVIDIA H200", 0, 143771 * 2**20, driver="580.1", uuid="GPU-aa")
    shared = Device("nvidia", 1, "NVIDIA GB10", None, None, driver="580.1", uuid="GPU-bb")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine._gpus([h200, shared]) == [
        (Gpu("NVIDIA H200", "580.1", 143771 * 2**20), "GPU-aa"),
        (Gpu("NVIDIA GB10", "580.1", None, visible=False), "GPU-bb"),
    ]


def test_a_driver_that_fails_is_not_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = "NVIDIA: Failed to initialize NVML: Driver/library version mismatch"
    monkeypatch.setattr(machine, "read_devices", lambda: DeviceReading([], [lost]))
    lines = machine.describe(fingerprint()).splitlines()
    assert "gpus               not known" in lines and f"gpu_problems       {lost}" in lines


def test_a_command_that_hangs_or_is_missing_is_no_answer() -> None:
    assert machine._answer(["sleep", "5"], 0.05) is None
    assert machine._answer(["no-such-command"], 1) is None
    assert machine._answer(["false"], 5) is None


def test_checkout_is_this_one_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed in an environment inside another project's checkout, that project's commit is not ours."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    inside = tmp_path / "site-packages"
    inside.mkdir()
    monkeypatch.setattr(machine, "ROOT", inside)
    assert machine._checkout() == (None, None)
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    commit, dirty = machine._checkout()
    assert commit is not None and len(commit) == 40 and dirty is False
    (tmp_path / "new").touch()
    assert machine._checkout() == (commit, True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"kernel": "6.1.1", "git_hash": "def"}, []),
        ({"memory_bytes": 64_000_100_000}, []),
        ({"memory_bytes": 32_000_000_000}, ["memory_bytes: 64000000000 and 32000000000"]),
        ({"torch": "2.12.0", "vllm": None}, ["torch: '2.13.0' and '2.12.0'", "vllm: '0.32.0' and None"]),
        ({"machine_id": "ba9876543210"}, ["machine_id: '0123456789ab' and 'ba9876543210'"]),
    ],
)
def test_differences(change: dict[str, object], expected: list[str]) -> None:
    assert differences(MACHINE, MACHINE | change) == expected


def test_compares_only_fields_that_exist() -> None:
    assert set(machine.COMPARED) <= {field.name for field in dataclasses.fields(machine.Machine)}


def test_describe_shows_every_field() -> None:
    here = dataclasses.replace(fingerprint(), gpus=(Gpu("H200", "580.1", None),), governor=None)
    lines = machine.describe(here).splitlines()
    assert [line.split()[0] for line in lines] == [field.name for field in dataclasses.fields(here)]
    assert "gpus               H200 (driver 580.1)" in lines
    assert "governor           -" in lines
