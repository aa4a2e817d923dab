"""Two sets of budgets compared: what grew is named, what only scatters is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tracing.breakdown.changes import SMALLER, TOTAL, Budget, StageChange, block_means, stage_changes

MS = 1e6


def test_the_stage_that_grew_is_named_with_its_interval() -> None:
    before = [{"schedule": 1 * MS, "forward": 50 * MS}, {"schedule": 1.2 * MS, "forward": 51 * MS}]
    after = [{"schedule": 3 * MS, "forward": 51 * MS}, {"schedule": 3.2 * MS, "forward": 50 * MS}]
    total, schedule, forward = stage_changes([(before, after)])
    assert (total.stage, total.before_ns, total.after_ns) == (TOTAL, 51.6 * MS, 53.6 * MS)
    assert (schedule.stage, schedule.grew, schedule.shrank) == ("schedule", True, False)
    assert schedule.sentence == "schedule +2.00 ms (+918.3 µs to +3.08 ms)"  # ± t(1 - 0.025 / 3, 2 df) · 0.141 ms
    assert not (forward.grew or forward.shrank or total.grew)


def test_of_a_whole_that_only_scatters_no_difference_is_said_to_be_seen() -> None:
    whole = StageChange(TOTAL, 333.44 * MS, 419.84 * MS, -40.34 * MS, 213.13 * MS)
    assert whole.times == "419.84 ms, before 333.44 ms: +86.40 ms (-40.34 ms to +213.13 ms), no difference seen"
    assert replace(whole, lo_ns=40 * MS).times == "419.84 ms, before 333.44 ms: +86.40 ms (+40.00 ms to +213.13 ms)"
    unknown = replace(whole, lo_ns=None, hi_ns=None)
    assert unknown.times == "419.84 ms, before 333.44 ms: +86.40 ms (interval not known)"


def test_one_replicate_has_no_interval_and_tells_nothing() -> None:
    total, schedule = stage_changes([([{"schedule": 1 * MS}], [{"schedule": 9 * MS}])])
    assert (schedule.change_ns, schedule.lo_ns, schedule.grew, total.grew) == (8 * MS, None, False, False)
    assert schedule.sentence == "schedule +8.00 ms (interval not known)"


def test_without_budgets_on_a_side_there_is_nothing_to_compare() -> None:
    assert stage_changes([]) == stage_changes([([], [{"schedule": 1.0}])]) == []


def test_a_change_over_several_pairs_is_their_mean() -> None:
    slow, fast = [{"forward": 100.0}, {"forward": 102.0}], [{"forward": 50.0}, {"forward": 52.0}]
    total, _ = stage_changes([(slow, [{"forward": 111.0}]), (fast, [{"forward": 57.0}])])
    assert (total.before_ns, total.after_ns) == (76, 84)
    assert total.hi_ns is not None and total.hi_ns < 20  # that pairs differ from each other widens nothing


def test_stages_that_are_small_on_both_sides_are_taken_together() -> None:
    before, after = {"forward": 1000.0, "free": 1.0, "gc": 2.0}, {"forward": 1000.0, "free": 1.0, "schedule": 40.0}
    names = [(change.stage, change.change_ns) for change in stage_changes([([before], [after])])]
    assert names == [(TOTAL, 38), ("schedule", 40), (SMALLER, -2), ("forward", 0)]


def test_a_stage_that_is_gone_has_shrunk() -> None:
    before, after = [{"a": 100.0, "b": 50.0}, {"a": 101.0, "b": 50.0}], [{"a": 100.0}, {"a": 101.0}]
    assert [change.stage for change in stage_changes([(before, after)]) if change.shrank] == [TOTAL, "b"]


@pytest.mark.parametrize("replicates", [2, 3, 8])
def test_of_equal_budgets_one_in_twenty_shows_a_change_at_most(replicates: int) -> None:
    draw = np.random.default_rng(20261126)

    def budgets() -> list[Budget]:
        rows = draw.normal([50, 10, 5, 1, 0.5, 0.4], [1, 0.5, 0.5, 0.2, 0.05, 0.1], (replicates, 6))
        return [dict(zip("abcdef", row.tolist(), strict=True)) for row in rows]

    false = sum(any(c.grew or c.shrank for c in stage_changes([(budgets(), budgets())])) for _ in range(1000))
    assert false <= 64  # two deviations above 5 %


def test_blocks_are_means_of_what_follows_one_another() -> None:
    steps = [{"schedule": float(number)} for number in range(4)] + [{"schedule": 9.0, "gc": 3.0}] * 2
    assert block_means(steps, 3) == [{"schedule": 0.5, "gc": 0}, {"schedule": 2.5, "gc": 0}, {"schedule": 9, "gc": 3}]
    assert block_means(steps[:2], 3) == steps[:2]
