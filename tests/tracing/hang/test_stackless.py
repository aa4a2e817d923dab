"""What is told of a hang where there is no stack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tracing.hang.situations import STUCK, first, situation
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
    idle = Counters(5.0, 0, 0, ())
    assert first(replace(engine, processes=(core, asleep), counters=idle)).cause == HangCause.IDLE
    assert first(replace(engine, counters=idle)).cause == HangCause.UNKNOWN  # in a first step nothing is counted yet


NO_BLOCK = "No available shared memory broadcast block found in 60 seconds"


def test_a_log_tells_of_a_worker_that_was_killed() -> None:
    died = "(EngineCore pid=7) Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor."
    answer = first(situation(f"{died}\n(APIServer pid=1) EngineCore encountered an issue."))
    assert (answer.cause, answer.process) == (HangCause.ENDED, "a worker")
    assert answer.text.startswith("has ended (Worker proc VllmWorker-1 died unexpectedly (exit code: -9)): ")


@pytest.mark.parametrize(
    ("line", "process", "link", "apart"),
    [
        (f"(EngineCore_DP0 pid=7) {NO_BLOCK}", "a worker", ("core EngineCore_DP0", "a worker"), "while it lasts"),
        (f"(Worker_TP1 pid=8) {NO_BLOCK}", "core", ("worker Worker_TP1", "core"), "while it lasts"),
        (
            "(EngineCore pid=7) RPC call to sample_tokens timed out",
            "a worker",
            ("core EngineCore", "a worker"),
            "stuck",
        ),
        ("Waiting for 1 core engine proc(s) to start", "core", ("front end", "core"), "while it lasts"),
    ],
)
def test_a_log_tells_who_waits_and_what_to_run(line: str, process: str, link: tuple[str, str], apart: str) -> None:
    explanation = explain(situation(line))
    [answer] = explanation.answers
    assert (answer.cause, answer.process) == (HangCause.UNKNOWN, process)
    assert (explanation.chain[-1].waiter, explanation.chain[-1].awaited) == link
    assert apart in answer.apart
