"""The functions of the runtime library: looked up where it is loaded, and called without Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracing.hooks.eventrecords import pieces_of, written
from tests.tracing.hooks.standinruntime import STREAM, StandInRuntime, torch_with_device
from tracing.events import layout
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import eventcalls, launches

MS = 1_000_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The process has torch with a device; which of its libraries it has loaded is in `tmp_path / "maps"`."""
    monkeypatch.setitem(sys.modules, "torch", torch_with_device())
    monkeypatch.setattr(eventcalls, "MAPS", tmp_path / "maps")
    monkeypatch.setattr(recorder, "_state", {"missing": []})
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    with written() as path:
        yield path


def loaded(folder: Path, without: str = "") -> StandInRuntime:
    runtime = StandInRuntime(folder, without)
    (folder / "maps").write_text(f"7f00-7f01 rw-p 00000000 00:00 0\n7f02-7f03 r-xp 00000000 08:01 42 {runtime.path}\n")
    return runtime


@pytest.fixture
def runtime(tmp_path: Path) -> StandInRuntime:
    return loaded(tmp_path)


@pytest.fixture
def timer(runtime: StandInRuntime) -> _recorder.Launches:
    """As the hooks have it, with the clock of the library's device."""

    def find() -> eventcalls.EventCalls | None:
        calls = launches.find_calls()
        return calls and calls._replace(clock=runtime.clock)

    return _recorder.Launches(layout.DEVICE, find, launches.give_up)


def run_step(timer: _recorder.Launches, runtime: StandInRuntime, step: int) -> tuple[int, int]:
    """When a step's work began and ended."""
    _recorder.set_step(step)
    timer.begin(True)
    busy = runtime.work(3 * MS)
    timer.end()
    return busy


def test_a_step_is_timed_by_the_runtime_library(file: Path, runtime: StandInRuntime, timer: _recorder.Launches) -> None:
    truth = [run_step(timer, runtime, step) for step in range(3)]
    timer.read()
    assert pieces_of(file) == []
    assert runtime.last.value == 0  # else torch would take it for an error of its own that an event has not come
    assert runtime.stream_of_last.value == STREAM
    runtime.now.value = truth[-1][1]
    timer.read()
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 1, 2]
    for piece, busy in zip(pieces, truth, strict=True):
        assert (piece.begin_ns, piece.end_ns) == pytest.approx(busy, abs=piece.uncertainty_ns)


def test_a_call_that_fails_ends_the_timing_and_is_named(
    file: Path, runtime: StandInRuntime, timer: _recorder.Launches, capsys: pytest.CaptureFixture[str]
) -> None:
    run_step(timer, runtime, 0)
    runtime.lost.value = 999
    run_step(timer, runtime, 1)
    run_step(timer, runtime, 2)
    assert capsys.readouterr().err.count("device time (cudaEventRecord: device lost)") == 1
    assert runtime.last.value == 0


@pytest.mark.parametrize("name", ["cudaEventQuery", "cudaEventElapsedTime"])
def test_where_a_function_is_missing_it_is_named_and_torchs_events_are_used(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    loaded(tmp_path, without=name)
    calls = launches.find_calls()
    assert calls is not None and calls.stream is None
    words = capsys.readouterr().err
    assert f"undefined symbol: {name}" in words and "torch's own are used" in words


def test_where_no_runtime_library_is_loaded_torchs_events_are_used(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "maps").write_text("7f02-7f03 r-xp 00000000 08:01 42   /lib/libc.so.6\n")
    assert launches.find_calls() is not None
    assert "no libcudart or libamdhip64 is loaded" in capsys.readouterr().err


def test_the_library_that_a_process_has_loaded_is_known(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tests.tracing.hooks.standinruntime import StandInRuntime
from tracing.hooks.device.eventcalls import loaded_runtime
assert StandInRuntime(Path(sys.argv[1])).path == loaded_runtime()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
