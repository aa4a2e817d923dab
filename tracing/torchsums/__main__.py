"""Prints the operators and kernels of a trace folder's torch traces by stage, of all steps or of one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """examples:
  python -m tracing.torchsums traces/<folder>                   as in the review
  python -m tracing.torchsums traces/<folder> --step 12         of one step
  python -m tracing.torchsums traces/<folder> --csv steps.csv   a row a stage and step
to record such a trace, let vLLM's profiler write into the trace folder:
  python -m tracing.record --out traces/mine -- CMD … --profiler-config.profiler=torch \\
      --profiler-config.torch_profiler_dir=traces/mine/torch
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.torchsums",
        description="Operators and kernels of the torch profiler, summed per stage and step of a recorded run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("folder", type=Path, metavar="DIR", help="a trace folder with torch traces in its torch/")
    arguments.add_argument("--step", type=int, metavar="N", help="one step only")
    arguments.add_argument("--csv", type=Path, metavar="FILE", help="write the sums by stage and step as CSV as well")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from probes.console import console
    from tracing import timeline
    from tracing.page.watchers import show_operators
    from tracing.torchsums import operators

    sums = operators.read(timeline.read(args.folder), args.step)
    summary = operators.summary(sums)
    if sums is None or summary is None:
        raise usage_error(f"{args.folder} holds no torch/*.json or .json.gz; see python -m tracing.torchsums -h")
    if not len(sums.names):
        raise _nothing(args.folder, args.step, sums.problems)
    if args.csv:
        _write(args.csv, sums.steps)
    out = console()
    for problem in sums.problems:
        out.print(problem, style="bold red", markup=False)
    out.print(sums.about(), soft_wrap=True, markup=False)
    show_operators(summary, out)
    if args.csv:
        out.print(f"Wrote {args.csv}", soft_wrap=True, markup=False)
    return 0


def _nothing(folder: Path, step: int | None, problems: list[str]) -> EnginescopeError:
    """Why there is nothing to sum up: a step without operators, or traces that could not be read."""
    if step is not None and not problems:
        return usage_error(f"no operator in step {step}")
    first, *others = problems
    rest = f"; and {len(others)} more" if others else ""
    return EnginescopeError(f"no operator and no kernel was read from {folder / 'torch'}: {first}{rest}")


def _write(path: Path, steps: pd.DataFrame) -> None:
    try:
        steps.to_csv(path, index=False)
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror or error}") from None


if __name__ == "__main__":
    run_main(main)
