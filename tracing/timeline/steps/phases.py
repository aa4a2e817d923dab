"""The phases of an engine step: which stages they hold, and how a step's time is divided among them.

Every instant of a step belongs to one phase or to none. What explains it: the step's own spans in the core and in one
worker, garbage collections there, and what kept it waiting: earlier steps of the batch queue, and other work of the
core. Of several the worker's work counts before the core's (but for its reply, which may outlast the core's reading),
then the worker's waiting for the device, other ranks or the pipeline stage before it, an earlier step, other work, what
the core's loop does itself, and the wait for the worker; of one rank what began last, which is the innermost. So a
worker that runs inside the core's call has its time for itself, and a wait inside a call is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.sites.site import ENCLOSING
from tracing.timeline.intervals import Ints, edges, expanded, precedence, topmost
from tracing.timeline.nesting import cut_at_waits, outermost, own_of_loops
from tracing.timeline.spans import LAUNCH, Timeline
from tracing.timeline.steps.collectives import COLLECTIVE, OTHER_RANKS
from tracing.timeline.steps.workers import places

PIPELINE = "wait: pipeline"  # a worker waits for the pipeline stage before it
# Phase -> its stages.
PHASES: dict[str, tuple[str, ...]] = {
    "schedule": ("schedule", "prefix lookup", "allocate", "preempt", "grammar"),
    "dispatch": ("dispatch",),
    "prepare": ("prepare", "LoRA"),
    "model": ("forward", "logits", "encoder"),
    "collective": (COLLECTIVE,),
    "sample": ("sample", "bookkeep", "verify"),
    "draft": ("draft",),
    "kv": ("KV connector", "KV offload"),
    "execute": ("execute", "dummy batch"),
    "wait_gpu": ("wait: GPU",),
    "wait_ranks": (OTHER_RANKS, "wait: engines"),
    "wait_pipeline": (PIPELINE,),
    "reply": ("reply",),
    "wait_worker": ("wait: worker",),
    "update": ("update", "free"),
    "gc": ("garbage collection",),
    "earlier_step": (),
    "other_work": (),
    "engine_loop": ("engine loop",),
}
NAMES = tuple(PHASES)
TITLES = {
    "kv": "KV transfer",
    "wait_gpu": "wait: GPU",
    "wait_ranks": OTHER_RANKS,
    "wait_pipeline": PIPELINE,
    "wait_worker": "wait: worker",
    "gc": "garbage collection",
}
LAUNCHES = ("model", "sample", "draft", "collective")
# Of several the highest counts.
WORKER_WORK, CORE_WORK, REPLY, WORKER_WAIT, EARLIER, OTHER, LOOP, WAIT = range(7, -1, -1)
WORKER_WAITS = ("wait: GPU", OTHER_RANKS, PIPELINE)
PHASE_OF_STAGE = {stage: number for number, stages in enumerate(PHASES.values()) for stage in stages}


class Shares(NamedTuple):
    """Intervals that can explain steps' time: of which step (its place), phase and rank, from when to when."""

    step: Ints
    phase: Ints
    rank: Ints
    start: Ints
    end: Ints


def title(phase: str, on_device: bool = False) -> str:
    """A phase as tables and sentences call it; what a worker gives to a device is a launch there.

    A phase is not called as one of several stages that it holds: the model's has the logits beside the forward.
    """
    name = TITLES.get(phase, phase.replace("_", " "))
    return name + LAUNCH if on_device and phase in LAUNCHES else name


def phase_of(stage: str, role: str) -> int:
    """The phase of a stage; one without a phase of its own is the rest of what its process does."""
    return PHASE_OF_STAGE.get(stage.removesuffix(LAUNCH), NAMES.index("execute" if role == "worker" else "other_work"))


