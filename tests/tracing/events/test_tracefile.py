"""`trace.json` as it is written and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing.breakdown.findings import about
from tracing.events.tracefile import FILE, read_trace
from tracing.timeline import read


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = recorded(tmp_path, nvtx=True, py_spy=100, problems=("a", "b"))
    assert read_trace(tmp_path) == trace
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_recorder_that_was_killed_before_it_wrote_one_has_none(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 7, ["core"]).span("kv.lookup", 1, 2).close()
    assert read_trace(tmp_path) is None
    assert about(read(tmp_path)) == "unknown command; unknown machine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": 0, "command": "true"}', "is of schema 0, this version reads 1: record it again"),
        ('{"command": "true"}', "is of schema None, this version reads 1"),
        ('{"schema": 1, "command": "true"}', "is damaged: no key 'machine' in a TraceRecord"),
        ('{"schema": 1', "is damaged"),
        ("[]", "is damaged"),
    ],
)
def test_one_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(EnginescopeError, match=reason) as raised:
        read_trace(tmp_path)
    assert "\n" not in str(raised.value)


def test_it_holds_the_schema_and_the_fields_as_json(tmp_path: Path) -> None:
    recorded(tmp_path)
    values = json.loads((tmp_path / FILE).read_text())
    assert (values["schema"], values["state"], values["problems"]) == (1, "ended", [])
    assert values["machine"]["cpu_model"]
