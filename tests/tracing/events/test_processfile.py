"""What a process said of itself is read into one record, whatever another version says besides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.traces import process_file
from tracing.events import processfile
from tracing.events.processfile import ClockAnchor, ProcessRecord, RecordedSite

SAID = {
    "schema": 2,
    "pid": 7,
    "parent": 1,
    "title": "VLLM::EngineCore",
    "serves": ["core", "core input"],
    "sites": [{"name": "core.step", "stage": "step", "role": "core", "share": "loop", "numbers": ["", ""]}],
    "threads": {"7": "MainThread", "None": "Thread-1"},  # which had not begun to run
    "anchor": {"monotonic_ns": 100, "wall_ns": 1_000, "uncertainty_ns": 3},
    "stopped_ns": None,
}


def test_a_process_file_is_one_record(tmp_path: Path) -> None:
    (tmp_path / "process-7.json").write_text(json.dumps(SAID))
    assert processfile.read(tmp_path / "events-7.bin") == ProcessRecord(
        7,
        parent=1,
        serves=("core", "core input"),
        sites=(RecordedSite("core.step", "step", "core", "loop"),),
        threads={7: "MainThread"},
        anchor=ClockAnchor(100, 1_000, 3),
        stopped_ns=None,
    )


def test_one_of_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    path = process_file(tmp_path, 7, schema=3)
    with pytest.raises(EnginescopeError, match="has a process file of schema 3, this reader knows 1 and 2"):
        processfile.read(path)


def test_a_copy_has_what_the_original_says_and_more(tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "process-7.json").write_text(json.dumps(SAID))
    (tmp_path / "process-8.json").write_text("{half of")
    for pid in (7, 8):
        processfile.copy(tmp_path / f"events-{pid}.bin", tmp_path / "copies", dropped=5)
    [copy] = (tmp_path / "copies").iterdir()
    assert copy.name == "process-7.json" and json.loads(copy.read_text()) == SAID | {"dropped": 5}
