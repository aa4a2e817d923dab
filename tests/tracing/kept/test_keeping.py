"""What lay around a trigger is kept, within bounds."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracing.attach.standingprocess import folder_of
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.attach.engine import StandingEngine
from tracing.attach.moved import Moved
from tracing.events import layout
from tracing.events.layout import CALLED, YIELDED
from tracing.events.standing import read
from tracing.hooks import _recorder
from tracing.kept import keeping
from tracing.kept.condition import parse
from tracing.kept.keeping import Keep, Keeper, bound, kept
from tracing.kept.triggers import Firing
from tracing.sites.engine import CODES
from tracing.torchsums.trace import FOLDER


def test_conditions_that_a_batch_cannot_meet_are_said_once(
    engine: StandingEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = Keeper(engine, [parse("ttft > 1s"), parse("latency > 1s")], tmp_path)
    keeper.look()
    assert capsys.readouterr().err == ""
    _recorder.span(CODES["llm.add_request"], time.monotonic_ns(), "0")
    keeper.look()
    keeper.look()
    assert capsys.readouterr().err == f"ttft > 1s: {keeping.WITHOUT_STREAMS}\n"


@contextmanager
def standing_engine(base: Path, pid: int) -> Iterator[StandingEngine]:
    """An engine with one ring, that of process `pid`, which this process writes."""
    folder = folder_of(base, standby=False)
    _recorder.start(str(folder / f"events-{pid}.bin"), layout.SCHEMA, 0, 1)
    TraceWriter(base / "process", pid, ["front end", "core", "worker"]).close(hooked=[], stopped_ns=None)
    (base / "process" / f"process-{pid}.json").rename(folder / f"process-{pid}.json")
    standing = read(folder)
    assert standing is not None
    try:
        yield StandingEngine(folder, standing)
    finally:
        _recorder.stop()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandingEngine]:
    """This process as an engine with a ring."""
    with standing_engine(tmp_path, os.getpid()) as standing:
        yield standing


def call(start_ns: int, first_ns: int, number: int) -> None:
    code = CODES["async.generate"]
    _recorder.span(code, start_ns, f"request-{number}", CALLED, number << 1, None, start_ns)
    _recorder.span(code, first_ns - 1, f"request-{number}", YIELDED, number << 1 | 1, None, first_ns)


def test_what_lies_around_a_slow_request_is_kept(
    engine: StandingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AFTER_NS", 0)
    monkeypatch.setattr(keeping, "BEFORE_NS", 5_000_000_000)
    keeper = Keeper(engine, [parse("ttft > 1s")], tmp_path / "kept")
    assert keeper.look() is None
    now = time.monotonic_ns()
    call(now - 20_000_000_000, now - 19_900_000_000, 1)
    call(now - 1_100_000_000, now, 2)
    folder = keeper.look()
    assert folder is not None
    [(path, keep)] = kept(tmp_path / "kept")
    assert (path, keep.condition, keep.request, keep.value_ns) == (folder, "ttft > 1s", "request-2", 1_100_000_000)
    spans = timeline.read(folder).spans
    assert set(spans["request"]) == {"request-2"} and spans["end_ns"].min() >= now - 5_000_000_000


def test_what_fired_last_is_kept_though_the_watch_ends_before_its_time_is_over(
    engine: StandingEngine, tmp_path: Path
) -> None:
    keeper = Keeper(engine, [parse("ttft > 1s")], tmp_path / "kept")
    keeper.look()
    now = time.monotonic_ns()
    call(now - 1_100_000_000, now, 1)
    keeper.watch(time.monotonic_ns() + 1_000_000_000)
    assert [keep.request for _, keep in kept(tmp_path / "kept")] == ["request-1"]


def test_a_full_disk_ends_no_watch(
    engine: StandingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be kept leaves nothing, and what comes when there is room again is kept."""
    monkeypatch.setattr(keeping, "AFTER_NS", 0)
    out = tmp_path / "kept"
    keeper = Keeper(engine, [parse("ttft > 1s")], out)
    keeper.look()

    def full(moved: Moved) -> list[str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    now = time.monotonic_ns()
    with monkeypatch.context() as patched:
        patched.setattr(Moved, "close", full)
        call(now - 1_100_000_000, now, 1)
        assert keeper.look() is None and list(out.iterdir()) == []
    assert "ttft > 1s: not kept: [Errno 28] No space left on device" in capsys.readouterr().err
    call(now - 1_200_000_000, now, 2)
    assert keeper.look() is not None
    assert [keep.request for _, keep in kept(out)] == ["request-2"]


def test_what_a_killed_watch_was_writing_is_removed(engine: StandingEngine, tmp_path: Path) -> None:
    """That of one which writes now stays."""
    old, new = tmp_path / f"1{keeping.DRAFT}", tmp_path / f"2{keeping.DRAFT}"
    for path in (old, new):
        path.mkdir()
        (path / keeping.FILE).write_text("{}")
    os.utime(old, (0, 0))
    Keeper(engine, [], tmp_path).watch(0)
    assert (old.exists(), new.exists(), kept(tmp_path)) == (False, True, [])


def test_two_watches_at_once_keep_the_same(engine: StandingEngine, tmp_path: Path) -> None:
    keepers = [Keeper(engine, [parse("ttft > 1s")], tmp_path / str(number)) for number in range(2)]
    for keeper in keepers:
        keeper.look()
    now = time.monotonic_ns()
    call(now - 1_100_000_000, now, 1)
    for keeper in keepers:
        keeper.look()
        keeper.watch(0)
    one, other = (kept(keeper.folder) for keeper in keepers)
    assert [keep.request for _, keep in one] == [keep.request for _, keep in other] == ["request-1"]
    spans = [timeline.read(path).spans for path, _ in (*one, *other)]
    assert len(spans[0]) == len(spans[1]) > 0


def test_the_watch_ends_with_the_engine(
    engine: StandingEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was killed leaves its folder, and a supervisor starts another."""
    file = engine.folder / f"process-{os.getpid()}.json"
    ended = subprocess.Popen(["true"])
    ended.wait()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": ended.pid}))
    ended_engine = replace(engine, standing=replace(engine.standing, pid=ended.pid))
    Keeper(ended_engine, [], tmp_path / "kept").watch(time.monotonic_ns() + 3_000_000_000)
    assert capsys.readouterr().err == "the engine has ended: if it was started anew, watch that one\n"


def test_not_more_than_so_many_a_minute(
    engine: StandingEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are counted."""
    keeper = Keeper(engine, [], tmp_path)
    for number in range(keeping.MOST_A_MINUTE + 3):
        keeper._fire(Firing("error", number, 0, 1))
        keeper.firing = None
    assert len(keeper.written) == keeping.MOST_A_MINUTE
    keeper._fire(Firing("error", 99, 0, 1))
    assert keeper.firing is None
    keeper.look()
    keeper.rings[os.getpid()].lost = 7
    keeper.watch(0)
    assert capsys.readouterr().err.splitlines() == [
        "4 more fired and were not kept: at most 6 a minute are kept",
        "7 records were overwritten before they were looked at: what they met is not known",
    ]


def keep(folder: Path, number: int) -> Path:
    """A kept folder of more than 1,000 bytes."""
    path = folder / str(number)
    path.mkdir()
    values = vars(Keep("error", float(number), 0, 0, 1, "", -1, 0))
    (path / keeping.FILE).write_text(json.dumps({"schema": keeping.SCHEMA} | values))
    (path / "events-1.bin").write_bytes(bytes(1000))
    return path


def test_the_oldest_go_first(tmp_path: Path) -> None:
    for number in range(4):
        keep(tmp_path, number)
    bound(tmp_path, 3, 1 << 20)
    assert [path.name for path, _ in kept(tmp_path)] == ["1", "2", "3"]
    bound(tmp_path, 3, 1500)
    assert [path.name for path, _ in kept(tmp_path)] == ["3"]


def test_the_traces_of_a_profiler_count_towards_the_bytes(tmp_path: Path) -> None:
    """They are the largest files of a kept folder, and lie in a folder inside it."""
    for number in range(3):
        path = keep(tmp_path, number)
        (path / FOLDER).mkdir()
        (path / FOLDER / "rank0.pt.trace.json").write_bytes(bytes(10_000))
    bound(tmp_path, 3, 25_000)
    assert [path.name for path, _ in kept(tmp_path)] == ["1", "2"]
