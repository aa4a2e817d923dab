"""The figures of a rate from literal requests: latencies from the schedule, gaps, goodput, what was not finished."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.load.records import MeasuredRate, ServedRequest, StepLine
from offline.traffic.distributions import distribution, needed_values
from offline.traffic.figures import rate_backlog, rate_figures, request_times
from offline.traffic.rows import notes
from probes.statistics.blocks import blocks

S = 1_000_000_000
BEGIN = 5 * S
RATE = MeasuredRate("v", 1, 2.0, BEGIN, BEGIN + 10 * S, BEGIN + 12 * S, 4, 4, 2, 1, 1, True)
ONE = ServedRequest(
    variant="v",
    start=1,
    rate_req_s=2.0,
    request=0,
    scheduled_ns=BEGIN,
    sent_ns=BEGIN + 1_000_000,
    queued_ns=None,
    token_ns=(BEGIN + 2 * S, BEGIN + 3 * S, BEGIN + 6 * S),
    tokens=(1, 1, 1),
    prompt_tokens=10,
    cached_tokens=0,
    finish="length",
    preemptions=1,
    started_ns=BEGIN + S,
)


def test_one_request_by_hand() -> None:
    times = request_times(ONE, BEGIN)
    assert times is not None
    assert (times.ttft_s, times.e2e_s, times.tpot_s, times.normalized_s, times.queue_s) == (2, 6, 2, 2, 1)
    assert times.itl_s == (1, 3)  # the stall of three seconds, which two seconds a token hide


def test_several_tokens_in_an_output_count_as_such() -> None:
    times = request_times(replace(ONE, tokens=(1, 4, 1)), BEGIN)
    assert times is not None and times.tpot_s == pytest.approx(4 / 5) and times.normalized_s == 1


@pytest.mark.parametrize("finish", ["unfinished", "failed", "aborted"])
def test_what_was_not_finished_has_no_latency(finish: str) -> None:
    assert request_times(replace(ONE, finish=finish), BEGIN) is None


def test_the_figures_of_a_rate() -> None:
    late = replace(ONE, request=1, sent_ns=BEGIN + 5_000_000, token_ns=(BEGIN + S, BEGIN + 2 * S), tokens=(1, 1))
    stuck = replace(ONE, request=2, finish="unfinished", token_ns=(BEGIN + 9 * S,), tokens=(1,))
    broken = replace(ONE, request=3, finish="failed", token_ns=(), tokens=(), preemptions=None)
    steps = [StepLine(BEGIN, BEGIN + S, 2, 0, 0.1, 20), StepLine(BEGIN + S, BEGIN + 4 * S, 4, 1, 0.3, 4)]
    row = rate_figures(RATE, [ONE, late, stuck, broken], steps, {"ttft": 1.5, "tpot": 1.0})
    assert row.normalized is not None and row.normalized.mean.value == 1.5  # of 6 s / 3 and 2 s / 2
    assert row.longest_itl_s == 3
    assert row.output_tok_s.value == pytest.approx(0.6)  # six tokens in ten seconds, those of the unfinished too
    assert (row.goodput_req_s, row.goodput_share and row.goodput_share.value) == (0.1, 0.25)
    assert (row.running_mean, row.kv_use_max, row.preemptions) == (3.5, 0.3, 3)
    assert row.late and row.late_p99_s == pytest.approx(0.005, rel=0.05)
    assert row.backlog is not None and row.backlog.peak == 4


def test_a_rate_that_lost_its_first_steps_says_so_and_makes_no_figure_of_the_others() -> None:
    steps = [StepLine(BEGIN + 9 * S, BEGIN + 10 * S, 4, 1, 0.3, 4)]
    row = rate_figures(replace(RATE, steps_lost=1234), [ONE], steps)
    assert (row.running_mean, row.kv_use_max) == (None, None)
    assert "its first 1,234 steps were overwritten: batch and KV use not known" in notes(row)


def test_a_request_that_was_sent_back_and_never_finished_counts_where_steps_are_known() -> None:
    stuck = replace(ONE, finish="unfinished", preemptions=None)
    steps = [replace(StepLine(BEGIN + n * S, BEGIN + n * S + 1, 1, 1, 0.9, 1), preempted=n) for n in (2, 1, 0)]
    assert rate_figures(RATE, [stuck], steps).preemptions == 3
    assert rate_figures(RATE, [stuck, ONE]).preemptions == 1
    assert rate_figures(RATE, [stuck]).preemptions is None


def test_one_request_at_a_time_has_no_backlog() -> None:
    assert rate_figures(replace(RATE, rate_req_s=None), [ONE]).verdict == ""


def test_a_rate_without_requests_has_no_figures() -> None:
    row = rate_figures(RATE, [])
    assert (row.ttft, row.itl, row.output_tok_s.value, row.goodput_req_s) == (None, None, 0.0, None)
    assert rate_backlog([]).verdict == "undecided"


def test_no_p99_without_its_bound() -> None:
    assert needed_values(0.99) == 381
    rng, cut = np.random.default_rng(1), blocks(1000.0, np.full(1000, 1.0))
    few, many = (distribution(rng.exponential(1, n), np.sort(rng.uniform(0, 1000, n)), cut) for n in (100, 3000))
    assert few is not None and few.p99 is None and few.p99_needs == "P99 needs more than 381 values"
    assert many is not None and many.p99 is not None and many.p99_needs is None


def test_a_short_run_says_how_long_it_has_to_be() -> None:
    short = distribution(np.full(50, 4.0), np.linspace(0, 10, 50), blocks(10.0, np.full(50, 4.0)))
    assert short is not None and short.p99_needs == "P99 needs 64 s of this load, and at least 381 values"
    assert short.mean.low is None
