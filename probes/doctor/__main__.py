"""`python -m probes.doctor`: whether this machine and environment can run and profile vLLM, and what to do where not.

This module is the command and what it prints; the checks are in `software`, `installation`, `resources`, `profilers`
and `engines`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.devices.reading import read_devices
from probes.doctor import engines, installation, profilers, resources, software
from probes.doctor.model.findings import Wish, examine_model
from probes.doctor.remedy import pasted
from probes.doctor.resources import DEFAULT_SHARE
from probes.doctor.surroundings import Finding, Status, Surroundings, here
from probes.errors import FAILED, run_main, usage_error
from probes.privacy.home import tilde

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
    resources.gpus,
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
PROBLEMS: tuple[Status, ...] = ("warn", "block")
NAME_WIDTH, STATUS_WIDTH = 18, 5
EPILOG = """examples:
  python -m probes.doctor                 every check, with commands to paste below those that are not fine
  python -m probes.doctor --problems      only what warns or blocks
  python -m probes.doctor --json          the same for a script, without names and home folders
  python -m probes.doctor --model Qwen/Qwen2.5-7B-Instruct --gpus 2 --max-len 8192
  python -m probes.doctor --model Qwen/Qwen2.5-7B-Instruct-AWQ --kv-cache-dtype fp8

exit codes: 0 nothing blocks, 1 something does, 2 bad usage
"""


def examine(at: Surroundings) -> list[Finding]:
    """All checks, in order, without the user's name in what they say."""
    return [_shown(each, at) for each in one_remedy([_checked(check, at) for check in CHECKS])]


def _shown(finding: Finding, at: Surroundings) -> Finding:
    remedy = finding.remedy and pasted(tilde(finding.remedy, at.home), at)
    return replace(finding, detail=tilde(finding.detail, at.home), remedy=remedy)


def one_remedy(findings: list[Finding]) -> list[Finding]:
    """The findings with one pinned set among their remedies, vLLM's: a second one, pasted after it, would undo it."""
    engine = next((each for each in findings if each.name == "vLLM" and _installs(each)), None)
    if engine is None:
        return findings
    return [
        replace(each, detail=f"{each.detail} (the fix shown for vLLM fixes this too)", remedy=None)
        if each is not engine and _installs(each)
        else each
        for each in findings
    ]


def _installs(finding: Finding) -> bool:
    return any(each in (finding.remedy or "") for each in software.SETS)


def _checked(check: Callable[[Surroundings], Finding], at: Surroundings) -> Finding:
    """One check; that it could not be made is itself worth a line, and no reason to leave out the others."""
    try:
        return check(at)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Finding(check.__name__.replace("_", " "), "warn", f"could not be checked: {error}")


def worst(findings: list[Finding]) -> Status:
    """The worst status among findings."""
    return next(status for status in WORST_FIRST if status in {each.status for each in findings} or status == "ok")


def show(findings: list[Finding], out: Console, problems_only: bool = False) -> None:
    """A row for each finding, its remedy below it as it is to be pasted (not wrapped, not coloured), and the count."""
    from probes.console import show as show_laid_out

    for each in findings:
        if problems_only and each.status not in PROBLEMS:
            continue
        show_laid_out(out, _row(each))
        if each.remedy and each.status != "ok":
            indent = " " * (NAME_WIDTH + STATUS_WIDTH + 2)
            for line in each.remedy.splitlines():
                out.print(f"{indent}{line}", markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{sum(each.status == status for each in findings)} {status}" for status in WORST_FIRST)
    healthy = "" if any(each.status in PROBLEMS for each in findings) else "; nothing to fix"
    out.print(f"{len(findings)} checks: {counts}{healthy}", highlight=False)


def _row(finding: Finding) -> Table:
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=NAME_WIDTH)
    row.add_column(width=STATUS_WIDTH)
    row.add_column(overflow="fold")
    row.add_row(finding.name, Text(finding.status, STYLES[finding.status]), Text(finding.detail))
    return row


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.doctor",
        description="Check whether this machine can run and profile vLLM, or one model, and say what to fix where not.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--problems", action="store_true", help="show only what warns or blocks")
    model = parser.add_argument_group("one model, before anything starts (in place of the checks)")
    model.add_argument(
        "--model", metavar="NAME|DIR", help="is it here, does it fit, on which cards, which attention backend"
    )
    model.add_argument("--gpus", type=int, metavar="N", help="over so many cards (default: as few as will do)")
    model.add_argument("--max-len", type=int, metavar="TOKENS", help="longest request (default: the model's own)")
    model.add_argument(
        "--gpu-util", type=float, metavar="SHARE", help=f"of each card's memory (default {DEFAULT_SHARE})"
    )
    model.add_argument("--kv-cache-dtype", metavar="DTYPE", help="of the KV cache, as vLLM names it: fp8, nvfp4, …")
    return parser


def _wish(args: argparse.Namespace) -> Wish | None:
    """What is asked of one model; None where none is named."""
    sizes = {"--gpus": args.gpus, "--max-len": args.max_len, "--gpu-util": args.gpu_util}
    for option, value in {**sizes, "--kv-cache-dtype": args.kv_cache_dtype}.items():
        if value is not None and args.model is None:
            raise usage_error(f"{option} is of a model: name it with --model")
    for option, value in sizes.items():
        if value is not None and value <= 0:
            raise usage_error(f"{option} must be above 0, not {value:g}")
    if args.gpu_util is not None and args.gpu_util > 1:
        raise usage_error(f"--gpu-util is a share of a card's memory, at most 1, not {args.gpu_util:g}")
    share = args.gpu_util or DEFAULT_SHARE
    return Wish(args.model, args.gpus, args.max_len, share, args.kv_cache_dtype) if args.model else None


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    wish, at = _wish(args), here()
    findings = [_shown(each, at) for each in examine_model(wish, at, read_devices().devices)] if wish else examine(at)
    verdict = worst(findings)
    if args.json:
        checks = [asdict(each) for each in findings if not args.problems or each.status in PROBLEMS]
        print(json.dumps({"schema": SCHEMA, "worst": verdict, "checks": checks}, indent=2, ensure_ascii=False))
    else:
        from probes.console import console

        show(findings, console(), args.problems)
    return FAILED if verdict == "block" else 0


if __name__ == "__main__":
    run_main(main)
