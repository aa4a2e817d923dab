"""A span's cost is that of the kinds of spans that were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracing.traces import TraceWriter
from tracing.record import spancost
from tracing.sites.engine import ALL_SITES, CODES


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("runner.update", "plain_ns"),
        ("kv.lookup", "request_ns"),
        ("core.send", "request_ns"),
        ("executor.wait", "python_ns"),
        ("core.encode", "python_ns"),
        ("scheduler.schedule", "batch_ns"),
        ("async.generate", "segment_ns"),
    ],
)
def test_the_kind_of_a_site(site: str, kind: str) -> None:
    assert spancost.kind_of(ALL_SITES[CODES[site]]).__name__ == kind


def test_kinds_count_by_their_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cost in (("plain_ns", 100.0), ("segment_ns", 1000.0)):
        monkeypatch.setattr(spancost, name, lambda cost=cost: cost)
    writer = TraceWriter(tmp_path, 7, ["front end"])
    for start in range(8):
        writer.span("runner.update", start, start + 1)
    writer.span("async.generate", 20, 21).close()
    counts = spancost.span_counts(tmp_path)
    assert counts == {"runner.update": 8, "async.generate": 1}
    assert spancost.ns_per_span(counts) == 200.0


def test_every_kind_can_be_measured() -> None:
    for site in ("runner.update", "kv.lookup", "executor.wait", "scheduler.schedule", "async.abort"):
        assert isinstance(spancost.ns_per_span({site: 1}), float)


def test_nothing_recorded_costs_what_is_not_known(tmp_path: Path) -> None:
    assert spancost.ns_per_span(spancost.span_counts(tmp_path)) is None
