"""What watching costs an engine on this machine, and what its split into processes costs: into a ledger.

Arms are engines in processes of their own, all started first; in every round each runs one batch while the others are
frozen, in an order drawn anew. A change is an arm's figure against the plain engine's of the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from tracing.overhead.arms import OverheadArm, RunningArm
    from tracing.overhead.entry import Entry, Round

INPUT_LEN = 32
WARM_UPS = 2
EXAMPLES = """examples:
  python -m tracing.overhead                                  every watcher, batch sizes 1 and 16, two-layer model
  python -m tracing.overhead --batch-size 8 --model default
  python -m tracing.overhead --arm recorder --arm py-spy --rounds 60
The two-layer model's steps are almost all engine overhead: what watching costs there is an upper bound.
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.overhead",
        description="What each watcher, and the split into processes, costs throughput, TTFT and TPOT on this machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument(
        "--batch-size", type=_sizes, default=[1, 16], metavar="N[,N]", help="requests at a time (default 1,16)"
    )
    arguments.add_argument("--model", choices=("two-layer", "default"), default="two-layer")
    arguments.add_argument(
        "--output-len",
        type=int,
        default=64,
        metavar="N",
        help="tokens generated for each request (default %(default)s)",
    )
    arguments.add_argument(
        "--rounds", type=int, default=30, metavar="N", help="trials of each arm and batch size (default %(default)s)"
    )
    arguments.add_argument(
        "--arm", action="append", metavar="NAME", help="only this arm and the plain ones; repeatable"
    )
    return arguments


def _sizes(text: str) -> list[int]:
    if not all(word.isdigit() and int(word) for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers from 1 on, as in 1,16")
    return [int(word) for word in text.split(",")]


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from tracing.overhead import arms

    if args.rounds < 1 or args.output_len < 2:
        raise usage_error("--rounds must be 1 or more, and --output-len 2 or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: engines are ended, nothing stays behind
    with tempfile.TemporaryDirectory() as scratch:
        selected = chosen([*arms.watched(Path(scratch)), *arms.split()], args.arm)
        return measure(selected, args, Path(scratch))


def chosen(all_arms: list[OverheadArm], names: list[str] | None) -> list[OverheadArm]:
    """The plain arms and those named; all where none is."""
    known = [arm.name for arm in all_arms]
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise usage_error(f"no arm {unknown[0]!r}; there are {', '.join(known)}")
    return [arm for arm in all_arms if not names or arm.name in names or arm.name in ("off", "off too")]


def measure(selected: list[OverheadArm], args: argparse.Namespace, scratch: Path) -> int:
    """Start the arms, run the rounds, stop the arms, print and store what was seen."""
    from tracing.overhead import ledger
    from tracing.overhead.table import show

    missing: dict[str, str] = {}
    with running(selected, _settings(args.model), scratch, missing) as engines:
        counts = {name: len(_members(engine)) for name, engine in engines.items()}
        by_size = {size: rounds(engines, missing, size, args) for size in args.batch_size}
        for name, engine in engines.items():
            say(f"stopping {name}")
            engine.stop()
        for size, trials in by_size.items():
            entry = summed_up(selected, engines, counts, missing, size, trials, args)
            path = ledger.store(entry)
            show(entry)
    print(f"Wrote {path}")
    return INCOMPLETE if missing else 0


def summed_up(
    selected: list[OverheadArm],
    engines: dict[str, RunningArm],
    counts: dict[str, int],
    missing: dict[str, str],
    size: int,
    trials: list[Round],
    args: argparse.Namespace,
) -> Entry:
    """The entry of one batch size: a row an arm, out of the rounds and what the arms' watchers left."""
    from probes.machine import fingerprint
    from tracing.overhead import ledger
    from tracing.overhead.entry import Entry, Row
    from tracing.overhead.output import output

    rows = tuple(
        Row(
            arm.name,
            missing.get(arm.name),
            counts.get(arm.name),
            None if arm.name in missing else ledger.changes(trials, arm.name),
            output(engines[arm.name], trials) if arm.name in engines else None,
        )
        for arm in selected
    )
    machine, today = fingerprint().as_dict(), time.strftime("%Y-%m-%d")
    return Entry(today, machine, args.model, size, INPUT_LEN, args.output_len, ledger.plain(trials), rows)


def _settings(model: str) -> dict[str, object]:
    """The engine arguments that all arms share."""
    from probes.checkpoint import default_model, two_layer_model

    tiny = model == "two-layer"
    return {
        "model": str(two_layer_model() if tiny else default_model()),
        "load_format": "dummy" if tiny else "auto",
        "dtype": "float32",
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "max_model_len": 1024,
        "kv_cache_memory_bytes": 256 << 20,
    }


def _members(engine: RunningArm) -> list[int]:
    """An arm's vLLM processes: without resource trackers and tools."""
    import psutil

    pids = []
    for process in engine.engine.child.members():
        with contextlib.suppress(psutil.Error):
            program, *arguments = process.cmdline() or [""]
            if program.startswith("VLLM::") or ("nsys" not in program and "trialengine" in " ".join(arguments)):
                pids.append(process.pid)
    return pids


@contextlib.contextmanager
def running(
    selected: list[OverheadArm], settings: Mapping[str, object], scratch: Path, missing: dict[str, str]
) -> Iterator[dict[str, RunningArm]]:
    """The arms' engines, started one after the other and frozen; `missing` is told why one is not there."""
    from probes.processes.engine import EngineFailed
    from tracing.overhead.arms import RunningArm

    engines: dict[str, RunningArm] = {}
    try:
        for arm in selected:
            say(f"starting {arm.name}")
            try:
                engines[arm.name] = RunningArm(arm, settings, scratch)
                engines[arm.name].start()
            except EngineFailed as error:
                missing[arm.name] = str(error)
                say(f"{arm.name}: {error}")
                if arm.name in engines:
                    engines.pop(arm.name).kill()
        if "off" in missing:
            raise EnginescopeError(f"the plain engine did not start: {missing['off']}")
        yield engines
    finally:
        for engine in engines.values():
            engine.kill()


def rounds(engines: dict[str, RunningArm], missing: dict[str, str], size: int, args: argparse.Namespace) -> list[Round]:
    """Trials of every arm, `--rounds` times after warm-ups; an arm that fails leaves the rounds."""
    from probes.processes.engine import EngineFailed

    draw, finished = random.Random(size), []
    for number in range(-WARM_UPS, args.rounds):
        say(f"batch size {size}, round {number + 1} of {args.rounds}" if number >= 0 else f"batch size {size}, warm-up")
        trials: Round = {}
        for name in draw.sample(sorted(engines), len(engines)):
            shape = {"batch_size": size, "input_len": INPUT_LEN, "output_len": args.output_len}
            try:
                trials[name] = engines[name].trial(**shape, seed=1000 * size + number + WARM_UPS)
            except EngineFailed as error:
                missing[name] = f"failed in a trial: {error}"
                engines.pop(name).kill()
        if "off" in missing:
            raise EnginescopeError(f"the plain engine {missing['off']}")
        if number >= 0:
            finished.append(trials)
    return finished


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
