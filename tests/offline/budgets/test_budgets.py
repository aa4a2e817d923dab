"""Where the time of recorded trials went: a budget a cell, the recorder's own cost, and what grew between two arms."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from offline.budgets.cellbudget import cell_budgets, slowdown
from offline.budgets.reason import holds, reason_sentences, reasons
from offline.differences.difference import Difference
from offline.page.budgets import budget_chart, change_rows, cost_sentence, request_table, step_table
from offline.page.summary import summary
from offline.records.lines import line_of, record_of
from offline.records.traced import TracedRecord
from offline.spec.grid import Arm, Cell, arms
from offline.spec.spec import Spec
from offline.table.statistics import Figure
from tests.offline.reports import SPEC, a_report
from tracing.breakdown.requests.windowtimes import StepTimes, WindowTimes

MS = 1_000_000
GRID = arms(SPEC, {})
ROW = Difference("block_size", "32", "64", "cache_state=cold", "output_tok_s", 0.8, 0.75, 0.85, 1.03, "slower")


def traced(arm: Arm, cell: Cell, engine: int, stages_ns: dict[str, int], requests: int = 2) -> TracedRecord:
    """A recorded trial of 100 ms, of which the mean request has these nanoseconds."""
    steps = (StepTimes("decode", 15, {"schedule": 15 * MS, "model": 150 * MS}),)
    sums = {stage: requests * ns for stage, ns in stages_ns.items()}
    times = WindowTimes(requests, 0, sums, steps, spans=500)
    window = (0, 100 * MS)
    return TracedRecord(arm.id, arm.cell_id(cell), 0, engine, 1, 7, *window, f"trace/engine-{engine}", times)


def recorded(slow_schedule: int = 0, starts: int = 2, spec: Spec = SPEC) -> list[TracedRecord]:
    """Each cell once in each start; `slow_schedule` is what arms of block size 64 take longer in it, in ms."""
    draw, records = random.Random(8), list[TracedRecord]()
    for start in range(starts):
        for number, arm in enumerate(arms(spec, {})):
            for cell in arm.cells:
                schedule = 2 + (slow_schedule if arm.settings["block_size"] == 64 else 0)
                stages = {"schedule": schedule, "forward": 40 * cell.batch_size, "logits": 10}
                ns = {stage: int(length * MS * draw.gauss(1, 0.002)) for stage, length in stages.items()}
                records.append(traced(arm, cell, start * 4 + number + 1, ns))
    return records


def test_a_recorded_trial_is_a_line_that_is_read_as_it_was_written() -> None:
    (record, *_) = recorded()
    assert record_of(line_of(record)) == record


def test_the_stage_that_makes_an_arm_slower_is_named_and_no_other() -> None:
    (reason,) = reasons(GRID, recorded(slow_schedule=3), [ROW])
    assert [change.stage for change in reason.changed] == ["schedule"]
    sentence = reason.sentence
    assert sentence.startswith("block_size 32 → 64 (cache_state=cold): slower, a recorded request takes 11")
    assert sentence.endswith("; schedule +2.99 ms (+2.98 ms to +3.00 ms).")
    assert reason_sentences([reason]) == [sentence]


def test_warm_cells_are_compared_in_the_arms_that_have_them() -> None:
    (reason,) = reasons(GRID, recorded(slow_schedule=3), [replace(ROW, cell="cache_state=warm")])
    assert [change.stage for change in reason.changed] == ["schedule"]


def test_where_nothing_changed_no_stage_is_named() -> None:
    (reason,) = reasons(GRID, recorded(), [replace(ROW, verdict="no difference seen")])
    assert reason.changed == [] and "no stage can be said to have changed" in reason.sentence
    assert reason_sentences([reason]) == []


def test_arms_that_were_started_once_have_changes_without_intervals() -> None:
    (reason,) = reasons(GRID, recorded(slow_schedule=3, starts=1), [ROW])
    assert reason.changed == [] and "schedule +2.99 ms (interval not known)" in reason.sentence


def test_a_start_that_lacks_a_cell_is_no_replicate() -> None:
    records = recorded(slow_schedule=3)
    first = next(each for each in records if each.engine == 4)  # of the second start of an arm only one cell is left
    (reason,) = reasons(GRID, [each for each in records if each is not first], [ROW])
    whole = reasons(GRID, recorded(slow_schedule=3), [ROW])[0]
    assert [change.stage for change in reason.changed] == ["schedule"]
    assert reason.changes[0].after_ns != whole.changes[0].after_ns


def test_a_decode_step_takes_the_place_of_requests_that_are_not_whole() -> None:
    records = [replace(each, times=replace(each.times, requests=0)) for each in recorded()]
    (reason,) = reasons(GRID, records, [ROW])
    assert "a recorded decode step takes 11.00 ms, before 11.00 ms" in reason.sentence


def test_differences_inside_a_start_have_no_reason() -> None:
    assert reasons(GRID, recorded(), [replace(ROW, axis="batch_size", from_="1", to="4")]) == []


@pytest.mark.parametrize(
    ("label", "levels", "held"),
    [
        ("all", {"batch_size": 16}, True),
        ("batch_size=1 cache_state=cold", {"batch_size": 1, "cache_state": "cold", "input_len": 160}, True),
        ("batch_size=16 cache_state=cold", {"batch_size": 1, "cache_state": "cold"}, False),
        ("cache_state=warm", {"batch_size": 1, "cache_state": "cold"}, False),
    ],
)
def test_a_label_holds_the_axes_that_it_names(label: str, levels: dict[str, object], held: bool) -> None:
    assert holds(label, levels) is held


def test_the_budget_of_a_cell_is_the_mean_over_its_starts() -> None:
    arm, cell = GRID[0], GRID[0].cells[0]
    records = [traced(arm, cell, 1, {"forward": 40}), traced(arm, cell, 2, {"forward": 50, "gc": 10}, requests=1)]
    budget = cell_budgets(records)[arm.cell_id(cell)]
    assert (budget.requests, budget.stages, budget.request_ns) == (3, {"forward": 45, "gc": 5}, 50)
    assert budget.counts == {"decode": 15} and budget.steps["decode"] == {"schedule": 1 * MS, "model": 10 * MS}
    assert budget.folders == ("trace/engine-1", "trace/engine-2")


def test_the_recorders_cost_is_that_of_recorded_trials_beside_timed_ones_of_their_starts() -> None:
    assert slowdown(recorded()) is None
    report = a_report(extra=recorded())
    assert report.slowdown is not None and report.slowdown.n == 8
    assert cost_sentence(None).startswith("In timed trials its hooks only pass calls on")
    assert cost_sentence(Figure(1.01, 0.99, 1.03, 8)).startswith(
        "Recorded trials took 1.010 times as long as timed ones (95 % interval 0.990 to 1.030, 8 starts)."
    )


def test_of_a_cell_without_a_whole_request_no_length_is_told() -> None:
    first, *others = recorded()
    cut = replace(first, times=replace(first.times, requests=0, cut=4, stages_ns={}))
    other_starts = [record for record in others if record.cell != first.cell]
    report = a_report(extra=[cut, *other_starts])
    _, (row, *_) = request_table(report)
    assert row[1:] == ["0 (and 4 cut)", "n/a", "n/a", "n/a", "n/a"]
    assert row[0] not in budget_chart(report).data[0].y


def test_the_page_has_a_row_a_cell_and_a_reason_for_what_is_slower() -> None:
    report = a_report(gain={64: 0.8}, extra=recorded(slow_schedule=3))
    columns, rows = request_table(report)
    assert columns == ["cell", "requests", "the whole", "forward", "logits", "schedule"] and len(rows) == 12
    assert rows[0][:2] == ["block_size=32 prefix_caching=off, cold, batch 1", "4"]
    assert step_table(report)[0] == ["cell", "step", "a trial", "length", "model", "schedule"]
    assert ["block_size 32 → 64 (cache_state=cold)", "schedule", "grew"] in [
        [row[0], row[1], row[-1]] for row in change_rows(report.reasons)
    ]
    assert any("slower, a recorded request takes" in sentence for sentence in summary(report))
