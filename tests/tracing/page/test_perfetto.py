"""The Perfetto file is read back with Perfetto's own message classes: it nests, its arrows join, its ids resolve."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.page import perfetto

BEGIN, END, COUNTER = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END, TrackEvent.TYPE_COUNTER


def packets(path: Path) -> Any:
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    return trace.packet


def check(path: Path) -> dict[str, Any]:
    """What every file must hold to be opened: tracks resolve, slices nest and end, an arrow has two ends."""
    tracks, parents, counters = {}, set(), set()
    depth: Counter[int] = Counter()
    clock: dict[int, int] = {}
    flows: Counter[int] = Counter()
    names = []
    for packet in packets(path):
        if packet.HasField("track_descriptor"):
            descriptor = packet.track_descriptor
            assert descriptor.uuid not in tracks
            tracks[descriptor.uuid] = descriptor.name
            parents |= {descriptor.parent_uuid} - {0}
            counters |= {descriptor.uuid} if descriptor.HasField("counter") else set()
        elif packet.HasField("track_event"):
            event, track = packet.track_event, packet.track_event.track_uuid
            assert packet.timestamp >= clock.get(track, 0), "a track's events are in order"
            clock[track] = packet.timestamp
            if event.type == BEGIN:
                depth[track] += 1
                names.append(event.name)
                flows.update(event.flow_ids)
            elif event.type == END:
                depth[track] -= 1
                assert depth[track] >= 0
            else:
                assert event.type == COUNTER and track in counters
    assert not any(depth.values())
    assert set(clock) <= set(tracks) and parents <= set(tracks)
    assert set(flows.values()) <= {2}
    return {"tracks": list(tracks.values()), "names": names, "arrows": len(flows)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    front = TraceWriter(tmp_path, 10, ["front end"])
    front.span("llm.add_request", 100, 190, "0").span("client.send", 150, 180, "0-ab", extra=0)
    front.span("client.receive", 900, 910, step=880).span("output.process", 920, 950, step=880)
    front.close()
    core = TraceWriter(tmp_path, 11, ["core", "core input"], parent=10, threads={1: "MainThread", 2: "input"})
    core.span("core.receive", 200, 220, "0-ab", thread=2)
    core.span("scheduler.schedule", 300, 340, step=0, value=7).span("kv.allocate", 310, 320, "0-ab", step=0)
    core.counts(0, {"prefill_requests": 1, "prefill_tokens": 7, "kv_used_blocks": 1, "kv_blocks": 8})
    core.span("scheduler.update", 800, 850, step=0).close()
    return tmp_path


def hops(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["request", "hop", "from_ns", "to_ns"])


def test_tracks_slices_arrows_and_counters(folder: Path) -> None:
    flow = SimpleNamespace(request="0-ab", state="finished", output_tokens=1, start_ns=100, end_ns=950)
    path = folder / "trace.pftrace"
    found = hops(("0-ab", "front end → core", 180, 200))
    perfetto.export(timeline.read(folder), [flow], found, path)
    seen = check(path)
    assert seen["arrows"] == 1
    assert Counter(seen["names"])["kv.allocate"] == 1 and len(seen["names"]) == 9
    assert {"front end: MainThread (1)", "core: MainThread (1)", "core input: input (2)", "requests", "0-ab"} <= set(
        seen["tracks"]
    )
    values = {
        packet.track_event.track_uuid: packet.track_event.counter_value
        for packet in packets(path)
        if packet.HasField("track_event") and packet.track_event.type == COUNTER
    }
    assert sorted(values.values()) == [0, 1, 1, 7]


def test_an_arrow_needs_both_ends(folder: Path) -> None:
    path = folder / "trace.pftrace"
    perfetto.export(timeline.read(folder), [], hops(("0-ab", "front end → core", 180, 99_999)), path)
    assert check(path)["arrows"] == 0


@settings(max_examples=30, deadline=None)
@given(spans=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 50), st.integers(1, 2)), max_size=40))
def test_any_spans_make_a_file_that_nests(
    spans: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    writer = TraceWriter(folder, 1, ["core"])
    for start, length, thread in spans:
        writer.span("kv.lookup", start, start + length, "a", thread=thread)
    writer.close()
    perfetto.export(timeline.read(folder), [], hops(), folder / "trace.pftrace")
    assert check(folder / "trace.pftrace")["names"] == ["kv.lookup"] * len(spans)


def test_a_device_has_a_track(tmp_path: Path) -> None:
    worker = TraceWriter(tmp_path, 12, ["worker"]).device(0, 100, 200).device(1, 199, 300, given=250)
    worker.device(-1, 300, 400).close(device="cuda")
    perfetto.export(timeline.read(tmp_path), [], pd.DataFrame(), tmp_path / "out.pftrace")
    seen = check(tmp_path / "out.pftrace")
    assert "device ±0.0 µs" in seen["tracks"] and seen["names"] == ["step 0", "step 1", "dummy batch"]
