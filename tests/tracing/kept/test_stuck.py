"""A hang fires once, and what is kept of it has the dump of that moment."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from probes.processes.enginegroup import FRONT_END
from tests.tracing.hang.live import standin
from tests.tracing.hang.live import test_look as live
from tests.tracing.kept.test_keeping import standing_engine
from tests.tracing.kept.test_triggers import MS, Row, records_of
from tracing.events.layout import CALLED, YIELDED
from tracing.hooks import _recorder
from tracing.kept import hangdump, keeping
from tracing.kept.condition import parse
from tracing.kept.hangdump import HangDump
from tracing.kept.keeping import Keeper, kept
from tracing.kept.reason import reason
from tracing.kept.triggers import Triggers
from tracing.sites.engine import CODES

S = 1_000_000_000
BEGUN: Row = ("async.generate", 0, 0, -1, CALLED, 2)
ENDED: Row = ("async.generate", 90_000, 90_001, -1, YIELDED, 3)


def step(at: int, tokens: int) -> Row:
    return ("scheduler.schedule", at - 1, at, 1, tokens, 1)


def look(triggers: Triggers, *rows: Row) -> None:
    assert list(triggers.look(1, records_of(rows))) == []


def stuck(triggers: Triggers, at: int) -> list[int]:
    """For how long the engine is stuck at a time in ms, where that fires."""
    return [firing.value_ns // MS for firing in triggers.stuck(at * MS)]


def test_a_hang_fires_once() -> None:
    triggers = Triggers([parse("stuck > 30s")])
    look(triggers, BEGUN, step(10, 4))
    assert (stuck(triggers, 30_010), stuck(triggers, 30_011), stuck(triggers, 40_000)) == ([], [30_001], [])
    look(triggers, step(50_000, 0))  # the scheduler goes round and schedules nothing
    assert stuck(triggers, 60_000) == []
    look(triggers, step(61_000, 4))
    assert (stuck(triggers, 91_000), stuck(triggers, 92_000)) == ([], [31_000])


def test_an_engine_without_requests_is_not_stuck() -> None:
    triggers = Triggers([parse("stuck > 30s")])
    assert stuck(triggers, 40_000) == []
    look(triggers, BEGUN, step(10, 4), ENDED)
    assert stuck(triggers, 200_000) == []
    look(triggers, ("async.generate", 200_000, 200_000, -1, CALLED, 4))
    assert stuck(triggers, 210_000) == []  # that long a call alone counts


def test_a_call_that_began_before_the_watch_hangs_too() -> None:
    triggers = Triggers([parse("stuck > 30s")])
    look(triggers, ("async.generate", 50_000, 50_000, -1, YIELDED, 2))
    assert (stuck(triggers, 79_000), stuck(triggers, 81_000)) == ([], [31_000])
    look(triggers, ENDED)
    assert stuck(triggers, 200_000) == []


def test_a_batch_hangs_too() -> None:
    triggers = Triggers([parse("stuck > 30s")])
    look(triggers, ("llm.add_request", 0, 1, -1, 0, 0), ("core.add_request", 2, 3, -1, 5, 16), step(10, 4))
    assert stuck(triggers, 30_011) == [30_001]
    look(triggers, ("scheduler.free", 90_000, 90_001, 9, 16, 0))
    assert stuck(triggers, 200_000) == []


def test_a_call_whose_end_may_be_lost_says_nothing() -> None:
    triggers = Triggers([parse("stuck > 30s")])
    look(triggers, BEGUN)
    triggers.forget(1)
    assert stuck(triggers, 40_000) == []


def begin_call(begun_ns: int) -> None:
    _recorder.span(CODES["async.generate"], begun_ns, "request-1", CALLED, 2, None, begun_ns)


def test_the_dump_of_a_stopped_worker_is_kept_with_the_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "AFTER_NS", 0)
    monkeypatch.setattr(hangdump, "SECONDS", 0.4)
    with live.engine(standin.STOPPED) as (group, _):
        front = next(each for each in group if each.role == FRONT_END)
        worker = next(each for each in group if each.name == "Worker_TP1")
        with standing_engine(tmp_path, front.pid) as engine:
            keeper = Keeper(engine, [parse("stuck > 30s")], tmp_path / "kept")
            assert keeper.look() is None
            os.kill(worker.pid, signal.SIGSTOP)
            begin_call(time.monotonic_ns() - 31 * S)
            folder = keeper.look()
            assert folder is not None and keeper.look() is None  # once a hang
    answer = f"stopped: worker Worker_TP1 ({worker.pid}) is stopped (SIGSTOP); kill -CONT lets it go on"
    [(path, keep)] = kept(tmp_path / "kept")
    assert (path, keep.request, keep.value_ns // S, reason(path, keep)) == (folder, "request-1", 31, answer)
    assert "core EngineCore" in (folder / hangdump.PAGE).read_text()


def test_what_is_no_hang_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hangdump, "take", lambda pid: HangDump("slow, not stuck: the engine moves\n", "", False))
    with standing_engine(tmp_path, os.getpid()) as engine:
        keeper = Keeper(engine, [parse("stuck > 30s")], tmp_path / "kept")
        keeper.look()
        begin_call(time.monotonic_ns() - 31 * S)
        assert (keeper.look(), keeper.firing, keeper.hang) == (None, None, None)
    assert capsys.readouterr().err == "stuck > 30s: slow, not stuck: the engine moves; not kept\n"
