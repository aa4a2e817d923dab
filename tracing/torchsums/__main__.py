"""Prints the operators and kernels of a trace folder's torch traces by stage, of all steps or of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.errors import EnginescopeError, run_main, usage_error

EXAMPLES = """examples:
  python -m tracing.torchsums traces/<folder>                   as in the review
  python -m tracing.torchsums traces/<folder> --step 12         of one step
  python -m tracing.torchsums traces/<folder> --csv steps.csv   a row a stage and step
to record such a trace, let vLLM's profiler write into the trace folder:
  python -m tracing.record --out traces/mine -- CMD … --profiler-config.profiler=torch \\
      --profiler-config.torch_profiler_dir=traces/mine/torch
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tracing.torchsums",
        description="Operators and kernels of the torch profiler, summed per stage and step of a recorded run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folder", type=Path, metavar="DIR", help="a trace folder with torch traces in its torch/")
    made.add_argument("--step", type=int, metavar="N", help="one step only")
    made.add_argument("--csv", type=Path, metavar="FILE", help="write the sums by stage and step as CSV as well")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from tracing import timeline
    from tracing.page.terminal import console
    from tracing.page.watchers import show_operators
    from tracing.torchsums import operators

    out = console()
    found = operators.read(timeline.read(args.folder), args.step)
    if found is None:
        raise EnginescopeError(f"{args.folder} holds no torch/*.json or .json.gz; see python -m tracing.torchsums -h")
    for problem in found.problems:
        out.print(problem, style="bold red", markup=False)
    said = operators.summary(found)
    if args.step is not None and not len(found.names):
        raise usage_error(f"no operator in step {args.step}")
    show_operators(said or {}, out)
    if args.csv:
        try:
            found.steps.to_csv(args.csv, index=False)
        except OSError as error:
            raise EnginescopeError(f"cannot write {args.csv}: {error.strerror}") from None
        out.print(f"Wrote {args.csv}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    run_main(main)
