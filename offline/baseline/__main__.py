"""`python -m offline.baseline`: the same batches through vLLM and through transformers on plain PyTorch."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, INTERRUPTED, run_main, terminable, usage_error

if TYPE_CHECKING:
    from offline.baseline.preparation import PreparedBaseline

EPILOG = """examples:
  python -m offline.baseline                                   the default model, batches of 1, 4, 8 and 16
  python -m offline.baseline --batch-size 1,32 --rounds 10 --starts 3
  python -m offline.baseline --model FOLDER --dtype bfloat16 --input-len 256 --output-len 128
  python -m offline.baseline --resume                          continue the last unfinished run

exit codes: 0 done, 3 a side failed and the table holds what was measured before, 2 bad usage, 1 another failure,
130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    from offline.spec.effort import duration
    from offline.spec.flags import add_out, add_resume
    from offline.spec.spec import integers

    parser = CommandParser(
        prog="python -m offline.baseline",
        description="Memory, latency and throughput of vLLM against transformers on plain PyTorch, batch by batch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="", metavar="M", help="a local folder (default: the embedded default model)")
    parser.add_argument(
        "--load-format", default="auto", metavar="F", help="vLLM's load format; `dummy`: random weights"
    )
    parser.add_argument("--dtype", metavar="T", help="of both sides (default: what fits this machine)")
    parser.add_argument("--batch-size", type=integers, default=(1, 4, 8, 16), metavar="N,…", help="default 1,4,8,16")
    parser.add_argument("--input-len", type=int, default=64, metavar="N", help="prompt tokens (default 64)")
    parser.add_argument("--output-len", type=int, default=32, metavar="N", help="tokens to generate (default 32)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="timed batches of each size (default 3)")
    parser.add_argument("--starts", type=int, default=1, metavar="N", help="starts of both sides (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="prompts and orders are drawn from it")
    parser.add_argument("--time-limit", type=duration, default=600.0, metavar="10m", help="of a start or a batch (10m)")
    add_out(parser)
    add_resume(parser)
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    for name in ("input_len", "output_len", "rounds", "starts"):
        if getattr(args, name) < 1:
            raise usage_error(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(args, name)}")
    with terminable():
        return measure(args)


def measure(args: argparse.Namespace) -> int:
    """Prepare the run, measure the starts that it lacks, write the tables, and say how it ended."""
    from offline.baseline.folder import LINES, write_run
    from offline.baseline.preparation import new_run, resumed_run
    from offline.baseline.records import read_lines
    from offline.baseline.report import write
    from offline.records.continuation import locked
    from offline.records.runindex import write_index
    from probes.processes.engine import EngineFailed

    prepared = new_run(args) if args.resume is None else resumed_run(args.resume, args.out)
    run, path = prepared.run, prepared.path
    state, reason, code = "complete", None, 0
    with closing(locked(path)):
        try:
            write_run(path, replace(run, state="running", reason=None))
            run_missing(prepared, args.time_limit)
        except EngineFailed as failure:
            state, reason, code = "incomplete", str(failure), INCOMPLETE
            print(f"warning: {failure}; logs: {path / 'logs'}", file=sys.stderr)
        except KeyboardInterrupt:
            state, code = "interrupted", INTERRUPTED
            print(f"interrupted; to continue: python -m offline.baseline --resume {path}", file=sys.stderr)
        run = replace(run, state=state, reason=reason)
        print("\n".join(write(path, run, read_lines(path / LINES))))
        write_run(path, run)  # last: a run without its tables is continued
    write_index(path.resolve().parents[2])
    print(f"Wrote {path}")
    return code


def run_missing(prepared: PreparedBaseline, limit_s: float) -> None:
    """Run the starts that are not whole yet, each under a number of its own."""
    from offline.baseline.folder import LINES
    from offline.baseline.records import drop_torn_line, read_lines, whole_starts, write_line
    from offline.baseline.runner import SideRunner

    run, path = prepared.run, prepared.path
    lines = path / LINES
    drop_torn_line(lines)
    records = read_lines(lines)
    last = max((each.start for each in records), default=0)
    missing = run.starts - len(whole_starts(records, run.batches, run.rounds))
    runner = SideRunner(
        batches=run.batches,
        input_len=run.input_len,
        output_len=run.output_len,
        rounds=run.rounds,
        settings={side: {**settings, "model": str(prepared.model)} for side, settings in run.settings.items()},
        logs=path / "logs",
        limit_s=limit_s,
        seed=run.seed,
        keep=lambda record: write_line(lines, record),
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    for start in range(last + 1, last + 1 + missing):
        runner.run(start)


if __name__ == "__main__":
    run_main(main)
