"""A ring is read while it is written, and after its process was killed: nothing is lost that is not counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tracing.attach.ringtrial import trial
from tests.tracing.traces import process_file
from tracing.attach import ring
from tracing.attach.moved import Moved
from tracing.attach.ring import PIECE, Ring
from tracing.attach.tracefiles import whole_from
from tracing.events import layout
from tracing.events.file import read
from tracing.events.texts import GrowingTexts, ring_texts
from tracing.hooks import _recorder

SLOTS = (1 << 16) - 1  # of the smallest ring


def ring_file(path: Path, slots: int, written: int) -> None:
    """A ring after so many spans, each with its sequence number as its start and end."""
    header = np.zeros(1, layout.HEADER)
    header["magic"], header["schema"], header["written"], header["ring"] = layout.MAGIC, layout.SCHEMA, written, slots
    records = np.zeros(slots, layout.RECORD)
    for number in range(written):
        row = records[number % slots : number % slots + 1]
        row["start"], row["end"], row["kind"] = number, number, layout.SPAN | (number // slots & 0xFF) << 8
    path.write_bytes(header.tobytes() + records.tobytes())


@pytest.mark.parametrize(("written", "numbers", "lost"), [(3, [0, 1, 2], 0), (6, [2, 3, 4, 5], 2)])
def test_what_was_overwritten_is_counted(tmp_path: Path, written: int, numbers: list[int], lost: int) -> None:
    ring_file(tmp_path / "events-7.bin", 4, written)
    ring = Ring(tmp_path / "events-7.bin")
    assert (ring.take()["start"].tolist(), ring.lost, ring.next) == (numbers, lost, written)
    assert ring.take().tolist() == []


def test_what_is_older_than_a_moment_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the last ones, which may be being written, and for what threads write out of order; what was overwritten
    is lost where the moment is before it."""
    monkeypatch.setattr(ring, "OUT_OF_ORDER_NS", 100)
    ring_file(tmp_path / "events-7.bin", 1000, 1500)
    for moment, first in ((0, 500), (1200, 1100), (5000, 1500 - PIECE)):
        read_late = Ring(tmp_path / "events-7.bin")
        read_late.skip_before(moment)
        assert (read_late.take()["end"].tolist(), read_late.lost) == (list(range(first, 1500)), 0 if moment else 500)


@pytest.mark.parametrize(
    ("written", "numbers", "lost"),
    [(2, [0, 1], 0), (6, [3, 4, 5], 3)],  # the next one's slot is still empty, or still holds number 2
)
def test_a_record_that_is_being_written_is_left_for_the_next_time(
    tmp_path: Path, written: int, numbers: list[int], lost: int
) -> None:
    path = tmp_path / "events-7.bin"
    ring_file(path, 4, written)
    header = np.fromfile(path, layout.HEADER, count=1)
    header["written"] = written + 1
    path.write_bytes(header.tobytes() + path.read_bytes()[layout.HEADER.itemsize :])
    ring = Ring(path)
    assert (ring.take()["start"].tolist(), ring.lost, ring.next) == (numbers, lost, written)
    assert ring.take(at_end=True)["kind"].tolist() == [0]


def test_what_was_dropped_before_the_recording_began_is_not_its_loss(tmp_path: Path) -> None:
    """Neither by the ring's header nor by what the process said of itself."""
    source, out = tmp_path / "standing", tmp_path / "trace"
    for folder in (source, out):
        folder.mkdir()
    path = source / "events-7.bin"
    ring_file(path, 4, 2)
    process_file(source, 7, dropped=5)
    drop(path, 5)
    moved = Moved(source, out)
    moved.skip()
    drop(path, 6)
    moved.close()
    assert read(out / path.name).dropped == 1


def drop(path: Path, count: int) -> None:
    """Say in a ring's header that so many records found no room."""
    header = np.fromfile(path, layout.HEADER, count=1)
    header["dropped"] = count
    path.write_bytes(header.tobytes() + path.read_bytes()[layout.HEADER.itemsize :])


def test_the_recorder_writes_a_ring_that_the_reader_of_files_reads(tmp_path: Path) -> None:
    path = tmp_path / "events-7.bin"
    _recorder.start(str(path), layout.SCHEMA, 0, 1)
    for number in range(2 * SLOTS + 5):
        _recorder.span(1, number, None, number)
        if number % 1000 == 0:
            _recorder.extend()
    _recorder.stop()
    file = read(path)
    assert (file.torn, file.dropped) == (0, 0)
    assert file.spans["value"].tolist() == list(range(SLOTS + 5, 2 * SLOTS + 5))


def test_texts_beside_a_ring_take_bounded_room_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "events-7.bin"
    _recorder.start(str(path), layout.SCHEMA, 0, 1)
    growing = GrowingTexts(path.with_suffix(".texts"), SLOTS)
    for number in range(40_000):
        for _ in range(5):
            _recorder.span(1, 1, f"a request whose id is long enough {number}")
        _recorder.span(1, 1, "always there")
        if number % 500 == 0:
            _recorder.extend()
            growing.read()
    names = ring_texts(path.with_suffix(".texts"), SLOTS)
    numbers = {text: number for number, text in names.items()}
    assert dict(growing.read()) == names
    records = Ring(path).take()
    assert _recorder.counts()[1] == 0
    _recorder.stop()
    assert path.with_suffix(".texts").stat().st_size == 2 * (SLOTS + 1) * layout.TEXT_BYTES_PER_SLOT
    assert set(records["request"].tolist()) <= set(names)
    assert numbers["always there"] == 2 and len(numbers) == len(names) > 3000


def test_a_text_is_known_for_as_long_as_the_ring_may_hold_it(tmp_path: Path) -> None:
    """However many there were in a day, a process has those of two laps in its memory."""
    path = tmp_path / "events-7.bin"
    _recorder.start(str(path), layout.SCHEMA, 0, 1)
    _recorder.span(1, 1, "met again after three laps")
    for number in range(3 * SLOTS):
        _recorder.span(1, 1, "met all the time" if number % 2 else f"request {number // 100}")
        if number % 1000 == 0:
            _recorder.extend()
    _recorder.span(1, 1, "met again after three laps")
    numbers = Ring(path).take()["request"].tolist()
    names = ring_texts(path.with_suffix(".texts"), SLOTS)
    _recorder.stop()
    assert names[1] == names[numbers[-1]] == "met again after three laps" and numbers[-1] > 1
    assert {number for number, name in names.items() if name == "met all the time"} == {3}
    assert set(numbers) <= set(names)


def test_the_rest_of_a_list_tells_no_time() -> None:
    """Its beginning was overwritten: its numbers stand where a span has its times."""
    records = np.zeros(3, layout.RECORD)
    records["kind"], records["end"] = [layout.MORE, layout.SPAN, layout.SPAN], [0, 70, 80]
    assert whole_from(records) == 70


@pytest.mark.parametrize("seed", range(6))
def test_no_gap_is_unreported(tmp_path: Path, seed: int) -> None:
    """Six of the thousand that `tests/bench/ring.py` runs."""
    assert trial(tmp_path, seed).torn <= 2
