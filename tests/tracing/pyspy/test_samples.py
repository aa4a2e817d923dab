"""py-spy's samples, read: when each was taken, by the beacon beside it, and for how long it stands."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from tests.tracing.pyspy.sampledfolders import PERIOD_NS, sampled_folder
from tests.tracing.pyspy.stackframes import CORE, GET, MAIN, WAIT, WAITING, WORKING
from tracing.pyspy import attribution, events, samples
from tracing.pyspy.events import Frame


def test_a_stack_that_stands_is_seen_in_every_round(tmp_path: Path) -> None:
    rounds = [(MAIN, GET, WAIT)] * 30 + [WORKING] * 20
    read = samples.read(sampled_folder(tmp_path, {CORE: rounds}))
    assert Counter(read.frame["stack"].map(lambda stack: read.stacks[stack][-1].name)) == {
        "Condition.wait": 30,
        "Scheduler.schedule": 20,
    }
    assert set(read.frame["pid"]) == {11}, "the sampler's own process is left out"
    assert read.names[11, 12] == "MainThread" and read.titles[11] == "synthetic"
    assert Frame(*GET).file == "queue.py" and Frame(*MAIN).file == "vllm/v1/engine/core.py"


@pytest.mark.parametrize("delay_us", [0, 2_000])
def test_samples_lie_where_they_were_taken(tmp_path: Path, delay_us: int) -> None:
    read = samples.read(sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 50}, 5_000_000_000, delay_us=delay_us))
    true = 5_000_000_000 + PERIOD_NS * np.arange(100)
    off = np.abs(read.frame["time_ns"].to_numpy() - true)
    assert 0 < off.max() <= read.within_ns(100) < 4_000_000


@settings(max_examples=60, deadline=None)
@given(
    delays_us=st.lists(st.integers(0, 9_000), min_size=2, max_size=60),
    naps=st.lists(st.integers(1_000_000, 6_000_000), min_size=1, max_size=9),
    epoch_ns=st.integers(10**9, 10**14),
)
def test_no_round_is_further_from_its_place_than_stated(delays_us: list[int], naps: list[int], epoch_ns: int) -> None:
    true = epoch_ns + PERIOD_NS * np.arange(len(delays_us))
    begins = epoch_ns - 50_000_000 + np.concatenate(([0], np.cumsum(np.resize(naps, 1000))))
    began = begins[np.searchsorted(begins, true, "right") - 1]
    stamps = (true - epoch_ns) // 1000 + np.array(delays_us) + 777
    changed = np.flatnonzero(np.diff(began, prepend=0))
    clock = samples.by_beacon(stamps, np.stack([stamps[changed], began[changed]], axis=1), begins)
    assert (np.abs(clock.times_ns - true) <= clock.off_ns).all()
    assert clock.off_ns.max() <= max(naps)


def test_shares_are_of_time_where_rounds_are_uneven(tmp_path: Path) -> None:
    """A second of work seen in ten rounds counts as much as a second of waiting seen in a hundred."""
    rounds = [10 * number for number in range(10)] + list(range(100, 200))
    stacks = [(*WORKING, (f"f{n}", "/x/f.py", n)) if n < 100 else (MAIN, GET, WAIT) for n in rounds]
    frame = attribution.attributed(samples.read(sampled_folder(tmp_path, {CORE: stacks}, at=rounds)), None)
    assert Counter(frame["state"]) == {"working": 10, "event or queue": 100}
    times = attribution.by_time(frame, "state")
    assert times["working"] == pytest.approx(1, rel=0.02) and times["event or queue"] == pytest.approx(1, rel=0.02)


def test_a_dead_thread_stops_where_it_was_last_alive(tmp_path: Path) -> None:
    born = 1_000_000_000
    live = {"11": {"12": born + 10**10, "13": born + 500_000_000}}
    threads = {CORE: [WORKING, WAITING] * 500, (11, 13, "short"): [(MAIN, GET)]}
    read = samples.read(sampled_folder(tmp_path, threads, born, live))
    sums = read.frame.groupby("thread")["time_ns"].agg(["count", "max"])
    assert sums.loc[12, "count"] == 1000
    assert sums.loc[13, "count"] == pytest.approx(50, abs=1)


def test_a_file_that_breaks_off_is_read_to_there(tmp_path: Path) -> None:
    folder = sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 50})
    path = folder / "pyspy-events.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = samples.read(folder)
    assert read.torn and 30 < len(read.frame) < 100


def test_events_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sampled_folder(tmp_path, {CORE: [WORKING, WAITING] * 20})
    whole = list(events.events(folder / "pyspy-events.json"))
    monkeypatch.setattr(events, "CHUNK", 37)
    assert list(events.events(folder / "pyspy-events.json")) == whole


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="--py-spy"):
        samples.read(tmp_path)
    folder = sampled_folder(tmp_path / "new", {CORE: [WORKING]}, schema=99)
    with pytest.raises(EnginescopeError, match="schema 99"):
        samples.read(folder)
    (folder / "pyspy.json").write_text('{"schema": 1, "rate": 100}')
    with pytest.raises(EnginescopeError, match="is not a description of samples"):
        samples.read(folder)
    killed = sampled_folder(tmp_path / "killed", {CORE: [WORKING]}, exit_code=-9)
    (killed / "pyspy-events.json").unlink()
    with pytest.raises(EnginescopeError, match="py-spy was killed"):
        samples.read(killed)


def test_forked_processes_share_their_parents_thread_handles(tmp_path: Path) -> None:
    """py-spy then ends the frames of one process under the other's number, in every round."""
    stacks = {1: ("main", "wait"), 2: ("main", "work")}
    written: list[dict[str, object]] = []
    shown: list[tuple[str, str]] = []
    for stamp in (10, 20, 30):
        for pid, calls in stacks.items():
            labels = [(f'process {pid}:"p"', ""), (f"thread ({pid}): MainThread", "")]
            frames = [*labels, *((call, "/x/f.py") for call in calls)]
            changes = [*(("E", frame) for frame in reversed(shown)), *(("B", frame) for frame in frames)]
            for phase, (name, file) in changes:
                arguments = {"filename": file, "line": 1}
                written.append({"args": arguments, "name": name, "ph": phase, "pid": pid, "tid": 7, "ts": stamp})
            shown = frames
    (tmp_path / "events.json").write_text(json.dumps(written))
    reader = events.EventReader()
    reader.read(tmp_path / "events.json")
    named = [
        (pid, thread, begin, end, [frame.name for frame in reader.all_stacks()[stack]])
        for pid, thread, begin, end, stack in reader.runs
    ]
    assert named == [(pid, pid, begin, begin + 10, list(calls)) for begin in (10, 20) for pid, calls in stacks.items()]
    assert reader.names == {(1, 1): "MainThread", (2, 2): "MainThread"}
