"""What py-spy's samples say in figures: by thread, and by stage down to the line."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from probes.console import counted
from tracing.breakdown.otherwatchers import SampledLine, SampledStage, SampledThread, SampleSummary
from tracing.pyspy import attribution, lost, recording, samples, stacks
from tracing.pyspy.events import Stack
from tracing.pyspy.recording import Recording
from tracing.pyspy.samples import CONFIDENT, Samples
from tracing.pyspy.waitingframes import VLLM, WORKING, of_vllm
from tracing.sites.site import place_of
from tracing.timeline.spans import Timeline

LEAST = 0.0005  # of a thread's samples: less is not listed
TOP = 3  # lines of a stage in the review


Window = tuple[int, int]  # of CLOCK_MONOTONIC, in nanoseconds


def beside(
    timeline: Timeline, window: Window | None = None
) -> tuple[SampleSummary | None, tuple[stacks.StackTime, ...]]:
    """What py-spy saw, or saw in a window, for the review of a trace folder, and its stacks; None and none where the
    folder has no samples."""
    if not recording.exists(timeline.folder):
        return None, ()
    read = samples.read(timeline.folder)
    frame = attribution.attributed(read, timeline)
    serving = attribution.serving(frame, timeline)
    serving = serving[serving["time_ns"].between(*window)] if window else serving
    return summary(read, frame, serving, timeline, TOP), stacks.stack_times(read, serving)


def figures(read: Samples, frame: pd.DataFrame, timeline: Timeline | None, top: int) -> SampleSummary:
    """The summary of the samples while the engine served."""
    return summary(read, frame, attribution.serving(frame, timeline), timeline, top)


def summary(
    read: Samples, frame: pd.DataFrame, counted: pd.DataFrame, timeline: Timeline | None, top: int
) -> SampleSummary:
    """`head` lines, and the `threads` and `stages` of the samples that are counted."""
    return SampleSummary(tuple(head(read, frame, timeline)), threads(counted), stages(read, counted, top))


def head(read: Samples, frame: pd.DataFrame, timeline: Timeline | None) -> Iterator[str]:
    """What was sampled, how sure its place in time is, what is left out, and what went wrong."""
    about = read.recording
    yield (
        f"{about.version}, {about.rate} a second asked, {read.rate:.0f} taken: {read.rounds:,} rounds, "
        f"{counted(len(frame), 'sample')} of {counted(frame['pid'].nunique(), 'process', 'processes')}, "
        f"{counted(len(read.names), 'thread')}"
    )
    yield from _clock(read)
    if timeline is not None:
        yield from _beside_spans(read, frame, timeline)
    if not read.qualified and any(of_vllm(stack) for stack in read.stacks):
        yield (
            f"{about.version} named functions without their classes (as it does before 0.4.3): stages are told by the "
            "clock alone; pip install -U py-spy"
        )
    if read.torn:
        yield "py-spy's file breaks off: it was killed while it wrote; what came before is shown. Record it again"
    if about.early:
        seconds = (about.ended_ns - about.started_ns) / 1e9
        who = "py-spy" if about.beacon else f"process {about.root}"
        yield f"{who} ended after {seconds:.1f} s, before the rest: samples until then are shown"


def _clock(read: Samples) -> Iterator[str]:
    """How sure the place of the samples in time is."""
    if read.uncertainty_ns >= 0:
        yield (
            f"clock: {CONFIDENT} % of the rounds are within ±{read.uncertainty_ns / 1e6:.1f} ms of their place, "
            f"99 % within ±{read.within_ns(99) / 1e6:.1f} ms, the worst ±{read.within_ns(100) / 1e6:.1f} ms"
        )
        if read.behind_s:
            yield (
                f"py-spy was up to {read.behind_s:.1f} s behind and caught up with rounds closer together; "
                "a lower rate is more even"
            )
    else:
        yield f"clock: none ({_no_clock(read.recording)}); samples are counted at the rate asked for, an estimate"


def _beside_spans(read: Samples, frame: pd.DataFrame, timeline: Timeline) -> Iterator[str]:
    """How well the samples fit the recorder's spans, what is left out, and who died."""
    fit = attribution.agreement(frame, timeline, read.uncertainty_ns)
    if fit.samples:
        yield (
            f"check: of {fit.samples:,} samples in a hooked function {fit.inside / fit.samples:.1%} lie in a span "
            f"of it, {fit.near / fit.samples:.1%} within the clock's uncertainty of one"
        )
    start, end = attribution.serving_ns(timeline)
    before, after = int((frame["time_ns"] < start).sum()), int((frame["time_ns"] > end).sum()) if end else 0
    yield f"left out below: {before:,} samples of the engine's start, {after:,} of its end"
    for pid, thread in lost.lost_threads(read, timeline):
        yield (
            f"thread {thread} of process {pid} was lost to py-spy while it ran, as happens when a program replaces "
            "itself (exec): it is left out from then on"
        )
    yield from died(timeline, frame)


