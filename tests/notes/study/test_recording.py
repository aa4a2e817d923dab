"""The recorded behaviour that exercises are judged by: whole, of a known machine, and read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes import recorded
from notes.study import recording
from probes.errors import EnginescopeError
from tests.tracing.traces import TraceWriter
from tracing.sites.site import ROLES


def test_the_recording_is_whole_and_names_its_machine() -> None:
    committed = recording.read()
    assert "vllm 0." in committed.about and "cores" in committed.about
    assert {span.role for span in committed.first_token} == set(ROLES)
    assert len(committed.abort) == len(recorded.ABORT_SITES)
    for story in (committed.first_token, committed.abort):
        assert [span.start_ns for span in story] == sorted(span.start_ns for span in story)
        assert all(0 <= span.start_ns <= span.end_ns for span in story)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording.write(recording.read(), tmp_path / "recorded.json")
    assert (tmp_path / "recorded.json").read_text() == recording.FILE.read_text()


def test_a_recording_of_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "recorded.json").write_text('{"schema": 0}')
    with pytest.raises(EnginescopeError, match=r"recorded\.json is of schema 0, not 1: write it again with"):
        recording.read(tmp_path / "recorded.json")


def test_a_trace_without_an_abort_makes_no_record(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 10, ["front end"]).span("llm.generate", 1, 9).close()
    with pytest.raises(EnginescopeError, match=r"one that was left; record: python -m tracing\.record"):
        recorded.recording(tmp_path)
