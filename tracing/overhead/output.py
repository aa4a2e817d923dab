"""What the watcher of an overhead arm wrote: records and bytes a second, and the way between processes from it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tracing import timeline
from tracing.breakdown.requests import hops
from tracing.events.layout import RECORD
from tracing.nsys.capture import STEM
from tracing.overhead.arms import RunningArm
from tracing.overhead.entry import Between, Output, Round
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.intervals import Ints, contains, edges, overlap, union
from tracing.timeline.steps.anatomy import anatomy
from tracing.torchsums import trace

ZMQ = ("front end → core", "core → front end")


def output(engine: RunningArm, rounds: Sequence[Round]) -> Output | None:
    """What a stopped arm's watcher wrote while the arm was measured; None where nothing watched."""
    name = engine.arm.name
    windows = np.array([(each[name].start_ns, each[name].end_ns) for each in rounds if name in each])
    if engine.arm.tool == "py-spy":
        return _sampled(engine.folder, windows)
    if engine.arm.profiled:
        return _profiled(trace.files(engine.folder), windows)
    if any(engine.folder.glob("events-*.bin")):
        spans = _recorded(engine, windows)
        reports = [path for path in engine.folder.glob(f"{STEM}.*") if engine.arm.tool == "nsys"]
        size = sum(path.stat().st_size for path in reports)
        return replace(spans, bytes_s=size / engine.watched_s) if reports else spans
    return None


def _sampled(folder: Path, windows: Ints) -> Output:
    """py-spy's folded stacks, a file a trial, named by when it was begun: lines that end in a count."""
    paths = {int(path.stem.partition("-")[2]): path for path in folder.glob("samples-*.txt")}
    times = np.array(sorted(paths), dtype=np.int64)
    places = np.searchsorted(times, windows[:, 0]) - 1
    texts = [paths[int(times[place])].read_text() for place in places if place >= 0]
    samples = sum(int(line.rpartition(" ")[2]) for text in texts for line in text.splitlines())
    seconds = (windows[:, 1] - windows[:, 0]).sum() / 1e9
    return Output(samples / seconds, sum(len(text.encode()) for text in texts) / seconds)


def _profiled(paths: list[Path], windows: Ints) -> Output:
    """Torch traces, one a trial, with the wall clock's time in their names; those written after one of the windows."""
    ahead_ns = time.time_ns() - time.monotonic_ns()
    stamps = sorted((int(path.name.split(".")[-5 if path.suffix == ".gz" else -4]) - ahead_ns, path) for path in paths)
    times = np.array([stamp for stamp, _ in stamps], dtype=np.int64)
    mine = [stamps[place][1] for place in np.searchsorted(times, windows[:, 1]) if place < len(stamps)]
    records = 0
    for path in mine:
        with gzip.open(path) as file:
            records += sum(line.count(b'"ph": "X"') for line in file)
    seconds = (windows[:, 1] - windows[:, 0]).sum() / 1e9
    return Output(records / seconds, sum(path.stat().st_size for path in mine) / seconds)


def _recorded(engine: RunningArm, windows: Ints) -> Output:
    read = timeline.read(engine.folder)
    index = Index(read)
    measured = union(windows[:, 0], windows[:, 1])
    inside = contains(measured, index.start)
    steps = anatomy(read)
    spans, seconds = read.spans[inside], float((windows[:, 1] - windows[:, 0]).sum() / 1e9)
    hopped = hops.hops(index, requests.flows(index)).drop_duplicates(["hop", "from_ns", "to_ns"])
    return Output(
        len(spans) / seconds,
        len(spans) * RECORD.itemsize / seconds,
        between(spans, hopped[contains(measured, hopped["from_ns"].to_numpy())]),
        frozen_steps(steps, np.array(engine.frozen)),
    )


def between(spans: pd.DataFrame, hops: pd.DataFrame) -> Between:
    """The way between processes: nanoseconds a step of the stages that serve it, and of both hops over ZMQ."""
    steps = max(int((spans["site"] == "scheduler.schedule").sum()), 1)
    lengths = (spans["end_ns"] - spans["start_ns"]).groupby(spans["stage"].astype(str)).sum()
    serialize, send, deserialize = (float(lengths.get(stage, 0)) for stage in ("serialize", "send", "deserialize"))
    zmq = float(hops["latency_ns"][hops["hop"].isin(ZMQ)].sum())
    return Between(serialize / steps, send / steps, deserialize / steps, zmq / steps)


def frozen_steps(steps: pd.DataFrame, frozen: Ints) -> tuple[int, ...]:
    """The steps in which the arm's clocks stood still for a while: they look slow and are not."""
    hit = overlap(union(frozen[:, 0], frozen[:, 1]), *edges(steps)) > 0
    return tuple(int(step) for step in steps["step"][hit])
