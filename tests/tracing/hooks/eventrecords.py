"""An event file that is being written, and what the recorder has written to it so far."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracing.events import layout
from tracing.events.standing import PAUSED, RECORDING
from tracing.events.texts import read_texts
from tracing.hooks import _recorder

HALF = 32  # bits of a list's integers


class DevicePiece(NamedTuple):
    """A piece of a device's work, in ns of CLOCK_MONOTONIC.

    It was busy for `end_ns - begin_ns` at most, and from `given_ns` to `end_ns` for sure. An idle device begins a
    launch's latency after `begin_ns`.
    """

    step: int
    begin_ns: int
    end_ns: int
    uncertainty_ns: int  # of the end, and of a begin that is the end of what was given before
    given_ns: int


@contextmanager
def written(most: int = 0) -> Iterator[Path]:
    """A new event file for at most so many records (never less than a chunk), until the block ends."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "events.bin")
        _recorder.start(str(path), layout.SCHEMA, most)
        try:
            yield path
        finally:
            _recorder.stop()
            _recorder.set_step(-1)


@contextmanager
def paused(switch: Path) -> Iterator[None]:
    """Nothing is written within the block, by a byte of a file that is made for it."""
    switch.write_bytes(bytes([PAUSED]))
    _recorder.pause_by(str(switch))
    try:
        yield
    finally:
        switch.write_bytes(bytes([RECORDING]))


def records(path: Path) -> np.ndarray:
    """What has been written so far, without the header."""
    found = np.fromfile(path, dtype=layout.RECORD)[1:]
    return found[found["kind"] != 0]


def spans(path: Path) -> list[dict[str, int]]:
    return [
        {name: int(row[name]) for name in layout.RECORD.names or ()}
        for row in records(path)
        if row["kind"] in (layout.SPAN, layout.RAISED)
    ]


def texts(path: Path) -> dict[int, str]:
    """Texts by their number."""
    return read_texts(path.with_suffix(".texts"))[0]


def numbers(path: Path, code: int) -> list[list[int]]:
    """The lists of a code."""
    found, rows = [], records(path)
    for index in np.flatnonzero((rows["kind"] == layout.LIST) & (rows["site"] == code)):
        count = int(rows[index]["value"])
        more = rows[index + 1 : index + 1 + -(-count * 4 // layout.PAYLOAD_BYTES)]
        payload = b"".join(row.tobytes()[: layout.PAYLOAD_BYTES] for row in more)
        found.append(np.frombuffer(payload, "<u4")[:count].tolist())
    return found


def pieces_of(file: Path) -> list[DevicePiece]:
    """A device's work, in the order in which it was read."""
    heads = [row for row in records(file) if row["kind"] == layout.LIST and row["site"] == layout.DEVICE]
    pieces = []
    for head, row in zip(heads, numbers(file, layout.DEVICE), strict=True):
        begin, end, given = (low + (high << HALF) for low, high in zip(row[0:6:2], row[1:6:2], strict=True))
        pieces.append(DevicePiece(int(head["step"]), begin, end, row[6], given))
    return pieces
