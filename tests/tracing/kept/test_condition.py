"""Conditions as people type them, and quantiles of what came before."""

from __future__ import annotations

import pytest

from probes.errors import EnginescopeError
from tracing.kept.condition import Condition, Happening, QuantileLimit, Recent, TimeLimit, parse


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("ttft > 1s", TimeLimit("ttft > 1s", "ttft", 1_000_000_000)),
        ("itl>200ms", TimeLimit("itl>200ms", "itl", 200_000_000)),
        (" step  > 1.5 ms ", TimeLimit("step > 1.5 ms", "step", 1_500_000)),
        ("latency > p99 * 2", QuantileLimit("latency > p99 * 2", "latency", 0.99, 2.0)),
        ("latency > p50", QuantileLimit("latency > p50", "latency", 0.5, 1.0)),
        ("stuck > 30s", TimeLimit("stuck > 30s", "stuck", 30_000_000_000)),
        ("preempted", Happening("preempted", "preempted")),
        ("error", Happening("error", "error")),
    ],
)
def test_what_is_a_condition(text: str, condition: Condition) -> None:
    assert parse(text) == condition


@pytest.mark.parametrize(
    "text", ["", "ttft", "ttft < 1s", "ttft > 1", "speed > 1s", "latency > p100", "ttft > -1s", "stuck", "stuck > p99"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(EnginescopeError) as error:
        parse(text)
    assert error.value.code == 2


def test_a_quantile_is_silent_before_200_values() -> None:
    recent = Recent(0.99)
    assert [recent.exceeds(10, 2) for _ in range(199)] + [recent.exceeds(1000, 2)] == [False] * 200
    assert (recent.exceeds(19, 2), recent.exceeds(25, 2)) == (False, True)
