"""What a faster stage would buy: one stage of an engine is delayed at a time, and its steps are watched.

A share of time does not tell that: a stage may be hidden behind another process or a device. Delays come in short
blocks in random order, each between blocks without. Under a fixed number of streams throughput tells what they did;
where requests come and go by themselves TTFT, ITL and latency do.

examples:
  python -m tracing.whatif                                       the two-layer model, 8 streams, about three minutes
  python -m tracing.whatif --shape one-gpu --stages schedule,sample --budget 60
  python -m tracing.whatif --shape one-gpu --device-ms 10        beside a pretend device whose steps take 10 ms
  python -m tracing.whatif --shape two-front-ends                a server of two front ends, each of them apart
  python -m tracing.whatif --model default --json > whatif.json
  python -m tracing.whatif --page whatif.html                    a page: time beside gain, with intervals
  python -m tracing.whatif --rate 5                              5 requests a second that arrive by themselves
  python -m tracing.whatif -- python my_script.py                a program, or a server that gets its load elsewhere
  python -m tracing.whatif 4711 --yes-slow-it-down               an engine that was started with ENGINESCOPE=standby
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, terminable, usage_error
from tracing.shapes.pretend.work import parse_work
from tracing.shapes.shape import SHAPES, Shape, shape_named

if TYPE_CHECKING:
    from tracing.attach.engine import StandingEngine
    from tracing.whatif.answer import WhatIfAnswer
    from tracing.whatif.openanswer import OpenAnswer

LEAST_BUDGET_S = 10.0
STREAMS, SHAPE = 8, "cpu"
PATIENCE_S = 1800.0  # until an engine that is not ours is under its load
OWN_LOAD = ("model", "shape", "device_ms", "rate")  # options of the engine that this command brings


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.whatif",
        usage="%(prog)s [options] [-- CMD … | PID|URL --yes-slow-it-down]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("target", nargs="?", metavar="PID|URL", help="an engine that runs already, and stands by")
    arguments.add_argument(
        "--yes-slow-it-down", action="store_true", help="permit delays in that engine: its clients wait longer"
    )
    add_load(arguments)
    arguments.add_argument("--stages", metavar="A,B", help="these stages alone (default: six, and what is on a device)")
    arguments.add_argument(
        "--budget", type=float, default=150.0, metavar="S", help="seconds of measuring, without the start (default 150)"
    )
    arguments.add_argument(
        "--asleep", action="store_true", help="delays sleep holding the GIL and do not spin: others keep their CPUs"
    )
    arguments.add_argument("--seed", type=int, default=0, help="seed of the random order of the blocks (default 0)")
    arguments.add_argument("--json", action="store_true", help="print JSON, with the slope at each size of the delay")
    arguments.add_argument("--page", type=Path, metavar="FILE", help="write a page too: time beside gain")
    return arguments


def add_load(arguments: CommandParser) -> None:
    """The engine that is started where none is named, and its load."""
    arguments.add_argument(
        "--model", metavar="PATH", help="a model's folder, or `default` (default: two layers of random weights)"
    )
    arguments.add_argument(
        "--streams",
        type=int,
        metavar="N",
        help=f"requests at a time (default {STREAMS}; of an engine with a load of its own: what is seen)",
    )
    arguments.add_argument(
        "--rate", type=float, metavar="R", help="R requests a second, whether or not earlier ones have ended"
    )
    arguments.add_argument(
        "--shape",
        choices=[name for name, shape in SHAPES.items() if can_be_measured(shape)],
        metavar="NAME",
        help=f"the engine's processes and scheduling, as in python -m tracing.demo --help (default {SHAPE})",
    )
    arguments.add_argument("--device-ms", metavar="MS", help="a pretend device: a step's work")


def can_be_measured(shape: Shape) -> bool:
    """Whether its load can be streams, of one core, that decode a token a step."""
    drafts, alone = "speculative_config" in shape.engine, not shape.busy_neighbours
    plain = shape.kind == "text" and not shape.files and not drafts and alone
    return plain and shape.front_end != "batch" and shape.processes["core"] == 1


def main() -> int:
    """The command."""
    words, command = divided(sys.argv[1:])
    args = parser().parse_args(words)
    check(args, command)
    with terminable():
        return measure(args, command)


def divided(words: list[str]) -> tuple[list[str], list[str] | None]:
    """The options, and the command behind `--`; None where there is no `--`."""
    if "--" not in words:
        return words, None
    place = words.index("--")
    return words[:place], words[place + 1 :]


def check(args: argparse.Namespace, command: list[str] | None) -> None:
    """Refuse what goes not together, or means nothing."""
    if command is not None and (args.target or not command):
        raise usage_error("name one engine: a PID or URL, or a command behind --; see python -m tracing.whatif --help")
    foreign = args.target or command
    named = [f"--{name.replace('_', '-')}" for name in OWN_LOAD if getattr(args, name) is not None]
    if foreign and named:
        raise usage_error(f"{', '.join(named)}: {args.target or 'the command'} brings an engine and a load of its own")
    if args.yes_slow_it_down and not args.target:
        raise usage_error("--yes-slow-it-down is for an engine that runs already: name its PID or URL")
    if args.streams is not None and args.streams < 1:
        raise usage_error(f"--streams {args.streams} is no load")
    if args.rate is not None and (args.streams is not None or not 0 < args.rate < math.inf):
        raise usage_error("--rate takes requests a second, above 0, in place of --streams")
    if not LEAST_BUDGET_S <= args.budget < math.inf:
        raise usage_error(f"--budget {args.budget:g}: it takes seconds, {LEAST_BUDGET_S:g} at least")
    served = bool(args.shape) and shape_named(args.shape).front_end == "server"
    if served and (args.rate is not None or args.device_ms):
        raise usage_error(f"{args.shape} is a server under streams, without arrivals or a pretend device")
    if args.page and not args.page.parent.is_dir():
        raise usage_error(f"--page: there is no folder {args.page.parent}")


def measure(args: argparse.Namespace, command: list[str] | None) -> int:
    """Start or find the engine, measure it, and print the answer."""
    from tracing.whatif import stages
    from tracing.whatif.loads.seenload import OPEN
    from tracing.whatif.measurement import START_S, Measurement

    chosen = stages.stages_named(args.stages or ",".join((*stages.DEFAULT, stages.WORK)))
    if args.asleep:
        chosen = [stages.asleep(stage) for stage in chosen]
    own = not (args.target or command)
    streams = OPEN if args.rate else args.streams or (STREAMS if own else None)
    with engine_of(args, command, streams) as (engine, lives):
        measurement = Measurement(engine, chosen, streams, lives, START_S if own else PATIENCE_S)
        answer = measurement.run(args.budget, args.seed, say)
    show(answer, args.json, args.page)
    return 0


@contextmanager
def engine_of(
    args: argparse.Namespace, command: list[str] | None, streams: int | None
) -> Iterator[tuple[StandingEngine, Callable[[], bool]]]:
    """The engine that is meant, and whether it still runs; one that is started ends with the block."""
    from tracing.whatif.engine.running import running_engine
    from tracing.whatif.engine.started import loaded_engine, started_engine

    with contextlib.ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory()), "log")
        if args.target:
            engine = running_engine(args.target, args.yes_slow_it_down)
            yield engine, engine.lives
            return
        if command:
            say(f"starting {command[0]}, and waiting until its engine is under a load")
            engine, child = stack.enter_context(started_engine(command, {}, log))
        else:
            say("starting the engine")
            model = model_of(args.model)
            started = loaded_engine(shape_of(args), streams or 0, args.rate or 0.0, model, log)
            engine, child = stack.enter_context(started)
        yield engine, lambda: child.running


def shape_of(args: argparse.Namespace) -> Shape:
    """The shape that is asked for; the steps of its pretend device do not vary."""
    shape = shape_named(args.shape or SHAPE)
    if args.device_ms:
        shape = replace(shape, work=parse_work(args.device_ms))
    return replace(shape, work=replace(shape.work, spread=0.0)) if shape.work else shape


def model_of(text: str | None) -> str:
    """The model's folder; '' for the shape's own."""
    from probes.checkpoint import default_model

    return str(default_model()) if text == "default" else text or ""


def show(answer: WhatIfAnswer | OpenAnswer, as_json: bool, page: Path | None) -> None:
    """Write the page where one is asked for, and print the answer."""
    from probes.console import console
    from probes.outputfiles import write_texts
    from tracing.whatif.report import reported, table
    from tracing.whatif.report.page import html

    if page:
        write_texts({page: html(answer)})
    if as_json:
        print(reported.as_json(answer))
    else:
        table.show(console(), answer)
    if page:
        say(f"Wrote {page}")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
