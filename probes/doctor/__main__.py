"""`python -m probes.doctor`: whether this machine and environment can run and profile vLLM, and what to do where not.

This module is the command and what it prints; the checks are in `software`, `installation`, `resources`, `profilers`
and `engines`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from probes.doctor import engines, installation, profilers, resources, software
from probes.doctor.surroundings import Finding, Status, Surroundings, here
from probes.errors import FAILED, run_main
from probes.home import tilde

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
CHECKS: tuple[Callable[[Surroundings], Finding], ...] = (
    software.python,
    software.vllm,
    software.torch,
    software.torch_kin,
    software.model_runner,
    installation.plugin,
    installation.recorder,
    installation.shadows,
    resources.model_cache,
    resources.disk_models,
    resources.disk_results,
    resources.disk_shared,
    resources.memory,
    resources.cores,
    resources.openmp,
    resources.governor,
    resources.turbo,
    profilers.ptrace,
    profilers.perf_events,
    profilers.py_spy,
    profilers.nsys,
    profilers.nvtx,
    engines.start_method,
    engines.log_stats,
    engines.compile_cache,
    engines.port,
    engines.left_processes,
    engines.left_segments,
)
STYLES: dict[Status, str] = {"ok": "green", "note": "cyan", "warn": "yellow", "block": "bold red"}
WORST_FIRST: tuple[Status, ...] = ("block", "warn", "note", "ok")
NAME_WIDTH, STATUS_WIDTH = 18, 5
EPILOG = """examples:
  python -m probes.doctor                 every check, and below each that is not fine what to paste
  python -m probes.doctor --problems      only what warns or blocks
  python -m probes.doctor --json          the same for a script, without names and home folders

exit codes: 0 nothing blocks, 1 something does, 2 bad usage
"""


def examine(at: Surroundings) -> list[Finding]:
    """All checks, in order, without the user's name in what they say."""
    found = [_checked(check, at) for check in CHECKS]
    return [
        replace(made, saw=tilde(made.saw, at.home), remedy=made.remedy and tilde(made.remedy, at.home))
        for made in found
    ]


def _checked(check: Callable[[Surroundings], Finding], at: Surroundings) -> Finding:
    """One check; that it could not be made is itself worth a line, and no reason to leave out the others."""
    try:
        return check(at)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Finding(check.__name__.replace("_", " "), "warn", f"could not be checked: {error}")


def worst(findings: list[Finding]) -> Status:
    """The worst status among findings."""
    return next(status for status in WORST_FIRST if status in {made.status for made in findings} or status == "ok")


def show(findings: list[Finding], out: Console) -> None:
    """A row for each finding, and its remedy below it as it is to be pasted: not wrapped, not coloured."""
    for made in findings:
        out.print(_row(made))
        if made.remedy and made.status != "ok":
            indent = " " * (NAME_WIDTH + STATUS_WIDTH + 2)
            for line in made.remedy.splitlines():
                out.print(f"{indent}{line}", markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{sum(made.status == status for made in findings)} {status}" for status in WORST_FIRST)
    out.print(f"{len(findings)} checks: {counts}", highlight=False)


def _row(made: Finding) -> object:
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=NAME_WIDTH)
    row.add_column(width=STATUS_WIDTH)
    row.add_column(overflow="fold")
    row.add_row(made.name, Text(made.status, STYLES[made.status]), Text(made.saw))
    return row


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m probes.doctor",
        description="Check what running and profiling vLLM need here; say what was seen, and what to do about it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--problems", action="store_true", help="leave out what is fine or only a note")
    args = parser.parse_args()
    findings = examine(here())
    verdict = worst(findings)
    if args.problems:
        findings = [made for made in findings if made.status in ("warn", "block")]
    if args.json:
        checks = [asdict(made) for made in findings]
        print(json.dumps({"schema": SCHEMA, "worst": verdict, "checks": checks}, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        show(findings, Console(soft_wrap=False, width=None if sys.stdout.isatty() else 120))
    return FAILED if verdict == "block" else 0


if __name__ == "__main__":
    run_main(main)