def divided(timeline: Timeline, steps: pd.DataFrame, cores: dict[int, int]) -> Ints:
    """Nanoseconds by step and phase, shape (steps, phases); steps may overlap.

    `steps` has `pid`, `step`, `start_ns`, `end_ns` and `worker`, by core and start. They are laid one behind the other
    on an axis of their own, so that one pass divides them all.
    """
    parts = list(_shares(timeline, steps, cores))
    shares = Shares(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    start, end = edges(steps)
    shift = np.cumsum(end - start) - end  # from the clock to the axis
    of = shares.step
    first = np.maximum(shares.start, start[of]) + shift[of]
    last = np.minimum(shares.end, end[of]) + shift[of]
    bounds, top = topmost(first, last, precedence(first, last, shares.rank))
    total = np.zeros((len(steps), len(NAMES)), dtype=np.int64)
    which = top[top >= 0]
    np.add.at(total, (of[which], shares.phase[which]), np.diff(bounds)[top >= 0])
    return total


def _shares(timeline: Timeline, steps: pd.DataFrame, cores: dict[int, int]) -> Iterator[Shares]:
    spans = timeline.spans
    inside = spans["role"].isin(("core", "worker")) | (spans["site"] == "gc")  # which has the role of its process
    rows = spans[inside & ~spans["share"].isin(ENCLOSING) & (spans["stage"] != "wait: core")]
    owner = rows["pid"].map(cores).fillna(-1).to_numpy(dtype=np.int64)
    pause = (rows["site"] == "gc").to_numpy()
    work = (rows["share"] == "work").to_numpy() & ~pause
    yield _own(rows[~pause], owner[~pause], steps)
    for core in steps["pid"].unique():
        mine = np.flatnonzero((steps["pid"] == core).to_numpy())
        yield _earlier(steps, mine)
        yield _collections(rows[pause & (owner == core)], steps, mine)
        yield _other_work(outermost(rows[work & (rows["pid"] == core).to_numpy()]), steps, mine)
        yield _loop(spans[(spans["pid"] == core) & (spans["role"] != "front end")], steps, mine)


def _own(rows: pd.DataFrame, owner: Ints, steps: pd.DataFrame) -> Shares:
    """The spans of each step itself: the core's, and of its workers those of the slowest."""
    place = places(steps, owner, rows["step"].to_numpy(dtype=np.int64))
    pid = rows["pid"].to_numpy(dtype=np.int64)
    worker = np.append(steps["worker"].to_numpy(dtype=np.int64), -1)[place]
    counted = (place >= 0) & ((pid == owner) | (pid == worker))
    rows, place = rows[counted], place[counted]
    piece, start, end = cut_at_waits(rows)
    return Shares(place[piece], _phases(rows)[piece], _ranks(rows)[piece], start, end)


def _phases(rows: pd.DataFrame) -> Ints:
    pairs = rows.groupby(["stage", "role"], observed=True, sort=False)
    number, phase = pairs.ngroup().to_numpy(), [phase_of(*map(str, pair)) for pair, _ in pairs]
    return np.array(phase, dtype=np.int64)[number]


def _ranks(rows: pd.DataFrame) -> Ints:
    """By role, but waits come after all work."""
    of_worker = np.where(rows["stage"] == "reply", REPLY, WORKER_WORK)
    work = np.where(rows["role"] == "worker", of_worker, CORE_WORK)
    wait = np.where(rows["stage"].isin(WORKER_WAITS), WORKER_WAIT, WAIT)
    return np.where(rows["share"] == "wait", wait, work).astype(np.int64)


def _earlier(steps: pd.DataFrame, mine: Ints) -> Shares:
    """With a batch queue: from a step's start until all steps before it are through."""
    start, end = (edge[mine] for edge in edges(steps))
    until = np.maximum.accumulate(np.append(start[:1], end[:-1]))
    return _alike("earlier_step", EARLIER, mine, start, until)


def _collections(rows: pd.DataFrame, steps: pd.DataFrame, mine: Ints) -> Shares:
    """Garbage collections in a step's core and worker, whatever they were doing; all threads of a process stop."""
    row, place = _within(rows, steps, mine)
    pid, worker = rows["pid"].to_numpy(dtype=np.int64)[row], steps["worker"].to_numpy(dtype=np.int64)[place]
    core = steps["pid"].to_numpy(dtype=np.int64)[place]
    kept = (pid == worker) | (pid == core)
    start, end = (edge[row][kept] for edge in edges(rows))
    shares = _alike("gc", CORE_WORK, place[kept], start, end)
    return shares._replace(rank=np.where(pid == worker, WORKER_WORK, CORE_WORK)[kept])


def _other_work(rows: pd.DataFrame, steps: pd.DataFrame, mine: Ints) -> Shares:
    """What the core does for other steps and for requests while a step is in flight."""
    row, place = _within(rows, steps, mine)
    other = rows["step"].to_numpy(dtype=np.int64)[row] != steps["step"].to_numpy(dtype=np.int64)[place]
    start, end = (edge[row][other] for edge in edges(rows))
    return _alike("other_work", OTHER, place[other], start, end)


def _loop(rows: pd.DataFrame, steps: pd.DataFrame, mine: Ints) -> Shares:
    """What the core's loop does between the calls that have spans, while a step is in flight."""
    _, start, end = own_of_loops(rows)
    row, place = _within(pd.DataFrame({"start_ns": start, "end_ns": end}), steps, mine)
    return _alike("engine_loop", LOOP, place, start[row], end[row])


def _alike(phase: str, rank: int, place: Ints, start: Ints, end: Ints) -> Shares:
    return Shares(place, np.full(len(place), NAMES.index(phase)), np.full(len(place), rank), start, end)


def _within(rows: pd.DataFrame, steps: pd.DataFrame, mine: Ints) -> tuple[Ints, Ints]:
    """Pairs of spans and the steps (their places) of one core that they fall into, as two arrays."""
    start, end = edges(rows)
    first = np.searchsorted(np.maximum.accumulate(edges(steps)[1][mine]), start, side="right")
    last = np.searchsorted(edges(steps)[0][mine], end, side="left")
    row, place = expanded(first, last)
    return row, mine[place]
