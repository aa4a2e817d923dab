"""What the kernels of a trace add up to: families, exposed communication, the pace of steps, and two compared."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.breakdown.kernels.works import work
from tracing.breakdown.kernels.difference import family_changes
from tracing.breakdown.kernels.overlap import exposed
from tracing.breakdown.kernels.pace import bound, paces
from tracing.breakdown.kernels.summary import FamilyTime, summary
from tracing.breakdown.kernels.work import OF_WORK

DECODE = OF_WORK.index("decode")


def test_families_are_means_over_the_steps_of_a_kind_on_each_device() -> None:
    first = work((0, 40, "GEMM", 1), (50, 60, "attention", 1), (100, 160, "GEMM", 2), (500, 503, "copy", -1))
    both = pd.concat([first, work((0, 20, "GEMM", 1), device=1)])
    assert summary(both).families == (
        FamilyTime("decode", "GEMM", 1, (40 + 60 + 20) / 3, 120 / 130),
        FamilyTime("decode", "attention", 1 / 3, 10 / 3, 10 / 130),
        FamilyTime("no step", "copy", 1, 3, 1),
    )
    assert [(row.kind, row.steps) for row in summary(both).kinds] == [("decode", 3), ("no step", 0)]


def test_communication_is_hidden_by_kernels_of_its_device_and_not_by_copies() -> None:
    mine = work((0, 10, "communication", 1), (2, 4, "copy", 1), (6, 20, "GEMM", 1))
    other = work((0, 10, "GEMM", 1), device=1)
    assert exposed(pd.concat([mine, other])) == {DECODE: (10, 6)}
    row = summary(mine).kinds[0]
    assert (row.communication_ns, row.exposed_ns, row.hidden_ns) == (10, 6, 4)


def test_of_graphs_that_were_recorded_whole_communication_is_not_known() -> None:
    row = summary(work((0, 10, "CUDA graph, recorded whole", 1))).kinds[0]
    assert (row.communication_ns, row.exposed_ns, row.hidden_ns) == (None, None, None)


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@given(spans=SPANS)
def test_exposed_is_what_counting_instants_gives(spans: list[tuple[int, int, bool]]) -> None:
    rows = [(at, at + ns, "communication" if comm else "MoE", 1) for at, ns, comm in spans]
    talks = {t for at, ns, comm in spans if comm for t in range(at, at + ns)}
    works = {t for at, ns, comm in spans if not comm for t in range(at, at + ns)}
    assert exposed(work(*rows)) == ({DECODE: (len(talks), len(talks - works))} if talks else {})


def test_a_step_is_bound_by_what_sets_the_start_of_its_kernels() -> None:
    late = work((10, 12, "GEMM", 1, 0), (30, 32, "GEMM", 1, 20), (50, 52, "GEMM", 1, 40))
    queued = work((110, 140, "GEMM", 2, 100), (140, 170, "GEMM", 2, 102), (170, 172, "GEMM", 2, 104))
    steps = paces(pd.concat([late, queued]))
    assert steps[["launch", "kernel", "unknown"]].to_numpy().tolist() == [[40, 2, 0], [0, 62, 0]]
    assert bound(steps).tolist() == ["launch", "kernel"]
    row = summary(pd.concat([late, queued])).kinds[0]
    assert (row.steps, row.launch_bound, row.kernel_bound) == (2, 1, 1)
    assert row.launch_share == pytest.approx(40 / 104)


def test_without_launches_the_pace_is_not_known() -> None:
    row = summary(work((0, 10, "GEMM", 1), (20, 30, "GEMM", 1))).kinds[0]
    assert (row.launch_bound, row.kernel_bound, row.launch_share) == (0, 0, None)


@given(
    latency=st.integers(1, 8),
    calls=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=30),
)
def test_the_pace_of_a_simulated_queue(latency: int, calls: list[tuple[int, int]]) -> None:
    """A kernel begins `latency` after its launch, or with the end of the one before it."""
    rows, at, over, spent = [], 0, -1, {"launch": 0, "kernel": 0}
    for until_launch, length in calls:
        at += until_launch
        start = max(at + latency, over)
        if rows:
            spent["launch" if at + latency > over else "kernel"] += start - rows[-1][0]
        over = start + length
        rows.append((start, over, "GEMM", 1, at))
    spent["kernel"] += calls[-1][1]
    steps = paces(work(*rows))
    assert {name: int(steps[name].sum()) for name in spent} == spent and int(steps["unknown"].sum()) == 0


def test_two_traces_differ_by_family_in_the_kinds_of_step_that_both_have() -> None:
    before = work((0, 100, "GEMM", 1), (200, 250, "attention", 1), (300, 402, "GEMM", 2), (450, 500, "attention", 2))
    after = work((0, 100, "GEMM", 1), (200, 290, "attention", 1), (300, 402, "GEMM", 2), (450, 542, "attention", 2))
    changes = family_changes(before, after)
    assert list(changes) == ["decode"]
    whole, first, second = changes["decode"]
    assert (whole.stage, whole.change_ns, first.stage, first.change_ns) == ("all", 41, "attention", 41)
    assert first.grew and not second.grew and second.change_ns == 0


def test_without_steps_the_sums_differ_and_have_no_interval() -> None:
    changes = family_changes(work((0, 5, "MoE", -1)), work((0, 4, "MoE", -1), (8, 12, "MoE", -1)))["no step"]
    assert [(row.stage, row.before_ns, row.after_ns, row.lo_ns) for row in changes] == [
        ("all", 5, 8, None),
        ("MoE", 5, 8, None),
    ]
