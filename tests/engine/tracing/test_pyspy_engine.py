"""py-spy on the real engine, recorded once: idle for some seconds, then busy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.engine.recording import LIMIT_S, ROOT, record_program, reviewed
from tests.tracing.page.test_perfetto import check
from tracing import timeline
from tracing.pyspy import attribution, samples
from tracing.pyspy.samples import Samples
from tracing.timeline.spans import Timeline

pytestmark = [pytest.mark.engine, pytest.mark.alone, pytest.mark.slow(180)]
LENGTH_S = 6
MARGIN_NS = 100_000_000


@dataclass(frozen=True)
class Run:
    folder: Path
    read: Samples
    spans: Timeline
    frame: pd.DataFrame
    windows: dict[str, tuple[int, int]]

    def main_threads(self, window: str) -> pd.DataFrame:
        """The samples of the main threads, well inside a window."""
        start, end = self.windows[window]
        times = self.frame["time_ns"]
        inside = (times > start + MARGIN_NS) & (times < end - MARGIN_NS)
        return self.frame[inside & (self.frame["thread_name"] == "MainThread")]

    def working(self, window: str, role: str) -> float:
        rows = self.main_threads(window)
        rows = rows[rows["role"] == role]
        assert len(rows) > 30  # py-spy takes fewer rounds where the machine is busy
        return float(attribution.by_time(rows, "state").get("working", 0.0) / (rows["weight_ns"].sum() / 1e9))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("sampled") / "trace"
    options = ("--py-spy", "100")
    completed = record_program("idle_and_busy", folder, str(LENGTH_S), options=options).completed
    assert completed.returncode == 0, completed.stderr[-3000:]
    windows = json.loads(next(line for line in completed.stdout.splitlines() if line.startswith('{"idle"')))
    read, spans = samples.read(folder), timeline.read(folder)
    yield Run(folder, read, spans, attribution.attributed(read, spans), windows)


def test_the_clock_is_known_to_ten_milliseconds(run: Run) -> None:
    assert 0 < run.read.uncertainty_ns < 10_000_000
    fit = attribution.agreement(run.frame, run.spans, run.read.within_ns(99))
    assert fit.samples > 1000 and fit.near / fit.samples > 0.98


def test_samples_fit_the_spans_best_where_the_beacon_puts_them(run: Run) -> None:
    """Another clock than the beacon's: moved either way, fewer samples lie in a span of their function."""
    shifts = [number * 1_000_000 for number in range(-40, 41)]
    start, end = run.windows["busy"]
    busy = run.frame[(run.frame["time_ns"] > start) & (run.frame["time_ns"] < end)]
    inside = {shift: attribution.agreement(busy, run.spans, 0, shift).inside for shift in shifts}
    assert abs(max(shifts, key=lambda shift: inside[shift])) < 10_000_000, inside


def test_an_idle_engine_waits(run: Run) -> None:
    assert run.working("idle", "core") < 0.05
    assert run.working("idle", "worker") < 0.05
    assert run.working("idle", "front end") < 0.05


def test_a_busy_engine_works(run: Run) -> None:
    """With an executor of its own the core gives the work away: at nearly every time it or its worker works, and
    while the core waits it is for the worker."""
    assert run.working("busy", "worker") > 0.2  # where other programs take the cores it waits longer for its core
    rows = run.main_threads("busy")
    engine = rows[rows["role"].isin(("core", "worker"))]
    assert (engine["state"] == "working").groupby(engine["time_ns"]).any().mean() > 0.5
    waiting = rows[(rows["role"] == "core") & (rows["state"] != "working")]
    assert (waiting["stage"] == "wait: worker").mean() > 0.8


def test_every_role_is_there_and_stages_are_down_to_the_line(run: Run) -> None:
    assert {"front end", "core input", "core", "core output", "worker"} <= set(run.frame["role"])
    worker = run.frame[run.frame["role"] == "worker"]
    assert {"forward", "logits", "sample", "prepare", "wait: core"} <= set(worker["stage"])
    forward = worker[worker["stage"] == "forward"]["stack"].map(lambda stack: run.read.stacks[stack][-1])
    assert all(
        frame.line > 0 or frame.name == "<module>" for frame in forward
    )  # a module's first instruction has line 0
    assert (forward.map(lambda frame: frame.line) > 0).mean() > 0.99


def test_the_whole_folder_is_read(run: Run) -> None:
    reviewed(run.folder)
    tracks = check(run.folder / "trace.pftrace")["tracks"]
    assert sum(track.startswith("py-spy ±") for track in tracks) >= 8
    command = [sys.executable, "-m", "tracing.pyspy", str(run.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "clock: 95 % of the rounds are within ±" in done.stdout
    assert "what the Python of each stage does" in done.stdout
    profile = json.loads((run.folder / "samples.speedscope.json").read_text())
    assert len(profile["profiles"]) >= 8
    assert (run.folder / "samples.folded").stat().st_size > 1000
