"""The event files as bytes: texts beside the records, a record's place as its number, a ring, an older schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.errors import EnginescopeError
from tests.tracing.traces import TraceWriter
from tracing.events import layout
from tracing.events.file import read
from tracing.events.schemaone import OLD_LIST, OLD_MORE, OLD_TEXT
from tracing.events.texts import read_texts
from tracing.hooks import _recorder
from tracing.sites.engine import CODES


def test_a_text_is_written_once_and_apart_from_the_records(tmp_path: Path) -> None:
    path = tmp_path / "events-7.bin"
    _recorder.start(str(path), layout.SCHEMA, 0)
    for request in ("a", "bé", "a", "c" * 20):
        _recorder.span(3, 1, request)
    _recorder.stop()
    assert read(path).spans["request"].tolist() == [1, 2, 1, 3]
    assert path.with_suffix(".texts").read_bytes() == (
        b"ESTEXTS1"
        b"\x01\0\0\0\x01\0\0\0a\0\0\0\0\0\0\0"
        b"\x02\0\0\0\x03\0\0\0b\xc3\xa9\0\0\0\0\0"
        b"\x03\0\0\0\x14\0\0\0" + b"c" * 20 + b"\0" * 4
    )


def test_a_text_that_was_cut_is_counted_and_those_before_it_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events-7.texts"
    whole = b"ESTEXTS1\x01\0\0\0\x01\0\0\0a\0\0\0\0\0\0\0"
    for rest, cut in ((b"", 0), (b"\0" * 64, 0), (b"\0\0\0\0\x09\0\0\0abc", 1), (b"\x02\0\0\0\x09\0\0\0abc", 1)):
        path.write_bytes(whole + rest)
        assert read_texts(path) == ({1: "a"}, cut)
    assert read_texts(tmp_path / "none.texts") == ({}, 0)
    path.write_bytes(b"something else")
    with pytest.raises(EnginescopeError, match="holds no texts of enginescope"):
        read_texts(path)


def test_the_header_counts_what_is_written_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events-7.bin"
    _recorder.start(str(path), layout.SCHEMA, 0)
    for count in range(1, 4):
        _recorder.span(3, count)
        header = np.fromfile(path, layout.HEADER, count=1)[0]
        assert (header["written"], header["dropped"], header["ring"]) == (count, 0, 0)
    _recorder.stop()


def test_a_place_that_was_taken_and_not_filled_is_torn(tmp_path: Path) -> None:
    """The process was killed between the two."""
    path = TraceWriter(tmp_path, 7, ["core"]).span("kv.lookup", 1, 2).span("kv.lookup", 3, 4).close()
    raw = bytearray(path.read_bytes())
    assert read(path).torn == 0
    raw[-2:] = b"\0\0"
    path.write_bytes(raw)
    assert (len(read(path).spans), read(path).torn) == (1, 1)


def ring(path: Path, slots: int, written: int) -> np.ndarray:
    """A ring after so many records, each with its sequence number as its start."""
    header = np.zeros(1, layout.HEADER)
    header["magic"], header["schema"], header["written"], header["ring"] = layout.MAGIC, layout.SCHEMA, written, slots
    records = np.zeros(slots, layout.RECORD)
    for number in range(written):
        row = records[number % slots : number % slots + 1]
        row["start"], row["kind"] = number, layout.SPAN | (number // slots & 0xFF) << 8
    path.write_bytes(header.tobytes() + records.tobytes())
    return records


@pytest.mark.parametrize(
    ("slots", "written", "numbers"),
    [
        (4, 3, [0, 1, 2]),
        (4, 4, [0, 1, 2, 3]),
        (4, 6, [2, 3, 4, 5]),
        (4, 4 * 300 + 1, [1197, 1198, 1199, 1200]),  # more laps than a byte counts
    ],
)
def test_a_ring_is_read_in_the_order_of_its_numbers(
    tmp_path: Path, slots: int, written: int, numbers: list[int]
) -> None:
    path = tmp_path / "events-7.bin"
    ring(path, slots, written)
    file = read(path)
    assert (file.spans["start"].tolist(), file.torn) == (numbers, 0)


def test_a_slot_of_an_earlier_lap_is_torn(tmp_path: Path) -> None:
    """Its place was taken for a newer record that was not finished."""
    path = tmp_path / "events-7.bin"
    records = ring(path, 4, 6)
    header = np.fromfile(path, layout.HEADER, count=1)
    header["written"] = 7  # the third slot holds number 2 still
    path.write_bytes(header.tobytes() + records.tobytes())
    file = read(path)
    assert (file.spans["start"].tolist(), file.torn) == ([3, 4, 5], 1)


@pytest.mark.parametrize("schema", [0, 3])
def test_an_unknown_schema_is_refused_in_one_line(tmp_path: Path, schema: int) -> None:
    path = TraceWriter(tmp_path, 7, ["core"]).span("kv.lookup", 1, 2).close()
    header = np.fromfile(path, layout.HEADER, count=1)
    header["schema"] = schema
    path.write_bytes(header.tobytes() + path.read_bytes()[layout.HEADER.itemsize :])
    with pytest.raises(EnginescopeError, match=rf"is of schema {schema}, this reader knows 1 and 2: record it again$"):
        read(path)


def schema_one(path: Path, *rows: dict[str, int] | bytes) -> Path:
    """A file of schema 1: records by their fields, and payloads of what stands before them."""
    header = np.zeros(1, layout.HEADER)
    header["magic"], header["schema"] = layout.MAGIC, 1
    pieces = [header.tobytes()]
    for row in rows:
        if isinstance(row, bytes):
            pieces.append(row.ljust(layout.PAYLOAD_BYTES, b"\0") + b"\0\0" + OLD_MORE.to_bytes(2, "little"))
        else:
            record = np.zeros(1, layout.RECORD)
            for name, value in row.items():
                record[name] = value
            pieces.append(record.tobytes())
    path.write_bytes(b"".join(pieces) + bytes(3 * layout.RECORD.itemsize))  # room that was never written
    return path


def test_schema_one_had_its_texts_among_the_records(tmp_path: Path) -> None:
    request = "request-with-a-name-longer-than-forty-four-bytes"
    batch = np.array([1, 5], "<u4").tobytes()  # five tokens of the request
    path = schema_one(
        tmp_path / "events-7.bin",
        {"kind": OLD_TEXT, "request": 1, "value": len(request)},
        request[:44].encode(),
        request[44:].encode(),
        {"kind": layout.SPAN, "start": 10, "end": 20, "request": 1, "site": CODES["kv.lookup"]},
        {"kind": OLD_LIST, "site": layout.BATCH, "value": 2, "step": 3},
        batch,
        {"kind": OLD_TEXT, "request": 2, "value": 100},  # cut: its payload was never written
    )
    file = read(path)
    assert file.texts == {1: request}
    assert file.spans["start"].tolist() == [10]
    heads, counts, words = file.lists[layout.BATCH]
    assert (heads["step"].tolist(), counts.tolist(), words.tolist()) == ([3], [2], [1, 5])
    assert file.torn == 1
