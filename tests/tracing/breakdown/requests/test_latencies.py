"""TTFT, TPOT, ITL and latency, on traces whose every nanosecond is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.stories import KEY, batch, only, stream
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.requests.latencies import FlowTimes, LatencyFigure, outputs, request_times, summary
from tracing.events.layout import CALLED, YIELDED
from tracing.timeline import requests
from tracing.timeline.index import Index

NOBODY = pd.DataFrame({name: np.zeros(0) for name in ("ttft_ns", "tpot_ns", "itl_max_ns", "latency_ns")})


def times_of(folder: Path) -> FlowTimes:
    index = Index(timeline.read(folder))
    return request_times(index, requests.flows(index))


def test_of_a_stream_each_yield_is_an_output(tmp_path: Path) -> None:
    stream(tmp_path, [1000] * 40, steps=3)
    index, flow = only(tmp_path)
    yields = index.at("async.generate")
    ends = index.end[yields[index.value[yields] == YIELDED]].tolist()
    found = outputs(index, [flow])
    assert (found.of.tolist(), found.at.tolist()) == ([0, 0, 0], ends)
    [row] = request_times(index, [flow]).frame.to_dict("records")
    assert row == {
        "ttft_ns": ends[0] - flow.start_ns,
        "tpot_ns": (ends[2] - ends[0]) / 2,
        "itl_max_ns": max(np.diff(ends)),
        "latency_ns": flow.latency_ns,
    }


def test_of_a_batch_an_output_is_the_handling_of_its_message(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    times = times_of(tmp_path)
    assert times.frame.loc["0-x", ["ttft_ns", "latency_ns"]].tolist() == [4000, 4000]
    assert list(times.frame.index) == ["0-x"] and len(times.itl_ns) == 0
    assert [(row.name, row.count, row.p99_ns) for row in summary(times)] == [("TTFT", 1, 4000), ("latency", 1, 4000)]


def test_the_steps_of_a_long_prompt_give_no_output(tmp_path: Path) -> None:
    """A prompt of nine tokens in three steps of four at most, then a token a step."""
    [row] = nine_tokens(tmp_path, (4, 4, 1, 1, 1), looks={0: 0})
    assert row == {"ttft_ns": 3302, "tpot_ns": 1001, "itl_max_ns": 1001, "latency_ns": 5304}


def test_of_a_prompt_that_finds_no_room_at_first_the_last_look_tells_what_was_cached(tmp_path: Path) -> None:
    """Eight of its nine tokens were cached while it waited; a later look, as after a preemption, is no matter."""
    [row] = nine_tokens(tmp_path, (0, 0, 1, 1, 1), looks={0: 0, 1: 0, 2: 8, 4: 0})
    assert row == {"ttft_ns": 3302, "tpot_ns": 1001, "itl_max_ns": 1001, "latency_ns": 5304}


def nine_tokens(folder: Path, tokens: tuple[int, ...], looks: dict[int, int]) -> list[dict[str, float]]:
    """The times of a prompt that had so many tokens scheduled in each step, 0 before it ran; `looks` has by step what
    was found of it in the prefix cache."""
    front = TraceWriter(folder, 10, ["front end"]).span("llm.generate", 0, 9000).renamed("a-x", "a")
    front.span("llm.add_request", 1, 9, "a").span("input.assign_id", 5, 6, "a-x").span("client.send", 7, 8, "a-x")
    core = TraceWriter(folder, 11, ["core"], parent=10).span("core.receive", 10, 11, "a-x", thread=2)
    core.span("core.add_request", 20, 21, "a-x", value=9)
    for step, count in enumerate(tokens):
        at = 1000 * (step + 1)
        core.span("scheduler.schedule", at, at + 10, step=step).batch(step, {"a-x": count} if count else {})
        if step in looks:
            core.span("kv.lookup", at + 1, at + 2, "a-x", step=step, value=looks[step])
        core.span("scheduler.update", at + 100, at + 110, step=step).message(step, KEY + step)
        front.span("output.process", at + 200, at + 300 + step, step=KEY + step)
    core.span("scheduler.free", 5105, 5106, "a-x", step=4, value=3, extra="FINISHED_LENGTH_CAPPED")
    front.close()
    core.close()
    return times_of(folder).frame.to_dict("records")


def test_two_calls_with_one_id_have_each_their_own_outputs(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"])
    for call, (begun, ends) in enumerate(((100, (300, 500)), (150, (400, 900))), 1):
        front.span("async.generate", begun, begun, "a", value=CALLED, extra=call << 1)
        for end in ends:
            front.span("async.generate", end - 5, end, "a", value=YIELDED, extra=call << 1)
    front.close()
    index = Index(timeline.read(tmp_path))
    flows = [flow_of(call) for call in (2, 1)]
    found = outputs(index, flows)
    assert (found.of.tolist(), found.at.tolist()) == ([0, 0, 1, 1], [400, 900, 300, 500])


def flow_of(call: int) -> requests.Flow:
    none = np.zeros(0, dtype=np.int64)
    return requests.Flow("a-x", "a", None, 10, 11, 0, 1000, "finished", (), 2, 3, none, none, 2, call)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300))
def test_percentiles_are_those_of_all_times_between_outputs(between: list[int]) -> None:
    times = FlowTimes(NOBODY, np.array(between, dtype=np.int64))
    [row] = summary(times)
    ordered = sorted(between)
    assert isinstance(row, LatencyFigure) and (row.name, row.count) == ("ITL", len(between))
    for share, value in ((0.5, row.p50_ns), (0.95, row.p95_ns), (0.99, row.p99_ns)):
        rank = share * (len(ordered) - 1)
        low, high = ordered[int(rank)], ordered[min(int(rank) + 1, len(ordered) - 1)]
        assert low - 1e-3 <= value <= high + 1e-3
