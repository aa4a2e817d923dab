"""What a faster stage would buy: one stage of an engine of its own is delayed at a time, and its steps are watched.

A share of time does not tell that: a stage may be hidden behind another process or a device. Delays come in short
blocks in random order, each between blocks without, while a fixed number of streams decodes.

examples:
  python -m tracing.whatif                                       the two-layer model, 8 streams, about three minutes
  python -m tracing.whatif --shape one-gpu --stages schedule,sample --budget 60
  python -m tracing.whatif --shape one-gpu --device-ms 10        beside a pretend device whose steps take 10 ms
  python -m tracing.whatif --model default --json > whatif.json
  python -m tracing.whatif --page whatif.html                    a page: time beside gain, with intervals
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, terminable, usage_error
from tracing.shapes.pretend.work import parse_work
from tracing.shapes.shape import SHAPES, Shape, shape_named

if TYPE_CHECKING:
    from tracing.whatif.answer import WhatIfAnswer

LEAST_BUDGET_S = 10.0


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.whatif", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--model", metavar="PATH", help="a model's folder, or `default` (default: two layers of random weights)"
    )
    arguments.add_argument(
        "--streams", type=int, default=8, metavar="N", help="requests at a time (default %(default)s)"
    )
    arguments.add_argument(
        "--shape",
        choices=[name for name, shape in SHAPES.items() if can_be_measured(shape)],
        default="cpu",
        metavar="NAME",
        help="the engine's processes and scheduling, as in python -m tracing.demo --help (default %(default)s)",
    )
    arguments.add_argument("--device-ms", metavar="MS", help="a pretend device: a step's work")
    arguments.add_argument("--stages", metavar="A,B", help="these stages alone (default: six)")
    arguments.add_argument(
        "--budget", type=float, default=150.0, metavar="S", help="seconds of measuring, without the start (default 150)"
    )
    arguments.add_argument(
        "--asleep", action="store_true", help="delays sleep with the GIL and do not spin: others keep their processors"
    )
    arguments.add_argument("--seed", type=int, default=0, help="of the order of the blocks (default 0)")
    arguments.add_argument("--json", action="store_true", help="print JSON, with the slope at each size of the delay")
    arguments.add_argument("--page", type=Path, metavar="FILE", help="write a page too: time beside gain")
    return arguments


def can_be_measured(shape: Shape) -> bool:
    """Whether its load can be streams, of one core, that decode a token a step."""
    plain = not (shape.files or shape.busy_neighbours or "speculative_config" in shape.engine)
    return plain and shape.front_end == "streams" and shape.processes["core"] == 1


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.streams < 1:
        raise usage_error(f"--streams {args.streams} is no load")
    if not args.budget >= LEAST_BUDGET_S:
        raise usage_error(f"--budget {args.budget:g} is too short: {LEAST_BUDGET_S:g} s is the least")
    with terminable():
        return measure(args)


def measure(args: argparse.Namespace) -> int:
    """Start the engine, measure it, and print the answer."""
    from probes.checkpoint import default_model
    from tracing.whatif import stages
    from tracing.whatif.engine.started import loaded_engine
    from tracing.whatif.measurement import Measurement

    if args.page and not args.page.parent.is_dir():
        raise usage_error(f"--page: there is no folder {args.page.parent}")
    chosen = stages.stages_named(args.stages or ",".join(stages.DEFAULT))
    if args.asleep:
        chosen = stages.asleep(chosen)
    shape = shape_named(args.shape)
    if args.device_ms:
        shape = replace(shape, work=parse_work(args.device_ms))
    if shape.work:
        shape = replace(shape, work=replace(shape.work, spread=0.0))
    model = str(default_model()) if args.model == "default" else args.model or ""
    say("starting the engine")
    with (
        tempfile.TemporaryDirectory() as scratch,
        loaded_engine(shape, args.streams, model, Path(scratch, "log")) as (engine, child),
    ):
        answer = Measurement(engine, chosen, args.streams, lambda: child.running).run(args.budget, args.seed, say)
    show(answer, stages.nested(chosen), args.json, args.page)
    return 0


def show(answer: WhatIfAnswer, nesting: Sequence[str], as_json: bool, page: Path | None) -> None:
    """Write the page where one is asked for, and print the answer."""
    from probes.console import console
    from tracing.whatif.report import table
    from tracing.whatif.report.page import html

    if page:
        try:
            page.write_text(html(answer, nesting))
        except OSError as error:
            raise EnginescopeError(f"cannot write {page}: {error.strerror}") from None
    if as_json:
        print(table.as_json(answer))
    else:
        table.show(console(), answer, nesting)
    if page:
        say(f"Wrote {page}")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
