"""What is said of the stages: the first line, the table's rows, and the JSON form."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from probes.statistics.intervals import Estimate
from tracing.whatif.answer import StageAnswer, WhatIfAnswer
from tracing.whatif.report import reported, rows
from tracing.whatif.slopes import SizedSlope, StageSlope

MS = 1_000_000


def stage(name: str, time_ns: float, slope: Estimate, hidden: Estimate | None = None) -> StageAnswer:
    return StageAnswer(name, time_ns, 1.0, StageSlope(slope, hidden, (SizedSlope(2.0 * MS, slope, 12),)))


FORWARD = stage("forward", 1.5 * MS, Estimate(1.0, 0.9, 1.1))
SCHEDULE = stage("schedule", 0.3 * MS, Estimate(1.0, 0.9, 1.1))
SAMPLE = stage("sample", 1.4 * MS, Estimate(1.0, 0.7, 1.3))
OUTPUTS = stage("process outputs", 0.9 * MS, Estimate(0.0, -0.1, 0.1))
UPDATE = stage("update", 0.2 * MS, Estimate(-0.02, -0.12, 0.08), Estimate(1.8 * MS, 1.6 * MS, 2.0 * MS))
UNKNOWN = stage("serialize", 0.1 * MS, Estimate(0.4, -0.2, 1.0))


def first_line(*stages: StageAnswer) -> str:
    return WhatIfAnswer(3.0 * MS, 8, stages).first_line()


def test_the_stage_that_pays_most_and_those_that_buy_nothing() -> None:
    assert first_line(SCHEDULE, FORWARD, OUTPUTS, UPDATE, UNKNOWN) == (
        "forward pays most: 1.50 ms of a step of 3.00 ms, at most +100% tok/s; process outputs (900.0 µs), update "
        "(200.0 µs) cost time and buy nothing; one start of the engine: another may differ"
    )


def test_stages_that_the_intervals_do_not_tell_apart_are_both_named() -> None:
    assert first_line(SCHEDULE, FORWARD, SAMPLE) == (
        "forward pays most (1.50 ms of a step of 3.00 ms, at most +100% tok/s), not told apart from sample; one start "
        "of the engine: another may differ"
    )


def test_nothing_is_claimed_without_an_interval() -> None:
    unknown = stage("forward", 1.5 * MS, Estimate(1.0, None, None))
    assert first_line(unknown, UNKNOWN) == "no stage was seen to pay; one start of the engine: another may differ"


@pytest.mark.parametrize(
    ("time_ns", "slope", "expected"),
    [(0.3 * MS, 1.0, 1 / 9), (1.5 * MS, 1.0, 1.0), (1.5 * MS, 0.5, 1 / 3), (1.5 * MS, -0.1, 0.0), (9 * MS, 1.0, 19.0)],
)
def test_what_a_stages_time_would_buy_at_most(time_ns: float, slope: float, expected: float) -> None:
    """Of a step of 3 ms; of no stage more than 95 % of the step is taken away."""
    assert stage("s", time_ns, Estimate(slope, slope, slope)).gain(3 * MS).value == pytest.approx(expected)


def test_of_a_stage_that_is_most_of_a_step_more_than_twice_the_throughput_is_not_foretold() -> None:
    device = stage("work on device", 2.99 * MS, Estimate(0.98, 0.45, 1.04))
    assert first_line(device, SCHEDULE).startswith(
        "work on device pays most: 2.99 ms of a step of 3.00 ms, over +100% tok/s; one start"
    )
    assert rows.row(device, 3 * MS)[-1] == "over +100% [+81.3%, over +100%]"


def test_a_row_of_each_kind() -> None:
    assert [rows.row(each, 3 * MS)[3:] for each in (SCHEDULE, OUTPUTS, UPDATE)] == [
        ["1.00 [0.90, 1.10]", "", "+11.1% [+9.9%, +12.4%]"],
        ["0.00 [-0.10, 0.10]", "at least 2.00 ms", "+0.0% [+0.0%, +3.1%]"],
        ["-0.02 [-0.12, 0.08]", "1.80 ms [1.60 ms, 2.00 ms]", "+0.0% [+0.0%, +0.5%]"],
    ]


@pytest.mark.parametrize(
    ("asleep", "expected"),
    [
        (Estimate(1.0, 0.9, 1.1), "1.00 [0.90, 1.10]: a spin takes a processor from other processes too"),
        (Estimate(1.4, 1.2, 1.6), "1.40 [1.20, 1.60]: not for a processor that a spin takes: work takes longer"),
        (Estimate(1.3, 0.9, 1.7), "1.30 [0.90, 1.70]: which is not told apart from the spin"),
    ],
)
def test_a_slope_above_one_gets_its_reason_from_a_delay_that_sleeps(asleep: Estimate, expected: str) -> None:
    dear = replace(stage("sample", MS, Estimate(1.5, 1.3, 1.7)), asleep=SizedSlope(2.0 * MS, asleep, 12))
    lines = rows.notes(WhatIfAnswer(3.0 * MS, 8, (SCHEDULE, dear)))
    assert len(lines) == 2
    assert lines[1].startswith(f"sample costs more than its delay; asleep the delay costs {expected}")


def test_a_slope_above_one_of_a_delay_that_sleeps_anyway() -> None:
    dear = stage("forward", MS, Estimate(1.5, 1.3, 1.7))
    assert rows.above_one(dear).startswith("forward costs more than its delay: its delay takes no processor")


def test_what_had_no_time_is_said() -> None:
    assert rows.notes(WhatIfAnswer(3.0 * MS, 8, (SCHEDULE,), "delays of 1 ms had no time", ("nested",)))[1:] == [
        "nested",
        "delays of 1 ms had no time",
    ]


def test_the_json_form() -> None:
    values = json.loads(reported.as_json(WhatIfAnswer(3.0 * MS, 8, (UPDATE,))))
    assert values == {
        "schema": 1,
        "answer": "no stage was seen to pay; update (200.0 µs) costs time and buys nothing; one start of the engine: "
        "another may differ",
        "step_ns": 3.0 * MS,
        "streams": 8,
        "stages": [
            {
                "stage": "update",
                "time_ns": 0.2 * MS,
                "calls_per_step": 1.0,
                "slope": -0.02,
                "lo": -0.12,
                "hi": 0.08,
                "hidden_up_to_ns": 1.8 * MS,
                "hidden_up_to_lo_ns": 1.6 * MS,
                "hidden_up_to_hi_ns": 2.0 * MS,
                "sizes": [{"achieved_ns": 2.0 * MS, "slope": -0.02, "lo": -0.12, "hi": 0.08, "pairs": 12}],
                "asleep": None,
            }
        ],
    }
