"""The step log beside the C recorder that hooks the same two functions only, both in one real engine, as Markdown.

It says whether one could stand in for the other: do they count the same, see the same garbage collections and the same
start-up, and what does each cost a step? Between the two wrappers, below and above them lies a stop-watch each; one
more, around nothing, tells what a stop-watch costs.

example: python tests/bench/steplog_and_recorder.py cpu one-gpu
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import enginescope_plugin
from tracing import timeline
from tracing.events.enginephase import read_phases
from tracing.events.step import STEP, STEP_FIELDS, STEP_SITES, Step
from tracing.events.steplog import StepLog
from tracing.hooks.steplog import GC_FLOOR_NS
from tracing.shapes import nursery, start
from tracing.shapes.engine import conversation
from tracing.shapes.shape import shape_named
from tracing.sites.engine import ALL_SITES
from tracing.sites.starting import START_SITES, SWEEP_PHASES
from tracing.timeline import Timeline

TOKENS = 128  # of each request
SITES = ("scheduler.schedule", "scheduler.update")
COUNTS = STEP_FIELDS[3:]
TIMES = "times.txt"  # a line a call: what the four stop-watches read, the innermost first
SAME_PAUSE_NS = 50_000  # two watchers of one pause are called one after the other
TOOK = {name: [0] * 4 for _, _, name in STEP_SITES}  # ns of the last call, by depth
HEAD = ("shape", "steps", "equal counts", "equal GC pauses", "start-up marks", "step log", "recorder")


def stop_watch(depth: int, name: str, path: Path) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A wrapper that times a function; the outermost one writes down what all of them read."""
    took = TOOK[name]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter_ns()
            result = original(*args, **kwargs)
            took[depth] = time.perf_counter_ns() - begin
            if depth == len(took) - 1:
                with path.open("a") as file:
                    print(name, *took, file=file)
            return result

        return timed

    return wrap


def add_stop_watches(depth: int, path: Path) -> None:
    """Put one around each of a step's two functions, and all that wraps it already."""
    patch = enginescope_plugin.hooks_module("patching").patch
    for module, owner, name in STEP_SITES:
        wrap = stop_watch(depth, name, path)
        patch(f"{module}:{owner}.{name}", f"stop-watch {depth}", wrap, lambda present: None)


def watch() -> None:
    """From now on the plugin limits the recorder to two sites, and lays stop-watches around the watchers."""
    install: Any = enginescope_plugin.hooks_module("install")
    install.SITES = tuple(site for site in install.SITES if site.name in SITES)
    step_log, recorder = install.install_step_log, install.install_recorder

    def install_step_log(folder: str) -> None:
        add_stop_watches(0, Path(folder, TIMES))
        add_stop_watches(1, Path(folder, TIMES))
        step_log(folder)
        add_stop_watches(2, Path(folder, TIMES))

    def install_recorder(folder: str, nvtx: str | None) -> None:
        recorder(folder, nvtx)
        add_stop_watches(3, Path(os.environ[enginescope_plugin.STEP_LOG], TIMES))

    install.install_step_log, install.install_recorder = install_step_log, install_recorder


def costs_us(path: Path) -> tuple[float, float]:
    """What the step log and the recorder cost the median step, in µs: both functions together."""
    rows = [line.split() for line in path.read_text().splitlines()]
    table = pandas.DataFrame([[int(each) for each in row[1:]] for row in rows], index=[row[0] for row in rows])
    costs = [0.0, 0.0]
    for name in TOOK:
        medians = table.loc[name].diff(axis=1).median()
        costs = [costs[watcher] + (medians[2 + watcher] - medians[1]) / 1000 for watcher in (0, 1)]
    return costs[0], costs[1]


def equal_counts(steps: list[Step], counted: pandas.DataFrame) -> int:
    """How many steps have the same counts in both."""
    counts = counted.sort_values("step")[list(COUNTS)].itertuples(index=False, name=None)
    return sum(tuple(getattr(step, name) for name in COUNTS) == row for step, row in zip(steps, counts, strict=True))


def equal_pauses(records: list[Step], read: Timeline) -> str:
    """The garbage collections of the core during its steps that both have, of all that either has."""
    steps = [record for record in records if record.kind == STEP]
    logged = [(record.start_ns, record.end_ns) for record in records if record.kind != STEP]
    spans = read.spans[(read.spans["site"] == "gc") & (read.spans["pid"] == read.steps["pid"].iloc[0])]
    long = spans[(spans["end_ns"] - spans["start_ns"] >= GC_FLOOR_NS) & (spans["start_ns"] >= steps[0].start_ns)]
    recorded = long[long["start_ns"] < steps[-1].end_ns][["start_ns", "end_ns"]].itertuples(index=False, name=None)
    pairs = [(one, other) for other in recorded for one in logged if abs(one[0] - other[0]) < SAME_PAUSE_NS]
    return f"{len(pairs)} of {len(logged)}"


def row(shape: str, root: Path) -> list[str]:
    """A shape's line, as in `HEAD`."""
    log = StepLog(root)
    read, (records, lost) = timeline.read(root / "trace"), log.since({})
    steps = [record for record in records if record.kind == STEP]
    hooked = {target for site in ALL_SITES if site.name in SITES for target in site.targets}
    marks = sum(site.targets[0] in hooked for site in START_SITES if site.name in SWEEP_PHASES)
    phases = {phase.phase for phase in read_phases(log.folder)}
    equal = f"{equal_counts(steps, read.steps)} of {len(steps) + lost}"
    costs = (f"{cost:.1f} µs" for cost in costs_us(root / TIMES))
    return [shape, str(len(steps)), equal, equal_pauses(records, read), f"{len(phases)} and {marks}", *costs]


def main() -> int:
    names = sys.argv[1:] or ["cpu", "one-gpu"]
    os.environ.update(start.SMALL)
    conversation.import_engine()
    conversation.TOKENS = TOKENS
    watch()
    print("|", " | ".join(HEAD), "|\n|", " | ".join(["---"] * len(HEAD)), "|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            root = Path(scratch, name)
            root.mkdir()
            os.environ[enginescope_plugin.STEP_LOG] = str(root)
            if nursery.record(shape_named(name), root / "trace", root / "log.txt"):
                os._exit(0)  # the fork: the scratch folder is its parent's
            print("|", " | ".join(row(name, root)), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
