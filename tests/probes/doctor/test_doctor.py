"""The doctor's command: every check a line, on this machine."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from probes.doctor import __main__ as doctor
from probes.doctor import engines, software, surroundings
from probes.doctor.surroundings import Distribution, Finding, Surroundings
from probes.privacy.home import tilde
from tests.probes.doctor.machines import CUDA_SET, MI300X, ROOT, machine


def test_tilde() -> None:
    assert tilde("/home/ann/x:/home/anna/y /home/ann", Path("/home/ann")) == "~/x:/home/anna/y ~"
    assert tilde("/usr/lib", Path("/")) == "/usr/lib"


def test_a_check_that_fails_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(at: Surroundings) -> Finding:
        raise PermissionError("closed")

    monkeypatch.setattr(doctor, "CHECKS", (broken, engines.port))
    findings = doctor.examine(machine(tmp_path))
    assert [each.status for each in findings] == ["warn", "ok"]
    assert findings[0].detail == "could not be checked: closed"


def test_worst() -> None:
    findings = [Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "note", "")]
    assert doctor.worst(findings) == "warn"
    assert doctor.worst([*findings, Finding("d", "block", "")]) == "block"
    assert doctor.worst([]) == "ok"


def test_a_remedy_is_pasted_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    long = "rm -r " + " ".join(f"/dev/shm/psm_{number:08d}" for number in range(20)) + "   # [all] of it"
    doctor.show([Finding("left-over memory", "warn", "20", long)], Console(width=60))
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines] == [
        "left-over memory   warn  20",
        long,
        "1 checks: 0 block, 1 warn, 0 note, 0 ok",
    ]
    assert lines[0] == "left-over memory   warn  20"


def test_here_reads_this_environment() -> None:
    at = surroundings.here()
    assert at.version("rich") and at.version("pytest")
    assert any(process.pid == os.getpid() for process in at.processes)
    assert at.package("probes") == ROOT / "probes"
    assert at.text("proc/self/status")


def test_the_command_on_this_machine() -> None:
    command = [sys.executable, "-m", "probes.doctor", "--json"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 1), result.stderr
    report = json.loads(result.stdout)
    assert result.returncode == int(report["worst"] == "block")
    assert len(report["checks"]) == len(doctor.CHECKS)
    assert all(each.keys() == asdict(Finding("", "ok", "")).keys() for each in report["checks"])
    private = {socket.gethostname(), str(Path.home()), f"/{getpass.getuser()}"}
    assert [name for name in private if len(name) > 1 and name in result.stdout] == []


def test_problems_of_a_healthy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    doctor.show([Finding("a", "ok", ""), Finding("b", "note", "")], Console(width=60), problems_only=True)
    assert capsys.readouterr().out == "2 checks: 0 block, 0 warn, 1 note, 1 ok; nothing to fix\n"


def test_remedies_of_a_cuda_build_without_a_gpu_end_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = (software.vllm, software.torch, software.torch_kin, software.model_runner)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    others = {"torch": Distribution("2.13.0+cpu"), "torchvision": Distribution("0.28.0+cpu")}
    at = machine(tmp_path, distributions=CUDA_SET | others)
    lines = "\n".join(each.remedy or "" for each in doctor.examine(at)).splitlines()
    [install] = [line for line in lines if "requirements/" in line]
    assert "requirements/cpu.txt" in install
    assert "pip uninstall -y vllm torchvision" in lines[: lines.index(install)]


def test_an_amd_gpu_does_not_ask_for_cuda(tmp_path: Path) -> None:
    finding = software.vllm(machine(tmp_path, distributions={}, gpus=MI300X))
    assert finding.remedy is not None and "ROCm" in finding.remedy and "gpu.txt" not in finding.remedy
