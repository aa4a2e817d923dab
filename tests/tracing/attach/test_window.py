"""The last seconds of a process that stands in for an engine's, look by look."""

from __future__ import annotations

import time
from pathlib import Path

from tests.tracing.attach.standingprocess import counting, folder_of
from tracing.attach.window import LastSeconds, length_s
from tracing.events.file import EventFile

PAUSE_S = 0.1
EVER_S = 60.0


def counters(file: EventFile) -> list[int]:
    """What the process had counted at each of its spans."""
    return [int(value) for value in file.spans["value"]]


def test_the_window_begins_where_it_is_made(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False)
    with counting(folder, pause_s=0.01):
        time.sleep(PAUSE_S)
        window = LastSeconds(folder, EVER_S)
        time.sleep(PAUSE_S)
        window.look()
        [file] = window.files()
    assert counters(file)[0] > 0
    assert file.process.first_ns == window.looks[0].begin_ns
    assert PAUSE_S < length_s(window.looks) < EVER_S


def test_looks_follow_each_other_without_a_gap_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False, ring_bytes=12 << 20)
    with counting(folder, pause_s=0.01):
        window = LastSeconds(folder, EVER_S)
        for _ in range(3):
            time.sleep(PAUSE_S)
            window.look()
        [file] = window.files()
        [last] = window.files(list(window.looks)[-1:])
        window.forget_before(window.looks[0].end_ns)
        [later] = window.files()
    seen = counters(file)
    assert seen == list(range(seen[0], seen[-1] + 1))
    assert counters(last) == seen[-len(last.spans) :] and counters(later) == seen[-len(later.spans) :]
    assert len(last.spans) < len(later.spans) < len(seen)
    names = [file.texts[number] for number in file.spans["request"].tolist()]
    assert names == [f"request {count // 40}" for count in seen]


def test_what_was_overwritten_takes_what_lay_before_it_along(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False)
    with counting(folder, pause_s=0.0):
        window = LastSeconds(folder, EVER_S)
        window.look()
        time.sleep(1.0)  # the ring has turned several times
        window.look()
        [file] = window.files()
    seen = counters(file)
    assert seen == list(range(seen[0], seen[-1] + 1))
    assert file.process.first_ns == file.spans["end"][0] > window.looks[0].end_ns
