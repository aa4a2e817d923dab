"""Prints the operators and kernels of a trace folder's torch traces: by stage and by family, of all steps or of one.

With a second folder it prints by family what the kernels take longer there, and what less.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    import pandas as pd

    from tracing.torchsums.operators import Operators

EXAMPLES = """examples:
  python -m tracing.torchsums traces/<folder>                   as in the review
  python -m tracing.torchsums traces/<folder> --step 12         of one step
  python -m tracing.torchsums traces/<folder> --csv steps.csv   a row a stage and step
  python -m tracing.torchsums traces/<before> traces/<after>    which family of kernels takes longer than before
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
    arguments.add_argument("after", type=Path, nargs="?", metavar="DIR", help="a later one: what takes longer there")
    arguments.add_argument("--step", type=int, metavar="N", help="one step only")
    arguments.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write the sums by stage and step as CSV as well, and what its columns mean beside it",
    )
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.after is None:
        return show(args.folder, args.step, args.csv)
    if args.step is not None or args.csv:
        raise usage_error("--step and --csv are for one trace, not for two that are compared")
    return compare(args.folder, args.after)


def show(folder: Path, step: int | None, csv: Path | None) -> int:
    """Print one folder's sums."""
    from probes.console import console, show_text
    from tracing.breakdown.kernels.summary import summary as kernels
    from tracing.page.tables.kernels import show as show_kernels
    from tracing.page.tables.watchers import show_operators
    from tracing.torchsums import operators

    sums, work = _read(folder, step)
    written = _write(csv, sums.steps, operators.StepOperators) if csv else []
    out = console()
    for problem in sums.problems:
        show_text(out, problem, "bold red")
    show_text(out, sums.about())
    summary = operators.summary(sums)
    if summary is not None:
        show_operators(summary, out)
    show_kernels(kernels(work), out)
    for path in written:
        out.print(f"Wrote {path}", soft_wrap=True, markup=False)
    return 0


def compare(before: Path, after: Path) -> int:
    """Print what changed from one folder's kernels to another's."""
    from probes.console import console, show_text
    from tracing.breakdown.kernels.difference import family_changes
    from tracing.page.tables.kernelchanges import show_changes

    out, sides = console(), []
    for folder in (before, after):
        sums, work = _read(folder)
        for problem in sums.problems:
            show_text(out, f"{folder}: {problem}", "bold red")
        sides.append(work)
    show_changes(family_changes(*sides), out)
    return 0


def _read(folder: Path, step: int | None = None) -> tuple[Operators, pd.DataFrame]:
    """A folder's sums, and its devices' work with the kinds of steps; refused where there is nothing in it."""
    from tracing import timeline
    from tracing.breakdown.kernels.work import with_kinds
    from tracing.timeline.steps.anatomy import anatomy
    from tracing.torchsums import operators

    recorded = timeline.read(folder)
    sums = operators.read(recorded, step)
    if sums is None:
        raise usage_error(f"{folder} holds no torch/*.json or .json.gz; see python -m tracing.torchsums -h")
    if not len(sums.names):
        raise _nothing(folder, step, sums.problems)
    return sums, with_kinds(sums.work, anatomy(recorded))


def _nothing(folder: Path, step: int | None, problems: list[str]) -> EnginescopeError:
    """Why there is nothing to sum up: a step without operators, or traces that could not be read."""
    if step is not None and not problems:
        return usage_error(f"no operator in step {step}")
    first, *others = problems
    rest = f"; and {len(others)} more" if others else ""
    return EnginescopeError(f"no operator and no kernel was read from {folder / 'torch'}: {first}{rest}")


def _write(path: Path, steps: pd.DataFrame, row: type) -> list[Path]:
    """Write the sums as CSV, and what its columns mean beside it; the paths."""
    from probes.columns import write_beside

    try:
        steps.to_csv(path, index=False)
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror or error}") from None
    explained = write_beside(path, row)
    return [path, explained] if explained else [path]


if __name__ == "__main__":
    run_main(main)
