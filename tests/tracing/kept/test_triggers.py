"""Triggers fire on what rings hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracing.events import layout
from tracing.events.layout import CALLED, YIELDED
from tracing.kept.condition import parse
from tracing.kept.triggers import Triggers
from tracing.sites.engine import CODES

MS = 1_000_000


Row = tuple[str, int, int, int, int, int]  # site, start and end in ms, step, value, extra


def records_of(rows: Sequence[Row]) -> np.ndarray:
    """Spans as a ring holds them."""
    records = np.zeros(len(rows), layout.RECORD)
    for row, (site, start, end, step, value, extra) in zip(records, rows, strict=True):
        row["kind"] = layout.RAISED if value == -1 else layout.SPAN
        row["site"], row["start"], row["end"] = CODES[site], start * MS, end * MS
        row["step"], row["value"], row["extra"] = step, value, extra
    return records


def fired(*conditions: str, rows: Sequence[Row]) -> list[tuple[str, int]]:
    """The conditions that spans meet, and by which values in ms."""
    triggers = Triggers([parse(text) for text in conditions])
    return [(firing.condition, firing.value_ns // MS) for firing in triggers.look(1, records_of(rows))]


CALL = [
    ("async.generate", 0, 0, -1, CALLED, 2),
    ("async.generate", 40, 50, -1, YIELDED, 2),
    ("async.generate", 350, 351, -1, YIELDED, 2),
    ("async.generate", 400, 401, -1, YIELDED, 3),
]


def test_what_a_call_fires() -> None:
    assert fired("ttft > 49ms", rows=CALL) == [("ttft > 49ms", 50)]
    assert fired("itl > 300ms", rows=CALL) == [("itl > 300ms", 301)]
    assert fired("latency > 400ms", "latency > 1s", rows=CALL) == [("latency > 400ms", 401)]


def test_of_a_call_that_began_before_the_watch_the_times_between_outputs_are_known() -> None:
    conditions = "ttft > 1ms", "itl > 300ms", "latency > 1ms", "stuck > 1s"
    assert fired(*conditions, rows=CALL[1:]) == [("itl > 300ms", 301)]
    assert fired(*conditions, rows=CALL[3:]) == []


def test_what_the_core_fires() -> None:
    rows = [("scheduler.schedule", 0, 1, 7, 0, 0), ("scheduler.preempt", 1, 1, 7, 0, 0)]
    rows += [("scheduler.update", 100, 120, 7, 0, 0), ("worker.execute", 130, 131, 8, -1, 0)]
    every = fired("step > 100ms", "preempted", "error", rows=rows)
    assert every == [("preempted", 0), ("step > 100ms", 120), ("error", 0)]


BATCH = [
    ("llm.add_request", 0, 1, -1, 0, 0),
    ("core.add_request", 2, 3, -1, 5, 16),
    ("scheduler.free", 400, 402, 9, 16, 0),
]


def test_what_a_request_of_a_batch_fires() -> None:
    """`LLM.generate` hands over all outputs at its end."""
    assert fired("ttft > 1ms", "itl > 1ms", "latency > 399ms", rows=BATCH) == [("latency > 399ms", 400)]
    assert fired("latency > 1ms", rows=BATCH[1:]) == []  # of `AsyncLLM`, whose calls say it
