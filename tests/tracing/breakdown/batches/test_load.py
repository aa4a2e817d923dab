"""Batch size, waiting and KV use over time, of steps that are written down."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tracing.breakdown.batches.load import load, over_time, span_of
from tracing.page.tables.firstscreen import BARS, load_rows


def steps_of(*rows: tuple[int, int, int, int, int], pid: int = 11) -> pd.DataFrame:
    """Steps of (start, end, requests, waiting, used blocks of 10), half of the requests in prefill."""
    frame = pd.DataFrame(rows, columns=["start_ns", "end_ns", "requests", "waiting", "kv_used_blocks"])
    frame["prefill_requests"] = frame["requests"] // 2
    frame["decode_requests"] = frame["requests"] - frame["prefill_requests"]
    kinds = frame["requests"].map(lambda requests: "decode" if requests else "empty")
    return frame.assign(pid=pid, kv_blocks=10, kv_cached_blocks=-1, kv_evicted_blocks=-1, kind=kinds)


def test_a_row_a_quantity_and_core() -> None:
    steps = steps_of((0, 10, 2, 0, 5), (20, 60, 4, 3, 8), (50, 55, 0, 0, 0))
    batch, waiting, blocks = load(steps)
    assert [(row.name, row.core_pid, row.median, row.most) for row in (batch, waiting, blocks)] == [
        ("batch size", 11, 3, 4),
        ("waiting", 11, 1.5, 3),
        ("KV use", 11, 0.65, 0.8),
    ]
    assert batch.over_time == (2,) * 11 + (0,) * 9 + (4,) * 40
    both = load(pd.concat([steps, steps_of((0, 60, 7, 0, 1), pid=12)]))
    assert [row.core_pid for row in both] == [11, 11, 11, 12, 12, 12] and both[3].most == 7


def test_cached_and_evicted_blocks_where_there_are_any() -> None:
    steps = steps_of((0, 60, 1, 0, 1), (60, 120, 1, 0, 2)).assign(kv_cached_blocks=[4, 6], kv_evicted_blocks=[0, 3])
    cached, evicted = load(steps)[3:]
    assert (cached.name, cached.median, cached.most) == ("KV cached", 0.5, 0.6)
    assert (evicted.name, evicted.most, evicted.over_time) == ("KV evicted", 3, (0,) * 30 + (3,) * 30)
    assert [row[2] for row in load_rows([cached, evicted])] == ["60.0%", "3"]


def test_the_use_of_one_block_of_many_is_not_rounded_away() -> None:
    steps = steps_of((0, 60, 1, 0, 1), (60, 120, 1, 0, 2)).assign(kv_blocks=30_000)
    blocks = load(steps)[2]
    assert blocks.over_time == (3.333e-05,) * 30 + (6.667e-05,) * 30
    assert load_rows([blocks])[0][3] == BARS[3] * 30 + BARS[-1] * 30


def test_without_a_step_there_is_no_load() -> None:
    assert load(steps_of()) == () and load(steps_of((0, 10, 0, 0, 0))) == ()


MOMENTS = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=20)


@given(MOMENTS, st.integers(1, 40))
def test_each_part_of_the_time_has_the_most_of_the_steps_in_it(found: list[tuple[int, int, int]], parts: int) -> None:
    steps = steps_of(*((start, start + length, requests, 0, 0) for start, length, requests in found))
    begun, ended = span_of(steps)
    most = over_time(steps, steps["requests"].to_numpy(dtype=float), (begun, ended), parts)
    assert most.max() == steps["requests"].max()
    for part, value in enumerate(most.tolist()):
        low, high = (begun + (ended - begun) * edge / parts for edge in (part, part + 1))
        inside = [requests for start, length, requests in found if start < high and start + length > low]
        near = [requests for start, length, requests in found if start < high and start + length >= low]
        assert max(inside, default=0) <= value <= max(near, default=0)
