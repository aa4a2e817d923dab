"""The replayed queue: equal steps give the arithmetic, and whatever the steps, no delay costs more than itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.whatif.loads.replayedqueue import HostSteps, QueueDelay, periods_ns, replayed_slope

MS = 1_000_000
PARTS = st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(0, 5 * MS)), min_size=1, max_size=30)
TIMES = st.integers(0, 10 * MS)


def steps_of(parts: list[tuple[int, int]]) -> HostSteps:
    before, after = zip(*parts, strict=True)
    return HostSteps(np.array(before), np.array(after))


def whole_ns(host: HostSteps, device_ns: int, delay: QueueDelay) -> float:
    return float(periods_ns(host, device_ns, delay).sum())


def test_the_host_waits_for_the_step_before_by_hand() -> None:
    """Launches at 1, 3 and 6 ms; the device ends at 5, 9 and 13, and the host has 5 and 9 to wait for."""
    host = steps_of([(MS, MS)] * 3)
    assert periods_ns(host, 4 * MS, QueueDelay()).tolist() == [2 * MS, 3 * MS, 4 * MS]


@given(TIMES, TIMES, TIMES, TIMES, TIMES)
def test_equal_steps_take_as_long_as_the_slower_side(
    before_ns: int, after_ns: int, device_ns: int, host_delay_ns: int, device_delay_ns: int
) -> None:
    count = 200
    host_ns, work_ns = before_ns + after_ns + host_delay_ns, device_ns + device_delay_ns
    delay = QueueDelay(host_delay_ns, device_delay_ns)
    begin_ns = host_ns + work_ns  # until the queue is full
    whole = whole_ns(steps_of([(before_ns, after_ns)] * count), device_ns, delay)
    assert count * max(host_ns, work_ns) - begin_ns - work_ns <= whole <= count * max(host_ns, work_ns) + begin_ns


@given(PARTS, TIMES, TIMES, TIMES, st.booleans())
def test_a_longer_delay_costs_more_but_no_more_than_itself(
    parts: list[tuple[int, int]], device_ns: int, delay_ns: int, longer_ns: int, on_device: bool
) -> None:
    host = steps_of(parts)
    delays = [QueueDelay(0, ns) if on_device else QueueDelay(ns, 0) for ns in (delay_ns, delay_ns + longer_ns)]
    shorter, longer = (whole_ns(host, device_ns, delay) for delay in delays)
    assert shorter <= longer <= shorter + longer_ns * len(parts)


@given(
    st.permutations([3 * MS, 3 * MS, 4 * MS, 5 * MS, 5 * MS] * 4), st.sampled_from([QueueDelay(MS), QueueDelay(0, MS)])
)
def test_beside_a_device_that_is_never_waited_for_each_microsecond_of_the_host_counts(
    host_ns: list[int], delay: QueueDelay
) -> None:
    host = steps_of([(MS, each - MS) for each in host_ns])
    assert replayed_slope([host], MS, delay).value == pytest.approx(delay.host_ns / MS)


def test_steps_that_vary_about_the_devices_length_show_a_delay_sooner_than_equal_ones() -> None:
    """Beside 6 ms of the device: half of the steps at 4 ms and half at 8 ms, and all at 5.5 ms."""
    uneven = steps_of([(MS, 3 * MS)] * 500 + [(MS, 7 * MS)] * 500)
    equal = steps_of([(MS, 9 * MS // 2)] * 1000)
    for delay_ns, by_uneven, by_equal in ((MS / 2, 0.5, 0.0), (MS, 0.5, 0.5), (4 * MS, 0.75, 0.875)):
        slopes = [replayed_slope([host], 6 * MS, QueueDelay(delay_ns)).value for host in (uneven, equal)]
        assert slopes == pytest.approx([by_uneven, by_equal], abs=0.01)
