"""A delay goes before the calls of the one site that the file names, while its lease runs, and is written down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tracing.hooks.eventrecords import spans, written
from tracing.events.delays import FILE, HOLDING, LEASE_NS, NOTHING, RECORD, RELEASING, SPINNING
from tracing.hooks import _recorder
from tracing.hooks.standing import make
from tracing.hooks.wrappers import table
from tracing.sites.engine import ALL_SITES, CODES
from tracing.whatif.engine.delayfile import DelayFile

ROOT = Path(__file__).resolve().parents[3]
HOOKED, WRAPPED = "runner.prepare", "scheduler.update"  # served by a `Hook`, and by a Python wrapper
KINDS = pytest.mark.parametrize("kind", [SPINNING, HOLDING, RELEASING])
LONG_NS = 20_000_000


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[DelayFile]:
    """The file that this process looks at; afterwards it asks for nothing."""
    path = tmp_path / "delays"
    path.write_bytes(NOTHING)
    _recorder.delay_by(str(path), CODES["delay"])
    with DelayFile(path) as file:
        yield file


@pytest.fixture
def events() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def hooked(site: str, function: Callable[..., Any] = lambda *_: {}) -> Callable[..., Any]:
    return table.wrapper_of(ALL_SITES[CODES[site]])(function)


def delays(path: Path) -> list[dict[str, int]]:
    return [span for span in spans(path) if span["site"] == CODES["delay"]]


@KINDS
@pytest.mark.parametrize("site", [HOOKED, WRAPPED])
def test_a_delay_is_made_before_the_call_and_written_down(asked: DelayFile, events: Path, kind: int, site: str) -> None:
    begun: list[int] = []
    asked.put(site, kind, LONG_NS, phase=7)
    hooked(site, lambda *_: begun.append(_recorder.now()) or {})(None)
    [delay] = delays(events)
    assert delay["end"] - delay["start"] >= LONG_NS and delay["end"] <= begun[0]
    assert (delay["value"], delay["extra"]) == (CODES[site], 7)


def test_no_other_site_is_delayed(asked: DelayFile, events: Path) -> None:
    asked.put(HOOKED, SPINNING, LONG_NS, phase=1)
    hooked(WRAPPED)(None)
    hooked("runner.bookkeep")(None)
    assert delays(events) == []


@pytest.mark.parametrize("site", [HOOKED, WRAPPED])
def test_a_delay_may_be_one_processs_alone(asked: DelayFile, events: Path, site: str) -> None:
    for pid in (os.getppid(), os.getpid()):
        asked.put(site, SPINNING, LONG_NS, phase=pid, pid=pid)
        hooked(site)(None)
    assert [delay["extra"] for delay in delays(events)] == [os.getpid()]


def test_nothing_is_delayed_after_it_was_cleared(asked: DelayFile, events: Path) -> None:
    asked.put(HOOKED, SPINNING, LONG_NS, phase=1)
    asked.clear()
    hooked(HOOKED)(None)
    assert delays(events) == []


def test_nothing_is_delayed_where_nothing_is_recorded(asked: DelayFile) -> None:
    asked.put(HOOKED, SPINNING, 10**12, phase=1)  # would outlast the test
    asked.renew()
    assert hooked(HOOKED)(None) == {}


def test_a_delay_ends_with_its_lease(asked: DelayFile, events: Path) -> None:
    """Who asked has died: a call that waits goes on, and the next ones are not delayed."""
    asked.put(HOOKED, HOLDING, 10**12, phase=1)
    until_ns = RECORD.unpack(asked.path.read_bytes())[0]
    hooked(HOOKED)(None)
    hooked(HOOKED)(None)
    [delay] = delays(events)
    assert delay["start"] < until_ns <= delay["end"]


def test_a_killed_tool_leaves_no_delay(tmp_path: Path, events: Path) -> None:
    path = tmp_path / "delays"
    path.write_bytes(NOTHING)
    _recorder.delay_by(str(path), CODES["delay"])
    program = (
        "import sys; from pathlib import Path; from tracing.whatif.engine.delayfile import DelayFile\n"
        f"with DelayFile(Path({str(path)!r})) as file:\n"
        f"    file.put({HOOKED!r}, {SPINNING}, 1_000_000, phase=1); print('asked', flush=True); sys.stdin.read()"
    )
    tool = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert tool.stdout is not None and tool.stdout.readline() == "asked\n"
    hooked(HOOKED)(None)
    tool.send_signal(signal.SIGKILL)
    tool.communicate()
    time.sleep(LEASE_NS / 1e9)
    hooked(HOOKED)(None)
    assert len(delays(events)) == 1


@pytest.mark.parametrize(("kind", "runs"), [(SPINNING, True), (HOLDING, False), (RELEASING, True)])
def test_another_thread_runs_meanwhile_unless_the_gil_is_held(
    asked: DelayFile, events: Path, kind: int, runs: bool
) -> None:
    turns: list[int] = []
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            turns.append(time.monotonic_ns())
            time.sleep(0.001)

    thread = threading.Thread(target=turn)
    thread.start()
    asked.put(HOOKED, kind, 10 * LONG_NS, phase=1)
    hooked(HOOKED)(None)
    ended.set()
    thread.join()
    [delay] = delays(events)
    inside = [at for at in turns if delay["start"] + LONG_NS < at < delay["end"] - LONG_NS]
    assert bool(inside) == runs


def test_a_standing_folder_asks_for_no_delay_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracing.hooks.standing.rooms", lambda: (tmp_path / "rooms", tmp_path / "rooms"))
    assert (make(None) / FILE).read_bytes() == NOTHING