def _no_clock(about: Recording) -> str:
    """Why samples have no place on the recorder's clock."""
    if not about.recorder:
        return "py-spy was attached, and no recorder ran"
    return (
        f"py-spy was attached to a process whose recorder writes into {about.recorder}; "
        "to have both on one clock: python -m tracing.record --py-spy -- CMD"
    )


def died(timeline: Timeline, frame: pd.DataFrame) -> Iterator[str]:
    """Processes that ended out of order while others worked on: vLLM ends its idle ones by a signal."""
    last, end = frame.groupby("pid")["time_ns"].max(), attribution.serving_ns(timeline)[1]
    for process in timeline.processes:
        if not process.stopped_ns and last.get(process.pid, end) < end:
            role = ", ".join(process.serves[:1]) or "process"
            earlier_s = (last.max() - last[process.pid]) / 1e9
            yield (
                f"{role} {process.pid} did not end in order: its samples end {earlier_s:.1f} s before the last; "
                "look for the reason in its log, or: dmesg | grep -i kill"
            )


def threads(frame: pd.DataFrame) -> tuple[SampledThread, ...]:
    """A row a thread: its samples, the share of time in which it works, and what it waits for in the rest."""
    rows = []
    for (role, pid, _), mine in frame.groupby(["role", "pid", "thread"], sort=True):
        shares = attribution.by_time(mine, "state") / max(mine["weight_ns"].sum() / 1e9, 1e-9)
        waits = shares[(shares.index != WORKING) & (shares >= LEAST)]
        name, working = mine["thread_name"].iloc[0], float(shares.get(WORKING, 0))
        rows.append(SampledThread(role, name, int(pid), len(mine), working, waits.to_dict()))
    return tuple(sorted(rows, key=lambda row: place_of(row.role)))


def stages(read: Samples, frame: pd.DataFrame, top: int) -> tuple[SampledStage, ...]:
    """A row a stage and role with its share of the time in the role's stages, and in `lines` those it was in most."""
    inside = frame[frame["stage"] != ""]
    inside = inside.assign(line=_lines(read, inside))
    roles = attribution.by_time(inside, "role")
    groups = {key: rows for key, rows in inside.groupby(["role", "stage"], sort=False)}
    times = attribution.by_time(inside, "role", "stage")
    times = times[times > 0]  # rounds that the clock cannot tell apart have no time between them
    rows = []
    for role, stage in sorted(times.index, key=lambda key: (place_of(key[0]), -times[key])):
        mine, seconds = groups[role, stage], float(times[role, stage])
        working = float(attribution.by_time(mine, "state").get(WORKING, 0)) / seconds
        share, lines = float(seconds / roles[role]), _most(mine, seconds, top)
        rows.append(SampledStage(role, stage, len(mine), seconds, share, working, lines))
    return tuple(rows)


def _most(frame: pd.DataFrame, seconds: float, top: int) -> tuple[SampledLine, ...]:
    counts = frame["line"].value_counts()
    return tuple(
        SampledLine(words, int(counts[words]), float(spent), float(spent / seconds))
        for words, spent in attribution.by_time(frame, "line").iloc[:top].items()
    )


def _lines(read: Samples, frame: pd.DataFrame) -> list[str]:
    known = {stack: line(read.stacks[stack]) for stack in frame["stack"].unique()}
    return [known[stack] for stack in frame["stack"]]


def line(stack: Stack) -> str:
    """The innermost frame; where that is not vLLM's, with the innermost one that is."""
    last = stack[-1]
    ours = next((frame for frame in reversed(stack) if frame.file.startswith(VLLM)), None)
    return str(last) if ours in (None, last) else f"{last} in {ours}"
