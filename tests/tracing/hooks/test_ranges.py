"""The NVTX ranges and marks of `tracing.hooks.ranges`, as nsys itself hears them."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from probes.devices import nvtxlibrary
from tests.tracing.traces import TraceWriter, process_file
from tracing.events import layout
from tracing.hooks import install, ranges
from tracing.nsys import capture, file
from tracing.record import watched

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 120
HARD, LONG = 'it\'s "one", é\n', "r" * 5000
# Everything that a range or a mark has to say.
PROGRAM = """
import sys, time
from pathlib import Path
from types import SimpleNamespace

from probes.devices import nvtxlibrary
from tracing.events import layout
from tracing.hooks import _recorder, ranges
from tracing.hooks.device.eventcalls import EventMethods
from tracing.sites.engine import CODES

HARD, LONG = sys.argv[2:]

def allocate(blocks: object, request: object) -> int:
    return 5

def refuse(blocks: object, request: object) -> int:
    raise ValueError("no room")

_recorder.start(str(Path(sys.argv[1], "events.bin")), layout.SCHEMA, 0)
ranges.begin(str(nvtxlibrary.library()), ["core"])
_recorder.set_step(7)
who = (1, "request", "request_id")
hook = _recorder.Hook(allocate, CODES["kv.allocate"], *who, lambda result, *_: (result, HARD))
for name in ("one request", HARD, LONG, None):
    hook(None, SimpleNamespace(request_id=name))
try:
    _recorder.Hook(refuse, CODES["kv.lookup"], *who)(None, SimpleNamespace(request_id="two"))
except ValueError as error:
    print("raised", error)
before = _recorder.counts()
_recorder.Hook(allocate, CODES["executor.wait"], range_only=True)(None, None)
print("range only wrote", _recorder.counts()[0] - before[0])
first, second = (_recorder.open_range(CODES["async.generate"], name) for name in ("a", "b"))
_recorder.close_range(first)
_recorder.close_range(second)
now = _recorder.now()
_recorder.span(CODES["scheduler.preempt"], now, "three", -(2**63), 2**31, 9, now)
_recorder.span(CODES["scope"], now, None, "vLLM's own")
_recorder.numbers(layout.RENAMED, ("new", HARD), 2**63 - 1)
_recorder.numbers(layout.COUNTS, list(range(2000)))
event = SimpleNamespace(record=id, query=lambda: True, elapsed_time=lambda end: 1.0)
calls = EventMethods(lambda: event).calls()
timer = _recorder.Launches(layout.DEVICE, lambda: calls, print)
timer.begin(), timer.end(), timer.read()
_recorder.stop()
hook(None, SimpleNamespace(request_id="after the end"))
time.sleep(1)  # nsys of 2022 fails where its program ends at once
"""


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[file.Report, str]:
    """What nsys heard of the program, and what the program printed."""
    if shutil.which("nsys") is None:
        pytest.skip("no nsys here: apt-get install nsight-systems")
    folder = tmp_path_factory.mktemp("ranges")
    command = capture.under([sys.executable, "-c", PROGRAM, str(folder), HARD, LONG], folder)
    environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert capture.finish(folder) == [], done.stdout + done.stderr
    return file.read(folder / "nsys.sqlite"), done.stdout


def ours(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["domain"] == layout.DOMAIN]


def marks(report: file.Report, word: str) -> list[tuple[list[Any], int]]:
    """The marks of a word without it, each with its payload."""
    own = ours(report.marks)
    items = [(ast.literal_eval(text), int(step)) for text, step in zip(own["text"], own["payload"], strict=True)]
    return [(item[1:], step) for item, step in items if item[0] == word]


@pytest.mark.nsys
def test_a_call_is_a_range_with_its_request_and_step(heard: tuple[file.Report, str]) -> None:
    calls = ours(heard[0].ranges)
    calls = calls[calls["text"].str.startswith("kv.allocate")]
    # The third is of a request whose id is too long to be named, the fourth of none.
    assert calls["text"].tolist() == ["kv.allocate one request", f"kv.allocate {HARD}", "kv.allocate", "kv.allocate"]
    assert set(calls["payload"]) == {7} and (calls["end_ns"] > calls["start_ns"]).all()


@pytest.mark.nsys
def test_what_a_range_could_not_know_is_in_a_mark(heard: tuple[file.Report, str]) -> None:
    values = marks(heard[0], layout.DETAILS)
    assert values[:4] == [(["kv.allocate", 5, HARD, None, 0], 7)] * 4
    assert values[4:] == [(["kv.lookup", 0, 0, None, 1], 7)], "a call that raised, and nothing of vLLM's own scope"
    assert marks(heard[0], layout.INSTANT) == [(["scheduler.preempt", -(2**63), 2**31, "three", 0], 9)]
    (renamed, _), (device, step) = marks(heard[0], layout.NUMBERS)
    assert renamed == [layout.RENAMED, 2**63 - 1, "new", HARD], "one too long is not made"
    assert (*device[:2], len(device[2:]), step) == (layout.DEVICE, 0, 7, 7)


@pytest.mark.nsys
def test_a_process_says_who_and_when_it_is(heard: tuple[file.Report, str]) -> None:
    identity = marks(heard[0], layout.PROCESS)
    times = [payload for _, payload in identity]
    assert {tuple(items[1:]) for items, _ in identity} == {("core",)} and len(identity) == ranges.CLOCK_MARKS
    assert times == sorted(times)


@pytest.mark.nsys
def test_the_program_notices_nothing(heard: tuple[file.Report, str]) -> None:
    assert "raised no room" in heard[1] and "range only wrote 0" in heard[1]
    assert (ours(heard[0].ranges)["text"] == "executor.wait").sum() == 1


@pytest.mark.nsys
def test_ranges_of_coroutines_end_in_any_order(heard: tuple[file.Report, str]) -> None:
    own = ours(heard[0].ranges).set_index("text")
    first, second = (own.loc[f"async.generate {name}"] for name in "ab")
    assert first["start_ns"] < second["start_ns"] < first["end_ns"] < second["end_ns"]


def test_colours_are_of_stages_and_apart() -> None:
    shades = [ranges.color(stage) for stage in ranges.STAGES]
    assert len(set(shades)) == len(shades) and all(0 <= shade < 2**24 for shade in shades)


def test_a_library_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvtxlibrary.library().name == nvtxlibrary.LIBRARY

    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(OSError, match=r"1 is not installed; pip install --no-deps 'nvidia-nvtx-cu12>=12\.9'"):
        nvtxlibrary.library()


def test_ranges_that_cannot_be_made_are_the_end_of_a_recording(tmp_path: Path) -> None:
    fields: dict[str, list[str]] = {}
    assert install._ranges(f"{tmp_path}/libnvtx.so", fields.update) is False
    process_file(tmp_path, 1, serves=["front end"], **fields)
    TraceWriter(tmp_path, 2, ["core", "worker"]).span("core.step", 1, 2).close()
    assert any(text.startswith("no NVTX ranges (") for text in watched.missing(tmp_path, ["python"]))
