"""What is told of a hang where there is no stack."""

from __future__ import annotations

from dataclasses import replace

from tests.tracing.hang.situations import STUCK, first
from tracing.hang.chain import explain
from tracing.hang.doing import HangCause
from tracing.hang.situation import Counters, MemberProcess, ProcessState, Situation


def test_without_stacks_proc_tells_what_it_can() -> None:
    busy = MemberProcess(20, "worker", "Worker_TP0", None, state=ProcessState("R", "", 4.9))
    core = MemberProcess(10, "core", "EngineCore", None, state=ProcessState("S", "futex_wait", 0.1))
    engine = Situation((core, busy), STUCK, problems=("py-spy could not",), between_s=5.0)
    explanation = explain(engine)
    assert (explanation.answers[0].cause, explanation.answers[0].process) == (
        HangCause.UNKNOWN,
        "worker Worker_TP0 (20)",
    )
    assert "uses 98% of a CPU" in explanation.answers[0].text
    assert explanation.notes == ("py-spy could not",)
    crowded = replace(busy, state=ProcessState("R", "", 0.25))  # many others want the CPU too
    assert "uses 5% of a CPU" in first(replace(engine, processes=(core, crowded))).text
    new = replace(busy, state=ProcessState("R"))  # the first look did not meet it
    assert first(replace(engine, processes=(core, new))).text == "runs; in which function is not known"
    in_kernel = replace(busy, state=ProcessState("D", "nfs_wait_on_request", 0.0))
    assert first(replace(engine, processes=(core, in_kernel))).cause == HangCause.IO
    asleep = replace(busy, state=ProcessState("S", "", 0.0))
    assert first(replace(engine, processes=(core, asleep), devices={0: 96.0})).cause == HangCause.DEVICE
    assert first(replace(engine, counters=Counters(5.0, 0, 0, ()))).cause == HangCause.IDLE
