"""What is no report: the error names what the file lacks, in one line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.nsys.nsyscommand import run
from tests.tracing.nsys.nsysfiles import NsysWriter
from tracing.nsys import file as nsysfile


def without(path: Path, statement: str) -> Path:
    """A report of the right kind, then changed."""
    NsysWriter(path).range(9, 1, 10, 20, "kv.lookup a").close()
    with sqlite3.connect(path) as file:
        file.execute(statement)
    return path


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("ALTER TABLE NVTX_EVENTS RENAME COLUMN globalTid TO thread", "missing: NVTX_EVENTS.globalTid"),
        ("ALTER TABLE StringIds RENAME TO Strings", "missing: table StringIds"),
        ("ALTER TABLE EXPORT_META_DATA RENAME TO ABOUT", "missing: table META_DATA_EXPORT or EXPORT_META_DATA"),
        (
            "UPDATE EXPORT_META_DATA SET value = '4.1.0' WHERE name = 'EXPORT_SCHEMA_VERSION'",
            "unknown layout: schema 4.1.0, Nsight Systems 2022.4.2.1",
        ),
        ("DROP TABLE NVTX_EVENTS", "has no NVTX events and no CUDA activity"),
        ("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER)", "CUPTI_ACTIVITY_KIND_KERNEL.deviceId"),
    ],
)
def test_an_unknown_layout_is_named(statement: str, error: str, tmp_path: Path) -> None:
    path = without(tmp_path / "r.sqlite", statement)
    with pytest.raises(EnginescopeError, match=error.replace(".", r"\.")):
        nsysfile.read(path)


def test_no_report_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is no database, and too long for an empty one" * 10)
    empty = NsysWriter(tmp_path / "empty.sqlite").close()
    faults = (
        (tmp_path / "text.sqlite", "cannot be read as SQLite"),
        (empty, "has no NVTX events and no CUDA activity"),
        (tmp_path / "none", "there is no file"),
        (tmp_path, "is a folder: name its nsys.nsys-rep"),
    )
    for path, words in faults:
        done = run(str(path))
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr
