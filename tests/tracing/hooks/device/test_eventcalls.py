"""The functions of the runtime library: those that torch is linked to, called without Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracing.hooks.device.standinruntime import STREAM, StandInRuntime, torch_with_device
from tests.tracing.hooks.eventrecords import pieces_of, written
from tracing.events import layout
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import eventcalls, launches

MS = 1_000_000


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(recorder, "_state", {"missing": []})
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    with written() as path:
        yield path


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInRuntime:
    """The process has torch with a device, and this library."""
    return loaded(tmp_path, monkeypatch)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, without: str = "") -> StandInRuntime:
    runtime = StandInRuntime(folder, without)
    monkeypatch.setitem(sys.modules, "torch", torch_with_device(runtime.extension))
    return runtime


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
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    loaded(tmp_path, monkeypatch, without=name)
    calls = launches.find_calls()
    assert calls is not None and calls.stream is None
    words = capsys.readouterr().err
    assert f"undefined symbol: {name}" in words and "torch's own are used" in words


def test_a_device_is_said_though_its_first_event_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it counts as a CPU, and its launches as the work itself."""

    def refuse(enable_timing: bool) -> None:
        raise RuntimeError("out of memory")

    said: dict[str, object] = {}
    cuda = SimpleNamespace(Event=refuse, is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "say", said.update)
    assert launches.find_calls() is None
    assert said == {"device": "cuda"} and recorder._state["missing"] == ["device time (RuntimeError: out of memory)"]


@pytest.mark.parametrize(("kind", "there"), [("cuda", "cuda"), ("xpu", "xpu"), ("mps", None)])
def test_the_kind_of_device(kind: str, there: str | None) -> None:
    """vLLM runs on the CPU where torch could use a Mac's device."""
    has = {name: SimpleNamespace(is_available=lambda name=name: name == kind) for name in ("cuda", "xpu", "mps")}
    assert launches.accelerator(SimpleNamespace(**has)) == there
    assert launches.accelerator(SimpleNamespace()) is None


def test_of_several_such_libraries_torchs_own_is_used(
    file: Path, tmp_path: Path, runtime: StandInRuntime, timer: _recorder.Launches
) -> None:
    """TileLang, which vLLM brings, loads one that only looks like it."""
    folders = [tmp_path / name for name in ("before", "after")]
    others = []
    for folder in folders:
        folder.mkdir()
        others.append(StandInRuntime(folder))
    run_step(timer, runtime, 0)
    assert [each.stream_of_last.value for each in (runtime, *others)] == [STREAM, None, None]


WITHOUT_DEVICE = """
import ctypes, sys
from pathlib import Path
from tests.tracing.hooks.eventrecords import pieces_of, written
from tests.tracing.hooks.device.standinruntime import StandInRuntime, torch_with_device
from tracing.events.layout import DEVICE
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import eventcalls, launches

library, folder, *names = sys.argv[1:]
ctypes.CDLL(library)
real = eventcalls.runtime_calls(torch_with_device(library))._asdict()
runtime = StandInRuntime(Path(folder))
calls = eventcalls.runtime_calls(torch_with_device(runtime.extension))
calls = calls._replace(clock=runtime.clock, **{name: real[name] for name in ("clear", "words", *names)})
recorder.note = print
with written() as path:
    timer = _recorder.Launches(DEVICE, lambda: calls, launches.give_up)
    for step in range(3):
        _recorder.set_step(step)
        timer.begin(True)
        timer.end()
        timer.read()
    assert not pieces_of(path)
"""
CALLS = {"create": "EventCreate", "record": "EventRecord", "query": "EventQuery", "elapsed": "EventElapsedTime"}


@pytest.mark.parametrize("first", CALLS)
def test_where_the_real_library_has_no_device_the_timing_ends_with_its_words(first: str, tmp_path: Path) -> None:
    """From the call `first` on it is NVIDIA's, with its versioned symbols; those before are the stand-in's."""
    [library] = [each for each in metadata.files("nvidia-cuda-runtime") or () if each.name.startswith("libcudart.so")]
    names = list(CALLS)[list(CALLS).index(first) :]
    program = [sys.executable, "-c", WITHOUT_DEVICE, str(library.locate()), str(tmp_path), *names]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(program, env=hidden, capture_output=True, text=True, check=True)
    [line] = done.stdout.splitlines()
    assert line.startswith(f"device time (cuda{CALLS[first]}: ")
    assert "no CUDA-capable device is detected" in line or "CUDA driver version is insufficient" in line
