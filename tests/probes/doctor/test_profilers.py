"""The doctor's checks of what the kernel lets other watchers see, py-spy, nsys and nvtx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.doctor import profilers
from probes.doctor.surroundings import Distribution
from tests.probes.doctor.machines import IMPORTER, machine, unlike

NO_PTRACE = {"proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\n"}
ALL_CAPS = {"proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\n"}
NSYS_2022 = "echo NVIDIA Nsight Systems version 2022.4.2.1-df9881f"


@pytest.mark.parametrize(
    ("scope", "status_file", "user", "status", "detail", "remedy"),
    [
        (None, ALL_CAPS, 0, "ok", "ptrace_scope n/a; root, with CAP_SYS_PTRACE", None),
        ("0", NO_PTRACE, 1000, "ok", "your own processes", None),
        ("1", NO_PTRACE, 1000, "note", "not attach to one", "sudo sysctl -w kernel.yama.ptrace_scope=0"),
        ("2", NO_PTRACE, 1000, "warn", "py-spy needs root", "sudo sysctl -w kernel.yama.ptrace_scope=0"),
        ("2", ALL_CAPS, 0, "ok", "ptrace_scope 2", None),
        ("3", ALL_CAPS, 0, "warn", "until a restart", "sudo sysctl"),
        (None, NO_PTRACE, 0, "ok", "root, without CAP_SYS_PTRACE: your own processes", None),
        ("1", NO_PTRACE, 0, "warn", "root, without CAP_SYS_PTRACE", "docker run --cap-add SYS_PTRACE"),
    ],
)
def test_ptrace(
    scope: str | None, status_file: Any, user: int, status: str, detail: str, remedy: str | None, tmp_path: Path
) -> None:
    files = status_file | ({profilers.PTRACE: f"{scope}\n"} if scope else {})
    assert not unlike(profilers.ptrace(machine(tmp_path, files, user=user)), status, detail, remedy)


@pytest.mark.parametrize(
    ("files", "status", "detail", "remedy"),
    [
        ({}, "note", "n/a here", None),
        ({profilers.PERF: "2\n"} | NO_PTRACE, "ok", "perf_event_paranoid 2", None),
        ({profilers.PERF: "4\n"} | NO_PTRACE, "note", "cannot sample", "sudo sysctl -w kernel.perf_event_paranoid=2"),
        ({profilers.PERF: "4\n"} | ALL_CAPS, "ok", "perf_event_paranoid 4", None),
    ],
)
def test_perf_events(files: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(profilers.perf_events(machine(tmp_path, files)), status, detail, remedy)


@pytest.mark.parametrize(
    ("script", "python", "status", "detail", "remedy"),
    [
        (None, (3, 11, 0), "note", "not installed", "pip install py-spy"),
        ("echo py-spy 0.4.3", (3, 13, 0), "ok", "0.4.3", None),
        ("echo py-spy 0.3.14", (3, 11, 0), "ok", "0.3.14", None),
        ("echo py-spy 0.3.14", (3, 12, 1), "warn", "does not know Python 3.12.1", "pip install -U py-spy"),
        ("echo broken >&2; exit 1", (3, 11, 0), "warn", "does not say its version: broken", "--force-reinstall"),
    ],
)
def test_py_spy(script: str | None, python: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, {"bin/py-spy": script} if script else {}, python=python)
    assert not unlike(profilers.py_spy(at), status, detail, remedy)


@pytest.mark.parametrize(
    ("files", "status", "detail", "remedy"),
    [
        ({}, "note", "not installed", "apt-get install nsight-systems"),
        ({"bin/nsys": NSYS_2022, IMPORTER: ""}, "note", "tracing.record --nsys runs it", None),
        ({"bin/nsys": NSYS_2022}, "warn", "2022.4.2, and no QdstrmImporter", "find / -name QdstrmImporter"),
        ({"bin/nsys": "echo version 2025.6.1.90-256", IMPORTER: ""}, "ok", "2025.6.1, with its importer", None),
        ({"bin/nsys": "exit 1"}, "warn", "does not say its version", "nsys --version"),
    ],
)
def test_nsys(files: dict[str, str], status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(profilers.nsys(machine(tmp_path, files)), status, detail, remedy)


def test_an_importer_beside_the_program(tmp_path: Path) -> None:
    at = machine(tmp_path, {"opt/x/bin/nsys": "echo 2025.1.1", "opt/x/host-linux-x64/QdstrmImporter": ""})
    (tmp_path / "opt/x/host-linux-x64/QdstrmImporter").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nsys").symlink_to("../opt/x/bin/nsys")
    assert not unlike(profilers.nsys(at), "ok", "2025.1.1", None)


@pytest.mark.parametrize(
    ("nvtx", "nsys", "status", "detail", "remedy"),
    [
        ("0.2.11", NSYS_2022, "ok", "0.2.11", None),
        ("0.2.12", NSYS_2022, "warn", "nsys 2022.4.2 hears its domains only", "nvtx==0.2.11"),
        ("0.2.15", "echo version 2025.6.1", "ok", "0.2.15", None),
        ("0.2.15", None, "ok", "0.2.15, nvidia-nvtx-cu12 12.9.79", None),
        (None, None, "warn", "not installed", "nvtx==0.2.11"),
    ],
)
def test_nvtx(nvtx: str | None, nsys: str | None, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    installed = {"nvtx": Distribution(nvtx), "nvidia-nvtx-cu12": Distribution("12.9.79")} if nvtx else {}
    at = machine(tmp_path, {"bin/nsys": nsys} if nsys else {}, distributions=installed)
    assert not unlike(profilers.nvtx(at), status, detail, remedy)


def test_nvtx_without_the_library_of_our_ranges(tmp_path: Path) -> None:
    older = {"nvtx": Distribution("0.2.15"), "nvidia-nvtx-cu12": Distribution("12.8.90")}
    at = machine(tmp_path, {}, distributions=older)
    assert not unlike(
        profilers.nvtx(at), "warn", "no NVIDIA library for enginescope's own ranges", "nvidia-nvtx-cu12>=12.9"
    )
