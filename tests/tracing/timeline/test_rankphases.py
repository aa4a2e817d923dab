"""The columns of steps with several workers: the slowest one's, and what the others wait for."""

from __future__ import annotations

from pathlib import Path

from tests.tracing.timeline.stepcolumns import divided, phases_of
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings
from tracing.page.tables import steptables


def test_of_several_workers_the_columns_are_the_slowest_ones(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"])
    one, two = (TraceWriter(tmp_path, pid, ["worker"], parent=11) for pid in (12, 13))
    for step in range(3):
        at = 1000 * step
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", at, at + 100, step=step)
        core.span("executor.wait", at + 100, at + 900, step=step).span(
            "scheduler.update", at + 900, at + 1000, step=step
        )
        one.span("worker.execute", at + 200, at + 500, step=step).span("runner.forward", at + 300, at + 500, step=step)
        two.span("worker.execute", at + 200, at + 800, step=step).span("runner.prepare", at + 250, at + 750, step=step)
    for writer in (core, one, two):
        writer.close()
    steps = divided(tmp_path)
    assert phases_of(steps, 0) == {"schedule": 100, "prepare": 500, "execute": 100, "wait_worker": 200, "update": 100}
    assert steps["worker"].tolist() == [13] * 3 and steps["worker_spread_ns"].tolist() == [300] * 3
    workers = findings.analyze(timeline.read(tmp_path)).review.workers
    assert [(worker.worker_pid, worker.slowest_share, worker.idle_share) for worker in workers] == [
        (12, 0.0, 0.7),
        (13, 1.0, 0.4),
    ]
    assert steptables.straggler(workers) == (
        "straggler: worker 13 was the slowest in 100% of the steps: 0.6 µs of its own work at the median, the fastest "
        "0.3 µs, which waited 0.0 µs for other ranks"
    )


def test_a_pipelines_bubble_is_a_wait(tmp_path: Path) -> None:
    """The second stage is called at once, and waits inside for what the first one hands on."""
    core = TraceWriter(tmp_path, 11, ["core"]).counts(0, {"decode_requests": 1})
    core.span("scheduler.schedule", 0, 100, step=0).span("executor.wait", 100, 900, step=0)
    core.span("scheduler.update", 900, 1000, step=0).close()
    worker = TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 200, 800, step=0)
    worker.span("pipeline.wait", 250, 650, step=0).span("runner.forward", 650, 750, step=0).close()
    steps = divided(tmp_path)
    assert phases_of(steps, 0) == {
        "schedule": 100,
        "model": 100,
        "execute": 50 + 50,
        "wait_pipeline": 400,
        "wait_worker": 100 + 100,
        "update": 100,
    }
    review = findings.analyze(timeline.read(tmp_path)).review
    assert "wait: pipeline" in steptables.step_table(review.steps)[0]


def two_ranks(folder: Path, last: int, steps: int = 3, collectives: int = 2) -> None:
    """Two ranks whose runs are equally long: the second comes to each collective `last` later than the first."""
    core = TraceWriter(folder, 11, ["core"])
    ranks = {0: TraceWriter(folder, 12, ["worker"], parent=11), last: TraceWriter(folder, 13, ["worker"], parent=11)}
    for step in range(steps):
        at = 10_000 * step
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", at, at + 100, step=step)
        core.span("executor.wait", at + 100, at + 5100, step=step)
        core.span("scheduler.update", at + 5100, at + 5200, step=step)
        for late, rank in ranks.items():
            rank.span("worker.execute", at + 100, at + 5100, step=step)
            rank.span("runner.forward", at + 100, at + 5100, step=step)
            for number in range(collectives):
                together = at + 2000 * (number + 1)
                rank.span("collective", together - 1000 + late, together + 200, step=step, value=0, extra=1)
    for writer in (core, *ranks.values()):
        writer.close()


def test_a_rank_that_waits_in_a_collective_does_not_work(tmp_path: Path) -> None:
    """The ranks run for as long as each other, and only what they do outside of collectives tells which one is slow."""
    two_ranks(tmp_path, last=800)
    steps = divided(tmp_path)
    assert steps["worker"].tolist() == [13] * 3
    assert phases_of(steps, 0) == {"schedule": 100, "model": 5000 - 2 * 400, "collective": 2 * 400, "update": 100}
    fast, slow = findings.analyze(timeline.read(tmp_path)).review.workers
    assert (fast.run_median_ns, fast.own_median_ns, fast.others_median_ns) == (5000, 5000 - 2 * 1200, 2 * 800)
    assert (slow.run_median_ns, slow.own_median_ns, slow.others_median_ns) == (5000, 5000 - 2 * 400, 0)
    assert steptables.straggler([fast, slow]) == (
        "straggler: worker 13 was the slowest in 100% of the steps: 4.2 µs of its own work at the median, the fastest "
        "2.6 µs, which waited 1.6 µs for other ranks"
    )


def test_ranks_that_come_together_are_no_stragglers(tmp_path: Path) -> None:
    two_ranks(tmp_path, last=100)
    assert steptables.straggler(findings.analyze(timeline.read(tmp_path)).review.workers) == (
        "no worker is slower than the others most of the time"
    )


def test_a_collective_is_divided_at_the_call_of_the_last_rank(tmp_path: Path) -> None:
    two_ranks(tmp_path, last=300, steps=1, collectives=1)
    spans = timeline.read(tmp_path).spans.query("site == 'collective'")
    assert spans[["pid", "stage", "share", "start_ns", "end_ns"]].to_numpy().tolist() == [
        [12, "wait: other ranks", "wait", 1000, 1300],
        [12, "collective", "work", 1300, 2200],
        [13, "collective", "work", 1300, 2200],
    ]


def test_a_collective_whose_counterpart_was_not_recorded_is_not_divided(tmp_path: Path) -> None:
    """The second rank's recording began in the middle of the step: its only collective is the first one's second."""
    TraceWriter(tmp_path, 11, ["core"]).counts(0, {}).span("scheduler.schedule", 0, 10, step=0).close()
    one, two = (TraceWriter(tmp_path, pid, ["worker"], parent=11) for pid in (12, 13))
    one.span("collective", 100, 200, step=0).span("collective", 300, 400, step=0).close()
    two.span("collective", 350, 400, step=0).close()
    spans = timeline.read(tmp_path).spans.query("site == 'collective'")
    assert spans["stage"].tolist() == ["collective"] * 3 and spans["start_ns"].tolist() == [100, 300, 350]


def test_the_only_workers_of_two_cores_are_not_compared(tmp_path: Path) -> None:
    for core_pid, worker_pid in ((11, 12), (21, 22)):
        core = TraceWriter(tmp_path, core_pid, ["core"])
        worker = TraceWriter(tmp_path, worker_pid, ["worker"], parent=core_pid)
        for step, at in enumerate((0, 1000)):
            core.counts(step, {}).span("scheduler.schedule", at, at + 100, step=step)
            core.span("executor.wait", at + 100, at + 900, step=step)
            core.span("scheduler.update", at + 900, at + 1000, step=step)
            worker.span("worker.execute", at + 200, at + 500, step=step)
        core.close()
        worker.close()
    review = findings.analyze(timeline.read(tmp_path)).review
    assert [row[:2] + row[6:7] for row in steptables.worker_table(review)[1]] == [[12, 11, "n/a"], [22, 21, "n/a"]]
    assert steptables.straggler(review.workers) == ""
    assert "slowest worker" not in steptables.sentences(review)
