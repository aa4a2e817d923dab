"""The tables of `tracing.pyspy`: samples by thread, and by stage down to the line."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.table import Table

from tracing import attribution
from tracing.samples import CONFIDENT, Samples, Stack
from tracing.site import ROLES
from tracing.timeline import Timeline
from tracing.waitingframes import VLLM, WORKING

LEAST = 0.0005  # of a thread's samples: less is not listed
PLAIN_WIDTH = 180  # of what is not a terminal: no column is cut there


def head(samples: Samples, frame: pd.DataFrame, timeline: Timeline | None) -> Iterator[str]:
    """What was sampled, how sure its place in time is, what is left out, and what went wrong."""
    said = samples.said
    yield (
        f"{said['version']}, {said['rate']} a second asked, {samples.rate:.0f} taken: {samples.rounds:,} rounds, "
        f"{len(frame):,} samples of {frame['pid'].nunique()} processes, {len(samples.names)} threads"
    )
    if samples.uncertainty_ns >= 0:
        yield (
            f"clock: {CONFIDENT} % of the rounds are within ±{samples.uncertainty_ns / 1e6:.1f} ms of their place, "
            f"99 % within ±{samples.within_ns(99) / 1e6:.1f} ms, the worst ±{samples.within_ns(100) / 1e6:.1f} ms"
        )
        if samples.behind_s:
            yield (
                f"py-spy was up to {samples.behind_s:.1f} s behind and caught up with rounds closer together; "
                "a lower rate is more even"
            )
    else:
        yield "clock: none (no recorder ran); samples are counted at the rate asked for, an estimate"
    if timeline is not None:
        fit = attribution.agreement(frame, timeline, samples.uncertainty_ns)
        if fit.samples:
            yield (
                f"check: of {fit.samples:,} samples in a hooked function {fit.inside / fit.samples:.1%} lie in a span "
                f"of it, {fit.near / fit.samples:.1%} within the clock's uncertainty of one"
            )
        start, end = attribution.serving_ns(timeline)
        before, after = int((frame["time_ns"] < start).sum()), int((frame["time_ns"] > end).sum()) if end else 0
        yield f"left out below: {before:,} samples of the engine's start, {after:,} of its end"
        yield from died(timeline, frame)
    if samples.torn:
        yield "py-spy's file breaks off: it was killed while it wrote; what came before is shown. Record it again"
    if said["early"]:
        seconds = (said["ended_ns"] - said["started_ns"]) / 1e9
        who = "py-spy" if said["beacon"] else f"process {said['root']}"
        yield f"{who} ended after {seconds:.1f} s, before the rest: samples until then are shown"


def died(timeline: Timeline, frame: pd.DataFrame) -> Iterator[str]:
    """Processes that were sampled and did not end in order."""
    last = frame.groupby("pid")["time_ns"].max()
    for process in timeline.processes:
        if process.get("stopped_ns") is None and process["pid"] in last.index:
            role = ", ".join(process["serves"][:1]) or "process"
            earlier_s = (last.max() - last[process["pid"]]) / 1e9
            yield (
                f"{role} {process['pid']} did not end in order: its samples end {earlier_s:.1f} s before the last; "
                "look for the reason in its log, or: dmesg | grep -i kill"
            )


def threads(frame: pd.DataFrame) -> Table:
    """A row a thread: its samples, the share of time in which it works, and what it waits for in the rest."""
    columns = ["role", "thread", "process", "samples", "working", "waiting for"]
    table = _table("who works and who waits", columns, (2, 3, 4))
    groups = [
        (_place(role), role, pid, thread, rows)
        for (role, pid, thread), rows in frame.groupby(["role", "pid", "thread"], sort=True)
    ]
    for _, role, pid, _, rows in sorted(groups, key=lambda group: group[:4]):
        shares = attribution.by_time(rows, "state") / (rows["weight_ns"].sum() / 1e9)
        told = shares[(shares.index != WORKING) & (shares >= LEAST)]
        waits = ", ".join(f"{state} {share:.1%}" for state, share in told.items())
        name = rows["thread_name"].iloc[0]
        table.add_row(role, name, str(pid), f"{len(rows):,}", f"{shares.get(WORKING, 0):.1%}", waits)
    return table


def stages(samples: Samples, frame: pd.DataFrame, top: int) -> Table:
    """A row a stage and role with its share of the time in the role's stages; below it the lines it was in most."""
    columns = ["role", "stage", "samples", "seconds", "share", "working", "line"]
    table = _table("what the Python of each stage does", columns, (2, 3, 4, 5))
    inside = frame[frame["stage"] != ""]
    inside = inside.assign(line=_lines(samples, inside))
    roles = attribution.by_time(inside, "role")
    groups = {key: rows for key, rows in inside.groupby(["role", "stage"], sort=False)}
    times = attribution.by_time(inside, "role", "stage")
    for role, stage in sorted(times.index, key=lambda key: (_place(key[0]), -times[key])):
        rows, seconds = groups[role, stage], times[role, stage]
        working = attribution.by_time(rows, "state").get(WORKING, 0.0) / seconds
        numbers = (f"{len(rows):,}", f"{seconds:.2f}", f"{seconds / roles[role]:.1%}", f"{working:.0%}")
        table.add_row(role, stage, *numbers, "", style="bold")
        counts = rows["line"].value_counts()
        for words, spent in attribution.by_time(rows, "line").iloc[:top].items():
            table.add_row("", "", f"{counts[words]:,}", f"{spent:.2f}", f"{spent / seconds:.1%}", "", words)
    return table


def _place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _lines(samples: Samples, frame: pd.DataFrame) -> list[str]:
    known = {stack: line(samples.stacks[stack]) for stack in frame["stack"].unique()}
    return [known[stack] for stack in frame["stack"]]


def line(stack: Stack) -> str:
    """The innermost frame; where that is not vLLM's, with the innermost one that is."""
    last = stack[-1]
    ours = next((frame for frame in reversed(stack) if frame.file.startswith(VLLM)), None)
    return str(last) if ours in (None, last) else f"{last} in {ours}"


def _table(title: str, columns: list[str], right: tuple[int, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        last = place == len(columns) - 1
        table.add_column(
            name,
            justify="right" if place in right else "left",
            overflow="fold" if last else "ellipsis",
            no_wrap=not last,
        )
    return table
