"""What is worked out of one trial's records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.table.cards import CardFigures, card_figures, card_numbers
from offline.table.figures import measure
from tests.offline.armrecords import COLD, REQUESTS, STEPS, step, trial
from tracing.events.step import STEP_FIELDS


def only(figures: dict[str, Any], *names: str) -> list[Any]:
    return [figures[name] for name in names]


def test_the_figures_of_a_trial() -> None:
    assert asdict(measure(trial(COLD, 0))) == pytest.approx(
        {
            "elapsed_s": 0.3,
            "output_tok_s": 20.0,
            "total_tok_s": 22 / 0.3,
            **{"latency_s_p50": 0.25, "latency_s_p95": 0.268, "latency_s_p99": 0.2696},
            **{"ttft_s_p50": 0.15, "ttft_s_p95": 0.195, "ttft_s_p99": 0.199},
            **{"tpot_s_p50": 0.05, "tpot_s_p95": 0.0635, "tpot_s_p99": 0.0647},
            **{"queue_s_p50": 0.0, "queue_s_p95": 0.0, "queue_s_p99": 0.0},
            **{"prefill_s_p50": 0.1, "prefill_s_p95": 0.1, "prefill_s_p99": 0.1},
            **{"decode_s_p50": 0.10, "decode_s_p95": 0.127, "decode_s_p99": 0.1294},
            # Without first decodes: one request waited 30 ms for a token, and one 40 ms.
            **{"itl_s_p50": 0.03, "itl_s_p95": 0.04, "itl_s_p99": 0.04},
            "output_tokens_mean": 1.0,
            "itl_token_s_mean": 0.035,
            "cached_tokens": 4,
            "running_mean": 1.5,
            "running_max": 2,
            "waiting_max": 1,
            "preemptions": 0,
            "kv_used_blocks_max": 4,
            "prefill_steps": 1,
            "mixed_steps": 1,
            "decode_steps": 2,
            **{"gpu_utilization_percent": None, "gpu_power_w": None, "gpu_memory_share": None},
            "gc_pause_s": 0.005,
            "reference_s": 0.03,
            "gpu_reference_s": None,
        }
    )


def test_the_gpus_of_a_trial() -> None:
    card = {
        "index": 0,
        "name": "H100",
        "used_bytes": 60,
        "total_bytes": 80,
        "utilization_percent": 90.0,
        "power_w": 400.0,
    }
    other = card | {"index": 1, "used_bytes": 20, "utilization_percent": 70.0, "power_w": 200.0}
    names = ("gpu_utilization_percent", "gpu_power_w", "gpu_memory_share")
    assert only(asdict(measure(trial(COLD, 0, devices=[card, other]))), *names) == [80.0, 600.0, 0.75]
    both = trial(COLD, 0, devices=[card, other])
    assert card_figures(both, card_numbers([both])) == {
        0: CardFigures(90.0, 400.0, 0.75),
        1: CardFigures(70.0, 200.0, 0.25),
    }
    for figure, unknown in zip(names, ("utilization_percent", "power_w", "used_bytes"), strict=True):
        figures = asdict(measure(trial(COLD, 0, devices=[card, other | {unknown: None}])))
        assert [name for name in names if figures[name] is None] == [figure]


def test_where_an_output_holds_two_tokens_the_time_between_tokens_is_half_of_that_between_outputs() -> None:
    speculated = [request | {"generated_tokens": 5} for request in REQUESTS]
    one = asdict(measure(trial(COLD, 0, requests=speculated)))
    assert only(one, "output_tokens_mean", "itl_token_s_mean") == [2.0, pytest.approx(0.0175)]
    assert only(one, "itl_s_p50") == only(asdict(measure(trial(COLD, 0))), "itl_s_p50")


def test_a_trial_without_a_decode_has_no_time_between_tokens() -> None:
    one = asdict(measure(trial(COLD, 0, requests=[REQUESTS[0] | {"generated_tokens": 1}], steps=STEPS[:1])))
    assert only(one, "tpot_s_p50", "itl_s_p99", "running_mean", "decode_steps") == [None, None, 1.0, 0]


def test_a_trial_without_steps_still_has_its_times() -> None:
    one = asdict(measure(trial(COLD, 0, steps=[])))
    assert only(one, "elapsed_s", "running_mean", "running_max", "itl_s_p50", "gc_pause_s") == [
        0.3,
        None,
        None,
        None,
        0,
    ]


def test_steps_are_read_by_the_names_they_were_written_with() -> None:
    turned = {"step_fields": list(reversed(STEP_FIELDS)), "steps": [values[::-1] for values in STEPS]}
    assert measure(trial(COLD, 0, **turned)) == measure(trial(COLD, 0))


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_every_step_that_ran_something_is_of_one_sort(drawn: list[tuple[int, int, int]]) -> None:
    steps = [step(0, end, prefill_requests=prefill, decode_requests=decode) for end, prefill, decode in drawn]
    found = asdict(measure(trial(COLD, 0, steps=steps)))
    ran = [prefill + decode for _, prefill, decode in drawn if prefill + decode]
    assert sum(only(found, "prefill_steps", "mixed_steps", "decode_steps")) == len(ran)
    assert found["running_mean"] == (pytest.approx(sum(ran) / len(ran)) if ran else None)
