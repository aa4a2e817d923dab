"""Which spans belong to a request."""

from __future__ import annotations

from pathlib import Path

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.events.layout import CALLED, ENDED, SUSPENDED, YIELDED
from tracing.timeline.index import Index
from tracing.timeline.requests import flows
from tracing.timeline.requestspans import carried, named, own_rows

KEY = 10**12


def test_its_ids_its_steps_and_its_messages_without_what_names_another(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"]).span("llm.add_request", 100, 190, "a")
    front.span("input.assign_id", 110, 120, "a-1").renamed("a-1", "a").span(
        "output.process", 900, 950, step=KEY
    ).close()
    core = TraceWriter(tmp_path, 11, ["core"], parent=10).span("scheduler.schedule", 500, 600, step=0)
    core.span("kv.allocate", 510, 520, "a-1", step=0).span("kv.allocate", 530, 540, "b-1", step=0)
    core.batch(0, {"a-1": 1, "b-1": 1}).message(0, KEY).counts(0, {}).span("scheduler.schedule", 1500, 1600, step=1)
    core.close()
    index = Index(timeline.read(tmp_path))
    [flow] = flows(index)
    assert [(index.site(row), index.name(row)) for row in own_rows(index, flow).tolist()] == [
        ("llm.add_request", "a"),
        ("input.assign_id", "a-1"),
        ("scheduler.schedule", ""),
        ("kv.allocate", "a-1"),
        ("output.process", ""),
    ]
    assert "b-1" in [index.name(row) for row in carried(index, flow).tolist()]


def test_calls_in_flight_with_one_id_do_not_share_their_spans(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"], threads={1: "MainThread", 2: "pool"})
    for call, at in ((1, 1000), (3, 1100)):
        front.span("async.generate", at, at, "same", value=CALLED, extra=call << 1)
        front.span("async.generate", at + 10, at + 50, "same", value=SUSPENDED, extra=call << 1)
        front.span("async.add_request", at + 20, at + 40, "same", value=SUSPENDED, extra=call + 1 << 1)
    for call, at in ((1, 1200), (3, 1300)):
        front.span("input.process", at, at + 50, "same", thread=2)
        front.span("async.generate", at + 60, at + 90, "same", value=SUSPENDED, extra=call << 1)
        front.span("async.add_request", at + 65, at + 80, "same", value=ENDED, extra=call + 1 << 1)
        front.span("input.assign_id", at + 70, at + 75, f"same-{call}").renamed(f"same-{call}", "same")
    for call, at in ((3, 1800), (1, 1900)):
        front.span("async.generate", at, at + 10, "same", value=YIELDED, extra=call << 1 | 1)
    front.close()
    index = Index(timeline.read(tmp_path))
    both = flows(index)
    first, second = (own_rows(index, flow) for flow in both)
    assert not set(first.tolist()) & set(second.tolist())
    assert index.start[first].tolist() == [1000, 1010, 1020, 1200, 1260, 1265, 1270, 1900]
    of, rows = named(index, both)
    assert [rows[of == place].tolist() for place in (0, 1)] == [first.tolist(), second.tolist()]
