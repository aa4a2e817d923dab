"""Differences of a run, from the frame of its trials: what is compared, and what is said of arms that are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from offline.differences.observations import observations
from offline.differences.run import NOT_INTERLEAVED, RunDifferences, run_differences

LENGTHS = {"input_len": 8, "output_len": 4, "shared_prefix_len": 0, "temperature": 0.0}


def trial(arm: int, engine: int, number: int, start_ns: int, speed: float) -> dict[str, object]:
    """A row of the frame of trials."""
    identity = {"arm": f"arm{arm}", "engine": engine, "group": 0, "round": number, "start_ns": start_ns}
    cell = {"block_size": (32, 64)[arm], "batch_size": 1, "cache_state": "cold", **LENGTHS}
    times = dict.fromkeys(("latency_s_p50", "ttft_s_p50", "tpot_s_p50", "itl_s_p99"), 1 / speed)
    return {**identity, **cell, "output_tok_s": speed, **times}


def frame(order: list[tuple[int, int]]) -> pd.DataFrame:
    """Trials of four starts in an order of (engine, round): engines 2 and 4, of the second arm, are a tenth faster."""
    rows = [
        trial((engine - 1) % 2, engine, number, place, (100.0 if engine % 2 else 110.0) * (1 + engine / 1000))
        for place, (engine, number) in enumerate(order)
    ]
    return pd.DataFrame(rows)


TURNS = frame([(engine, number) for number in range(2) for engine in (1, 2, 3, 4)])
IN_A_ROW = frame([(engine, number) for engine in (1, 2, 3, 4) for number in range(2)])


def test_a_run_of_two_arms_from_its_frame() -> None:
    found = run_differences(TURNS, ["block_size"], drifted=True, in_turns=True)
    (row,) = found.by_metric["output_tok_s"]
    assert (row.axis, row.from_, row.to, row.cell, row.verdict) == ("block_size", "32", "64", "all", "faster")
    assert row.lo < row.ratio < row.hi and row.ratio == pytest.approx(1.1, rel=0.01)
    assert {each.metric: each.verdict for each in found.rows()} == dict.fromkeys(found.by_metric, "faster")
    assert found.is_best("output_tok_s", {"block_size": 64, "batch_size": 1, "cache_state": "cold", **LENGTHS})
    assert not found.is_best("output_tok_s", {"block_size": 32, "batch_size": 1, "cache_state": "cold", **LENGTHS})


def test_arms_in_a_row_are_not_compared_where_the_machine_drifted() -> None:
    drifted = run_differences(IN_A_ROW, ["block_size"], drifted=True, in_turns=False)
    assert drifted == RunDifferences({}, (NOT_INTERLEAVED,))
    steady = run_differences(IN_A_ROW, ["block_size"], drifted=False, in_turns=False)
    assert steady.by_metric.keys() == {*run_differences(TURNS, ["block_size"], True, in_turns=True).by_metric}


def test_an_arm_that_was_done_again_beside_nobody_is_named() -> None:
    again = TURNS.assign(group=TURNS["arm"].map({"arm0": 0, "arm1": 1}))
    notes = run_differences(again, ["block_size"], drifted=False, in_turns=True).notes
    assert [note.partition(",")[0] for note in notes] == [
        "block_size=32 ran beside no other arm",
        "block_size=64 ran beside no other arm",
    ]
    assert run_differences(TURNS, ["block_size"], drifted=False, in_turns=True).notes == ()


@pytest.mark.parametrize("in_turns", [False, True])
def test_an_only_arm_is_compared_with_nobody_so_that_nothing_is_left_out(in_turns: bool) -> None:
    alone = IN_A_ROW.query("arm == 'arm0'")
    assert run_differences(alone, ["block_size"], drifted=True, in_turns=in_turns) == RunDifferences()


def test_values_without_a_logarithm_are_left_out() -> None:
    measured = observations(
        TURNS.assign(output_tok_s=[0.0, None, *TURNS["output_tok_s"][2:]]), ["block_size"], "output_tok_s"
    )
    assert np.isnan(measured.logs).sum() == 2
