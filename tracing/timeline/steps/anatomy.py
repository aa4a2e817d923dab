"""What an engine step is made of: its phases, its kind, and its workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tracing.timeline.intervals import Ints
from tracing.timeline.spans import Timeline
from tracing.timeline.steps import phases, workers
from tracing.timeline.steps.phases import NAMES
from tracing.timeline.steps.workers import core_of

KINDS = ("prefill", "mixed", "first decode", "decode", "empty")
MESSAGES = ("core.encode", "core.send")


def anatomy(timeline: Timeline) -> pd.DataFrame:
    """A row a step, by core process and number.

    `start_ns`, `end_ns` (from the call of `schedule` to the end of the update), `period_ns` (to the next step's start,
    -1 for the last), `kind`, the counts of the step, `<phase>_ns` for each of `PHASES` and `unexplained_ns`, which add
    up to its length, `output_ns` (making its messages, after its end), `worker` (the process of the slowest one, -1:
    none) and `worker_spread_ns` (by how much that exceeds the fastest).
    """
    steps = _steps(timeline)
    cores = core_of(timeline)
    steps["worker"], steps["worker_spread_ns"] = workers.slowest(workers.runs(timeline, steps, cores), len(steps))
    total = phases.divided(timeline, steps, cores)
    columns = {f"{phase}_ns": total[:, number] for number, phase in enumerate(NAMES)}
    columns["unexplained_ns"] = (steps["end_ns"] - steps["start_ns"]).to_numpy() - total.sum(axis=1)
    columns["output_ns"] = _output(timeline, steps)
    return steps.assign(**columns)


def by_kind(steps: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The steps of each kind that there is, in the order of `KINDS`."""
    groups = ((kind, steps[steps["kind"] == kind]) for kind in KINDS)
    return ((kind, rows) for kind, rows in groups if len(rows))


def working(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps that scheduled something."""
    return steps[steps["kind"] != "empty"]


def scheduled_tokens(steps: pd.DataFrame) -> pd.Series:
    """The tokens of each step."""
    return steps["prefill_tokens"] + steps["decode_tokens"]


def batch_sizes(steps: pd.DataFrame) -> pd.Series:
    """The requests of each step."""
    return steps["prefill_requests"] + steps["decode_requests"]


def _steps(timeline: Timeline) -> pd.DataFrame:
    """The steps that were scheduled and updated, with their times and kinds."""
    schedules = _edges(timeline.spans, "scheduler.schedule", "start_ns")
    updates = _edges(timeline.spans, "scheduler.update", "end_ns")
    steps = timeline.steps.merge(schedules, on=["pid", "step"]).merge(updates, on=["pid", "step"])
    steps = steps[steps["end_ns"] >= steps["start_ns"]].sort_values(["pid", "start_ns"], ignore_index=True)
    following = steps.groupby("pid")["start_ns"].shift(-1, fill_value=-1)
    steps["period_ns"] = np.where(following > 0, following - steps["start_ns"], -1)
    steps["kind"] = [_kind(*row) for row in steps[["prefill_requests", "decode_requests", "first_decodes"]].to_numpy()]
    return steps


def _kind(prefills: int, decodes: int, first_decodes: int) -> str:
    if not prefills and not decodes:
        return "empty"
    if prefills:
        return "mixed" if decodes else "prefill"
    return "first decode" if first_decodes else "decode"


def _edges(spans: pd.DataFrame, site: str, edge: str) -> pd.DataFrame:
    rows = spans[(spans["site"] == site) & (spans["step"] >= 0)]
    return rows[["pid", "step", edge]].drop_duplicates(["pid", "step"], keep="first" if edge == "start_ns" else "last")


def _output(timeline: Timeline, steps: pd.DataFrame) -> Ints:
    """The time of making and sending each step's messages, which their keys tell."""
    spans = timeline.spans
    rows = spans[spans["site"].isin(MESSAGES)]
    sent = timeline.messages.drop_duplicates(["pid", "key"])[["pid", "key", "step"]]
    rows = rows[["pid", "step", "start_ns", "end_ns"]].rename(columns={"step": "key"}).merge(sent, on=["pid", "key"])
    place = workers.places(steps, rows["pid"].to_numpy(dtype=np.int64), rows["step"].to_numpy(dtype=np.int64))
    total = np.zeros(len(steps) + 1, dtype=np.int64)  # the last one is for messages of no step
    np.add.at(total, place, (rows["end_ns"] - rows["start_ns"]).to_numpy(dtype=np.int64))
    return total[:-1]
