"""Why a version is slower: the stage that grew, and the code on its path that differs, on the page side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from offline.budgets.reason import Reason
from offline.differences.difference import Difference
from offline.environments.changedcode import changed_stages
from offline.environments.environment import Environment
from offline.page.page import report
from offline.page.summary import summary
from tests.offline.reports import a_report
from tests.tracing.source.test_calls import tree
from tracing.breakdown.changes import StageChange

MS = 1_000_000
ROW = Difference("vllm", "1.0", "2.0", "all", "output_tok_s", 0.8, 0.75, 0.85, 1.03, "slower")
WHOLE = StageChange("all", 10 * MS, 12 * MS, 1.9 * MS, 2.1 * MS)
SCHEDULE = StageChange("schedule", 1 * MS, 3 * MS, 1.9 * MS, 2.1 * MS)
FORWARD = StageChange("forward", 9 * MS, 9.1 * MS, -0.1 * MS, 0.3 * MS)
EVIL = "pop('<script>')"


def two_versions(folder: Path) -> dict[str, Environment]:
    """Environments whose schedulers differ in one call, and one function that they call."""
    old, new = tree(folder / "old"), tree(folder / "new", "popleft()\n", f"{EVIL}\n        self.queue.pop()\n")
    return {label: Environment("python", str(each.root), label, {}) for label, each in (("1.0", old), ("2.0", new))}


def test_a_stage_that_grew_names_the_code_on_its_path(tmp_path: Path) -> None:
    [stage] = changed_stages([Reason(ROW, "request", (WHOLE, SCHEDULE, FORWARD))], two_versions(tmp_path))
    assert stage.sentence == (
        "1.0 → 2.0, schedule +2.00 ms (+1.90 ms to +2.10 ms): on its path these functions differ, the nearest first: "
        "Scheduler.schedule."
    )


def test_another_axis_has_no_code(tmp_path: Path) -> None:
    reason = Reason(replace(ROW, axis="block_size"), "request", (WHOLE, SCHEDULE))
    assert list(changed_stages([reason], two_versions(tmp_path))) == []


def test_a_stage_that_did_not_change_is_not_looked_into(tmp_path: Path) -> None:
    assert list(changed_stages([Reason(ROW, "request", (WHOLE, FORWARD))], two_versions(tmp_path))) == []


def test_sources_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    gone = {label: replace(each, source=str(tmp_path / "gone")) for label, each in two_versions(tmp_path).items()}
    [stage] = changed_stages([Reason(ROW, "request", (WHOLE, SCHEDULE))], gone)
    assert stage.sentence.endswith("the sources are no longer there to be compared.")


def test_the_page_has_both_sources_side_by_side(tmp_path: Path) -> None:
    stages = tuple(changed_stages([Reason(ROW, "request", (WHOLE, SCHEDULE))], two_versions(tmp_path)))
    run = replace(a_report(), changed_stages=stages)
    assert stages[0].sentence in summary(run)
    text = report(run)
    assert "<details open><summary>vllm.v1.core.sched.scheduler:Scheduler.schedule (the stage" in text
    assert "|     8         self.waiting.pop(&#39;&lt;script&gt;&#39;)" in text
    assert EVIL not in text
