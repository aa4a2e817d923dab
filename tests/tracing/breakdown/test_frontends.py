"""Several front ends, cores and machines: each request and each gap has to do with its own alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings, gaps
from tracing.breakdown.requests import budget
from tracing.timeline import requests
from tracing.timeline.index import Index
from tracing.timeline.steps.workers import core_of

KEY = 10**12
MS = 10**6


def two_front_ends(folder: Path) -> None:
    """A and B in one step of one core; B's front end takes 100 ms for its message, and collects garbage."""
    core = TraceWriter(folder, 11, ["core"], threads={1: "MainThread", 2: "in", 3: "out"}).counts(0, {})
    for place, (pid, name) in enumerate(((20, "a"), (21, "b"))):
        front = TraceWriter(folder, pid, ["front end"]).span("llm.generate", 0, 300 * MS).renamed(f"{name}-1", name)
        front.span("llm.add_request", 1 * MS, 2 * MS, name).span("input.assign_id", 1 * MS, 1 * MS + 10, f"{name}-1")
        front.span("client.send", 2 * MS, 3 * MS, f"{name}-1")
        core.span("core.receive", 4 * MS, 5 * MS, f"{name}-1", thread=2)
        core.span("core.add_request", 5 * MS, 6 * MS, f"{name}-1", value=1)
        core.span("scheduler.free", 30 * MS, 31 * MS, f"{name}-1", step=0, value=1, extra="FINISHED_LENGTH_CAPPED")
        key, late = KEY + place, 100 * MS * (name == "b")
        core.message(0, key, client=place).span("core.encode", 33 * MS, 34 * MS, step=key, thread=3)
        front.span("client.receive", 40 * MS, 41 * MS, step=key)
        front.span("output.process", 45 * MS, 50 * MS + late, step=key)
        if late:
            front.span("gc", 41 * MS, 44 * MS)
        front.close()
    core.span("scheduler.schedule", 10 * MS, 20 * MS, step=0).span("scheduler.update", 20 * MS, 32 * MS, step=0)
    core.batch(0, {"a-1": 1, "b-1": 1}).close()


def test_a_request_is_charged_with_its_own_front_end_alone(tmp_path: Path) -> None:
    two_front_ends(tmp_path)
    index = Index(timeline.read(tmp_path))
    a, b = requests.flows(index)
    assert (a.end_ns, b.end_ns) == (50 * MS, 150 * MS)
    assert (a.keys.tolist(), b.keys.tolist()) == ([KEY], [KEY + 1])
    parts = {flow.external: budget.budget(index, flow) for flow in (a, b)}
    assert parts["a"]["process outputs"] == 5 * MS and parts["b"]["process outputs"] == 105 * MS
    assert "garbage collection" not in parts["a"] and parts["b"]["garbage collection"] == 3 * MS


def test_a_gap_is_explained_by_its_own_core(tmp_path: Path) -> None:
    """One core schedules while the worker of the other is idle."""
    TraceWriter(tmp_path, 11, ["core"]).counts(0, {}).span("scheduler.schedule", 0, 10 * MS, step=0).close()
    TraceWriter(tmp_path, 12, ["core"]).counts(0, {}).span("scheduler.update", 10 * MS, 20 * MS, step=0).close()
    worker = TraceWriter(tmp_path, 13, ["worker"], parent=12).span("worker.execute", 90 * MS, 91 * MS, step=0)
    worker.close()
    index = Index(timeline.read(tmp_path))
    hops = pd.DataFrame(columns=["hop", "core", "from_ns", "to_ns"])
    names = [cause.name for cause in gaps.causes(index, hops, {13}) if len(cause.rows)]
    assert names == ["update", "execute"]


def test_a_core_without_a_step_has_its_workers(tmp_path: Path) -> None:
    """With two engines, one may run dummy batches alone; a worker may be started by a helper of the core's."""
    TraceWriter(tmp_path, 10, ["front end"]).span("llm.generate", 0, 1).close()
    TraceWriter(tmp_path, 11, ["core"], parent=10).span("core.dequeue", 1, 2).close()
    TraceWriter(tmp_path, 12, [], parent=11).close()
    TraceWriter(tmp_path, 13, ["worker"], parent=12).span("worker.execute", 1, 2).close()
    TraceWriter(tmp_path, 14, ["coordinator"], parent=10).close()
    assert core_of(timeline.read(tmp_path)) == {11: 11, 12: 11, 13: 11}


def steps_of_a_worker(folder: Path, tokens: int, arrives: int) -> None:
    """A step of five tokens that is dispatched at 100 to 150 in the core."""
    core = TraceWriter(folder, 11, ["core"]).counts(0, {}).batch(0, {"a": 5})
    core.span("scheduler.schedule", 0, 90, step=0, value=5).span("executor.dispatch", 100, 150, step=0)
    core.span("scheduler.update", 900, 950, step=0).close()
    front = TraceWriter(folder, 10, ["front end"]).renamed("a", "a").close()
    assert front.exists()
    worker = TraceWriter(folder, 12, ["worker"], parent=11)
    worker.span("worker.execute", arrives, arrives + 10, step=0, value=tokens).close()


def test_a_worker_that_ran_other_tokens_is_the_first_problem(tmp_path: Path) -> None:
    steps_of_a_worker(tmp_path, tokens=7, arrives=200)
    assert findings.findings(tmp_path).review.problems[0] == (
        "1 of 1 worker steps ran other tokens than the core scheduled (step 0: 7, not 5): steps are paired wrongly, "
        "and what is said of steps is wrong"
    )


def test_a_hop_against_time_is_a_problem_and_in_no_median(tmp_path: Path) -> None:
    steps_of_a_worker(tmp_path, tokens=5, arrives=40)
    review = findings.findings(tmp_path).review
    assert review.problems[0] == (
        "1 hops core → worker arrived before they were sent, by up to 0.1 µs: clocks or steps of the two processes do "
        "not match"
    )
    assert review.hops == ()


def test_a_worker_that_is_at_another_step_is_not_on_the_way(tmp_path: Path) -> None:
    steps_of_a_worker(tmp_path, tokens=5, arrives=400)
    extra = TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 120, 390, step=-1, value=9)
    extra.span("worker.execute", 400, 410, step=0, value=5).close()
    [hop] = findings.findings(tmp_path).review.hops
    assert (hop.hop, hop.median_ns) == ("core → worker", 10)


def test_a_servers_parent_and_a_coordinator_are_no_front_ends(tmp_path: Path) -> None:
    """Both encode messages, and so does a core to a coordinator; no request goes through them."""
    for pid, serves, parent in ((9, "front end", 1), (10, "front end", 9), (11, "front end", 9)):
        front = TraceWriter(tmp_path, pid, [serves], parent=parent).span("wire.encode", 0, 10)
        if pid != 9:
            front.renamed(f"a-{pid}", "a").span("input.assign_id", 0, 5, f"a-{pid}")
        front.close()
    TraceWriter(tmp_path, 12, ["core", "core input", "core output"], parent=9).span("wire.encode", 0, 10).close()
    TraceWriter(tmp_path, 13, ["coordinator"], parent=9).span("wire.encode", 0, 10).close()
    assert findings.roles(timeline.read(tmp_path)) == {
        "server parent": (9,),
        "front end": (10, 11),
        "core output": (12,),
        "coordinator": (13,),
    }
