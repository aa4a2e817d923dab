"""What a step is made of, on synthetic traces whose phases are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings, slow
from tracing.breakdown.review import Review, SlowRequests, SlowStep
from tracing.breakdown.starvation import MachineSamples
from tracing.page import sections
from tracing.timeline.contention import Contention
from tracing.timeline.steps import anatomy
from tracing.timeline.steps.phases import PHASES

NOT_SAMPLED = MachineSamples(Contention(), {}, cores=1)
STEP = 1_000_000  # a microsecond is 1,000: steps of 1 ms


def write(folder: Path, steps: int = 4, collection: int | None = None) -> None:
    """A core and its worker: prefill, mixed, first decode, then decodes; a collection of 2 ms in one of them."""
    core = TraceWriter(folder, 11, ["core"], parent=10)
    worker = TraceWriter(folder, 12, ["worker"], parent=11)
    at = 0
    for step in range(steps):
        extra = 2_000_000 if step == collection else 0
        kinds = [
            {"prefill_requests": 1, "prefill_tokens": 7},
            {"prefill_requests": 1, "prefill_tokens": 5, "decode_requests": 1, "decode_tokens": 1},
            {"decode_requests": 2, "decode_tokens": 2, "first_decodes": 1},
            {"decode_requests": 2, "decode_tokens": 2},
        ]
        core.counts(step, kinds[min(step, 3)])
        core.span("scheduler.schedule", at, at + 100_000, step=step)
        core.span("kv.allocate", at + 20_000, at + 50_000, "a", step=step)
        core.span("executor.dispatch", at + 110_000, at + 160_000, step=step)
        core.span("executor.wait", at + 170_000, at + 800_000 + extra, step=step)
        worker.span("worker.execute", at + 200_000, at + 700_000 + extra, step=step)
        worker.span("runner.prepare", at + 210_000, at + 250_000, step=step)
        worker.span("runner.forward", at + 300_000, at + 650_000, step=step)
        worker.span("model.forward", at + 310_000, at + 640_000, step=step)
        if extra:
            worker.span("gc", at + 690_000, at + 690_000 + extra, step=step)
        core.span("scheduler.update", at + 810_000 + extra, at + 900_000 + extra, step=step)
        core.message(step, key=10**9 + step)
        core.span("core.encode", at + 910_000 + extra, at + 930_000 + extra, step=10**9 + step, thread=2)
        at += STEP + extra
    core.close()
    worker.close()


def test_the_phases_of_a_step_and_its_kind(tmp_path: Path) -> None:
    write(tmp_path)
    steps = anatomy.anatomy(timeline.read(tmp_path))
    assert steps["kind"].tolist() == ["prefill", "mixed", "first decode", "decode"]
    assert steps["period_ns"].tolist() == [STEP, STEP, STEP, -1]
    row = steps.iloc[0]
    assert {phase: int(row[f"{phase}_ns"]) for phase in PHASES if row[f"{phase}_ns"]} == {
        "schedule": 100_000,
        "dispatch": 50_000,
        "prepare": 40_000,
        "model": 350_000,
        "execute": 110_000,
        "wait_worker": 30_000 + 100_000,
        "update": 90_000,
    }
    assert (row["unexplained_ns"], row["output_ns"], row["worker"]) == (10_000 + 10_000 + 10_000, 20_000, 12)


def test_the_workers_idle_time_is_due_to_what_the_core_did(tmp_path: Path) -> None:
    write(tmp_path)
    read = timeline.read(tmp_path)
    prefill = findings.analyze(read).review.steps[0]
    assert prefill.worker_idle_share == 0.5
    assert prefill.core_while_idle == {
        "wait: worker": 0.13,
        "nothing recorded": 0.11,
        "update": 0.09,
        "schedule": 0.07,
        "dispatch": 0.05,
    }


def test_the_slowest_step_and_its_reason(tmp_path: Path) -> None:
    write(tmp_path, steps=12, collection=8)
    read = timeline.read(tmp_path)
    slowest = slow.slow_steps(read, anatomy.anatomy(read), NOT_SAMPLED)[0]
    assert (slowest.step, slowest.kind, slowest.ns) == (8, "decode", 2_900_000)
    assert slowest.reason == "garbage collection: 2.00 ms"


def steps_of(*rows: tuple[str, int, int], pid: int = 11) -> pd.DataFrame:
    """Steps of one core: kind, tokens and how long it took."""
    frame = pd.DataFrame(rows, columns=["kind", "decode_tokens", "ns"]).assign(pid=pid, preempted=0, prefill_tokens=0)
    starts = np.arange(len(frame)) * STEP
    phases = {f"{phase}_ns": 0 for phase in PHASES} | {"model_ns": frame["ns"]}
    return frame.assign(step=np.arange(len(frame)), start_ns=starts, end_ns=starts + frame["ns"], **phases)


def test_only_steps_above_the_median_of_as_many_tokens_are_slow(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 11, ["core"]).close()
    few, many, alone = ("decode", 2, 100), ("decode", 64, 900), ("prefill", 500, 5000)
    steps = steps_of(few, few, few, ("decode", 2, 300), many, many, ("decode", 65, 950), alone)
    slowest = slow.slow_steps(timeline.read(tmp_path), steps, NOT_SAMPLED)
    assert [(row.step, row.ns, row.median_ns, row.core_pid) for row in slowest] == [
        (6, 950, 900, 11),
        (3, 300, 100, 11),
    ]
    assert slow.slow_steps(timeline.read(tmp_path), steps_of(alone), NOT_SAMPLED) == ()


def test_of_two_engines_the_slowest_steps_say_which() -> None:
    step = SlowStep(12, "decode", step=3, tokens=2, start_ns=0, ns=300, median_ns=100, reason="why")
    two: Review = SimpleNamespace(slow_steps=(step,), roles={"core": (11, 12)})  # type: ignore[assignment]
    columns, rows = sections.slow_steps(two)
    assert dict(zip(columns, rows[0], strict=True))["core"] == 12
    one: Review = SimpleNamespace(slow_steps=(step,), roles={"core": (12,)})  # type: ignore[assignment]
    assert "core" not in sections.slow_steps(one)[0]


def test_a_slow_request_is_told_by_what_exceeds_the_others() -> None:
    parts = {name: {"forward": 10_000_000, "wait: scheduler queue": 100} for name in "abc"}
    parts["c"] = {"forward": 11_000_000, "wait: scheduler queue": 5_000_100}
    first, *_ = slow.slow_requests(pd.DataFrame.from_dict(parts, orient="index"))
    assert first == SlowRequests("c", 1, 16_000_100, "wait: scheduler queue: 5.00 ms more than the median")


def test_a_request_like_the_others_and_a_time_of_seconds() -> None:
    budgets = pd.DataFrame({"forward": [2_000_000_000, 2_000_000_000, 2_014_100_000]}, index=list("abc"))
    assert slow.slow_requests(budgets)[0].reason == "no part stands out; most of it is forward"
    budgets.loc["c", "forward"] = 3_214_100_000
    assert slow.slow_requests(budgets)[0].reason == "forward: 1.21 s more than the median"


def test_requests_that_are_slow_for_one_reason_are_one_line() -> None:
    """Of four hundred those that took longest are twenty: twelve in the queue, then eight that were tokenized long."""
    budgets = pd.DataFrame({"forward": [10**7] * 400, "wait: scheduler queue": 0, "tokenize": 0})
    budgets.index = [f"r{number}" for number in range(400)]
    budgets.loc["r3":"r14", "wait: scheduler queue"] = [10**6 * wait for wait in range(9, 21)]
    budgets.loc["r50":"r57", "tokenize"] = 5_000_000
    assert slow.slow_requests(budgets) == (
        SlowRequests("r14", 12, 30_000_000, "wait: scheduler queue: 9.00 ms to 20.00 ms more than the median"),
        SlowRequests("r50", 8, 15_000_000, "tokenize: 5.00 ms more than the median"),
    )
    assert slow.why_slow(budgets, {"r57"}) == "tokenize: 5.00 ms more than the median"
    assert slow.why_slow(budgets, {"none"}) == ""


def test_nothing_recorded_is_no_steps(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 11, ["core"]).span("kv.lookup", 1, 2).close()
    read = timeline.read(tmp_path)
    steps = anatomy.anatomy(read)
    assert (
        len(steps) == 0 and slow.slow_steps(read, steps, NOT_SAMPLED) == () and slow.slow_requests(pd.DataFrame()) == ()
    )


@pytest.mark.parametrize("counts", [(0, 0, 0, "empty"), (1, 0, 0, "prefill"), (1, 3, 1, "mixed"), (0, 3, 0, "decode")])
def test_kinds(counts: tuple[int, int, int, str]) -> None:
    assert anatomy._kind(*counts[:3]) == counts[3]
