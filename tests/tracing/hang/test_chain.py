"""From situations to explanations: who waits for whom, what ends the chain, and where two answers fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tracing.hang.reports import FRONT, IDLE_CORE, WAITING_CORE, WORKERS, idle_worker
from tests.tracing.hang.situations import STUCK, first, situation, with_state, worker
from tracing.hang.chain import explain
from tracing.hang.doing import HangCause
from tracing.hang.situation import Counters, LastSpan, ProcessState, UnreadAnswer

REDUCE = (
    "all_reduce (torch/distributed/distributed_c10d.py:2900)",
    "all_reduce (vllm/distributed/parallel_state.py:745)",
)
AT_REST = ProcessState("S", "", 0.0)


def test_the_chain_ends_at_the_rank_that_is_not_in_the_collective() -> None:
    late = worker(21, "Worker_TP1", "load_tables (mine.py:7)")
    explanation = explain(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *REDUCE), late))
    assert [(link.waiter, link.awaited, link.what) for link in explanation.chain] == [
        ("front end (1)", "core EngineCore (10)", "outputs"),
        ("core EngineCore (10)", "worker Worker_TP1 (21)", "the answer to a call"),
        ("worker Worker_TP0 (20)", "worker Worker_TP1 (21)", "a collective"),
    ]
    [answer] = explanation.answers
    assert (answer.cause, answer.process) == (HangCause.PYTHON, "worker Worker_TP1 (21)")
    assert answer.text == "works in load_tables"


def test_a_rank_that_compiles_while_another_waits_for_its_device() -> None:
    waits = worker(20, "Worker_TP0", "synchronize (torch/cuda/streams.py:93)")
    late = worker(21, "Worker_TP1", "codegen (torch/_inductor/scheduler.py:5)", "forward (mine.py:7)")
    assert first(situation(FRONT, WAITING_CORE, waits, late)).cause == HangCause.COMPILES


def test_a_rank_that_was_not_called() -> None:
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *REDUCE), idle_worker(21, "Worker_TP1"))
    assert (first(engine).cause, first(engine).process) == (HangCause.LOST, "worker Worker_TP1 (21)")


def test_a_collective_without_a_frame_of_python_names_no_other_engine() -> None:
    rank = 'Process 20: VLLM::Worker_TP0\nThread 20 (active): "MainThread"\n    ncclAllReduce (libnccl.so.2)\n'
    answer = first(situation(FRONT, WAITING_CORE, rank))
    assert (answer.cause, answer.frame) == (HangCause.COLLECTIVE, None)
    assert answer.text.startswith("is in a collective (ncclAllReduce): all known ranks are in it")


def test_a_rank_whose_dump_is_missing() -> None:
    engine = situation(FRONT, WAITING_CORE, worker(21, "Worker_TP1", *REDUCE))
    assert first(engine).cause == HangCause.COLLECTIVE
    assert "rank 0 is not among these dumps" in first(engine).text


def test_ranks_in_different_operations() -> None:
    gather = "all_gather (vllm/distributed/parallel_state.py:760)"
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *REDUCE), worker(21, "Worker_TP1", gather))
    assert "different operations: all_gather, all_reduce" in first(engine).text


def test_a_stopped_process_explains_all_others() -> None:
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *REDUCE), worker(21, "Worker_TP1", *REDUCE))
    explanation = explain(with_state(engine, 21, ProcessState("T")))
    assert explanation.answers[0].cause == HangCause.STOPPED
    assert explanation.chain[-1].waiter == "worker Worker_TP0 (20)"
    assert [str(link.frame) for link in explanation.chain][1].startswith("dequeue (")  # where it waits, not in what
    assert first(with_state(engine, 10, ProcessState("t"))).text == "is stopped by a debugger"
    assert first(with_state(engine, 10, ProcessState("Z"))).cause == HangCause.ENDED


def test_counters_that_move_are_no_hang() -> None:
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", "rest (mine.py:7)"))
    answer = first(replace(engine, counters=Counters(5.0, 1, 0, ("12 generated tokens",))))
    assert (answer.cause, answer.text) == (HangCause.SLOW, "moves (12 generated tokens within 5.0 s)")


def test_of_two_engines_the_one_without_requests_explains_nothing() -> None:
    idle = IDLE_CORE.replace("EngineCore", "EngineCore_DP0")
    stuck = WAITING_CORE.replace("10", "11").replace("EngineCore", "EngineCore_DP1")
    workers = [idle_worker(20, "Worker_DP0"), worker(21, "Worker_DP1", "search (mine.py:4)")]
    explanation = explain(replace(situation(FRONT, idle, stuck, *workers), counters=STUCK))
    assert (explanation.answers[0].cause, explanation.answers[0].process) == (
        HangCause.PYTHON,
        "worker Worker_DP1 (21)",
    )
    assert [link.awaited for link in explanation.chain] == ["core EngineCore_DP1 (11)", "worker Worker_DP1 (21)"]


TWO_ENGINES = (
    FRONT,
    WAITING_CORE.replace("EngineCore", "EngineCore_DP0"),
    worker(20, "Worker_DP0", "execute_model (vllm/v1/worker/gpu_model_runner.py:4005)"),
    WAITING_CORE.replace("10", "11").replace("EngineCore", "EngineCore_DP1"),
    worker(21, "Worker_DP1", "search (mine.py:4)"),
)
BUSY, STANDING = Counters(5.0, 1, 0, ("12 generated tokens",)), Counters(5.0, 1, 0, ())


def both(first: Counters, second: Counters) -> Counters:
    return Counters(5.0, 2, 0, (*first.moved, *second.moved), engines={0: first, 1: second})


def test_an_engine_that_stands_still_beside_one_that_moves_is_explained() -> None:
    explanation = explain(replace(situation(*TWO_ENGINES), counters=both(BUSY, STANDING)))
    [answer] = explanation.answers
    assert (answer.cause, answer.process) == (HangCause.PYTHON, "worker Worker_DP1 (21)")
    assert [link.awaited for link in explanation.chain] == ["core EngineCore_DP1 (11)", "worker Worker_DP1 (21)"]
    assert explanation.notes == (
        "engine 1 has requests, and nothing of it moved",
        "the other engines move (12 generated tokens within 5.0 s)",
    )


def test_the_workers_of_an_engine_are_those_that_its_core_has_started() -> None:
    """Engines of a dense model all call their workers `Worker`."""
    texts = [text.replace("Worker_DP0", "Worker").replace("Worker_DP1", "Worker") for text in TWO_ENGINES]
    engine = replace(situation(*texts), counters=both(BUSY, STANDING))
    for pid, parent in ((20, 10), (21, 11)):
        engine = with_state(engine, pid, replace(AT_REST, parent=parent))
    assert first(engine).process == "worker Worker (21)"
    assert first(replace(engine, counters=both(STANDING, BUSY))).process == "worker Worker (20)"
    stopped = explain(with_state(engine, 21, ProcessState("T", parent=11)))
    assert [link.waiter for link in stopped.chain] == ["front end (1)", "core EngineCore_DP1 (11)"]


def test_a_core_waits_for_a_worker_that_is_gone() -> None:
    alone = situation(FRONT, WAITING_CORE)
    assert first(alone).text == "is not among these dumps, and the core waits for it"
    answer = first(with_state(alone, 10, AT_REST))
    assert (answer.cause, answer.process) == (HangCause.ENDED, "a worker")
    assert "the engine's log" in answer.apart


def test_two_engines_that_stand_still_are_both_explained() -> None:
    explanation = explain(replace(situation(*TWO_ENGINES), counters=both(STANDING, STANDING)))
    assert explanation.answers[0].process == "worker Worker_DP0 (20)"
    assert explanation.notes == ("another engine: works in Python: worker Worker_DP1 (21) works in search",)


def test_a_front_end_that_serves_the_other_engine_shows_no_frame_of_a_wait() -> None:
    front = FRONT.replace("select (selectors.py:468)", "send (uvicorn/protocols/http/httptools_impl.py:544)")
    engine = situation(front, *TWO_ENGINES[1:])
    explanation = explain(replace(engine, counters=both(BUSY, STANDING), answers=True))
    assert [link.frame and link.frame.name for link in explanation.chain] == [None, "dequeue"]


def test_an_engine_in_its_first_step_counts_no_request_yet() -> None:
    uncounted = both(BUSY, replace(STANDING, running=0))
    in_step = "    _process_engine_step (vllm/v1/engine/core.py:1300)\n    run_busy_loop"
    texts = [text.replace("    run_busy_loop", in_step) if "EngineCore_DP1" in text else text for text in TWO_ENGINES]
    explanation = explain(replace(situation(*texts, *texts), counters=uncounted))
    assert explanation.answers[0].process == "worker Worker_DP1 (21)"
    assert "engine 1 has requests, and nothing of it moved" in explanation.notes
    assert first(replace(situation(*texts), counters=uncounted)).cause == HangCause.SLOW  # one look tells too little


def test_engines_that_all_move_are_slow() -> None:
    assert first(replace(situation(*TWO_ENGINES), counters=both(BUSY, BUSY))).cause == HangCause.SLOW


def test_an_engine_of_which_nothing_is_to_be_seen_is_a_note() -> None:
    """Its processes are on another machine."""
    explanation = explain(replace(situation(*TWO_ENGINES[:3]), counters=both(BUSY, STANDING)))
    assert explanation.answers[0].cause == HangCause.SLOW
    assert explanation.notes[-1] == "engine 1 has requests, and nothing of it moved"


def test_without_stacks_too_the_engine_that_stands_still_is_looked_at() -> None:
    engine = situation(*TWO_ENGINES)
    states = {10: ProcessState("R", "", 4.9), 21: ProcessState("R", "", 4.5)}
    processes = tuple(replace(each, after=None, state=states.get(each.pid, AT_REST)) for each in engine.processes)
    stackless = replace(engine, processes=processes, counters=both(BUSY, STANDING), between_s=5.0)
    assert first(stackless).process == "worker Worker_DP1 (21)"


def test_engines_in_a_collective_wait_for_the_one_that_is_not() -> None:
    engine = situation(*TWO_ENGINES[:2], worker(20, "Worker_DP0", *REDUCE), *TWO_ENGINES[3:])
    explanation = explain(replace(engine, counters=STUCK))
    assert explanation.answers[0].process == "worker Worker_DP1 (21)"
    assert [(link.waiter, link.what) for link in explanation.chain] == [
        ("front end (1)", "outputs"),
        ("core EngineCore_DP1 (11)", "the answer to a call"),
        ("worker Worker_DP0 (20)", "a collective"),
    ]


@pytest.mark.parametrize(("running", "cause"), [((1, 0), HangCause.LOST), ((0, 0), HangCause.IDLE)])
def test_of_two_engines_that_wait_for_requests_the_one_that_has_some_is_named(
    running: tuple[int, int], cause: HangCause
) -> None:
    cores = [IDLE_CORE.replace("Process 10", f"Process 1{each}").replace("Core", f"Core_DP{each}") for each in (1, 0)]
    each = {number: Counters(5.0, count, 0, ()) for number, count in enumerate(running)}
    answer = first(replace(situation(FRONT, *cores), counters=Counters(5.0, sum(running), 0, (), engines=each)))
    assert (answer.cause, answer.process) == (cause, "core EngineCore_DP0 (10)" if any(running) else "the engine")


def test_idle_is_known_where_requests_are_counted() -> None:
    engine = situation(FRONT, IDLE_CORE, WORKERS)
    assert first(replace(engine, counters=Counters(5.0, 0, 0, ()))).cause == HangCause.IDLE
    assert first(replace(engine, counters=STUCK)).cause == HangCause.LOST


def test_without_counters_both_are_named_with_what_tells_them_apart() -> None:
    answers = explain(situation(FRONT, IDLE_CORE, WORKERS)).answers
    assert [answer.cause for answer in answers] == [HangCause.IDLE, HangCause.LOST]
    assert all("vllm:num_requests_running" in answer.apart for answer in answers)


def test_a_client_that_does_not_read() -> None:
    engine = replace(situation(FRONT, IDLE_CORE, WORKERS), counters=Counters(5.0, 0, 0, ()))
    answer = first(replace(engine, unread=(UnreadAnswer("127.0.0.1:5", 4096),)))
    assert (answer.cause, answer.process) == (HangCause.CLIENT, "client")
    assert "127.0.0.1:5 with 4,096 bytes unread" in answer.text


def test_a_core_without_its_output_thread() -> None:
    alone = IDLE_CORE.partition("Thread 13")[0]
    answer = first(replace(situation(FRONT, alone, WORKERS), counters=STUCK))
    assert (answer.cause, answer.process) == (HangCause.ENDED, "core EngineCore (10)")
    assert "output thread" in answer.text
    computes = Counters(5.0, 1, 0, ("25 recorded steps",))
    assert first(replace(situation(FRONT, alone, WORKERS), counters=computes)).cause == HangCause.ENDED


def test_a_core_whose_front_end_is_gone() -> None:
    engine = with_state(situation(IDLE_CORE, WORKERS), 10, ProcessState("S"))
    assert (first(engine).cause, "no front end" in first(engine).text) == (HangCause.ENDED, True)


def test_a_lost_message_has_two_directions_without_a_recorder() -> None:
    answers = explain(situation(FRONT, WAITING_CORE, WORKERS)).answers
    assert [answer.cause for answer in answers] == [HangCause.LOST, HangCause.LOST]
    assert "core to worker" in answers[0].text and "worker to core" in answers[1].text


@pytest.mark.parametrize(("step", "way"), [(6, "from core to worker"), (7, "from worker to core")])
def test_the_recorder_tells_which_message_is_lost(step: int, way: str) -> None:
    spans = [LastSpan(10, 10, "executor.dispatch", "core", 7, 1.0)]
    spans += [LastSpan(pid, pid, "worker.execute", "worker", step, 1.0) for pid in (20, 21)]
    [answer] = explain(replace(situation(FRONT, WAITING_CORE, WORKERS), spans=tuple(spans))).answers
    assert way in answer.text and "step 7" in answer.text
    in_standby = replace(situation(FRONT, WAITING_CORE, WORKERS), spans=tuple(spans), standby=True)
    assert len(explain(in_standby).answers) == 2  # what was recorded before the hang tells nothing
    other = LastSpan(11, 11, "executor.dispatch", "core", 9, 1.0)  # another engine's core has steps of its own
    assert explain(replace(situation(FRONT, WAITING_CORE, WORKERS), spans=(*spans, other))).answers[0] == answer


def test_a_core_that_goes_round_without_a_batch_waits_for_remote_kv() -> None:
    core = """Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    _process_engine_step (vllm/v1/engine/core.py:1625)
    run_busy_loop (vllm/v1/engine/core.py:1555)
    run_engine_core (vllm/v1/engine/core.py:860)
"""
    engine = situation(FRONT, core, core, WORKERS, WORKERS)
    assert first(replace(engine, counters=Counters(5.0, 0, 2, (), deferred=2))).cause == HangCause.REMOTE_KV
    answer = first(replace(engine, counters=Counters(5.0, 0, 2, (), deferred=0)))
    assert (answer.cause, "schedules none" in answer.text) == (HangCause.PYTHON, True)


@pytest.mark.parametrize("counters", [Counters(5.0, 0, 2, (), 2), Counters(5.0, 0, 2, (), 2, rounds=900)])
def test_a_round_that_calls_the_workers_is_no_batch(counters: Counters) -> None:
    """A KV connector's workers are called for news of it: a look meets the core in that call, or a worker."""
    called = worker(20, "Worker_TP0", "execute_model (vllm/v1/worker/gpu_model_runner.py:4005)")
    engine = situation(FRONT, WAITING_CORE, idle_worker(20, "Worker_TP0"), called, idle_worker(21, "Worker_TP1"))
    answer = first(replace(engine, counters=counters))
    assert (answer.cause, answer.process) == (HangCause.REMOTE_KV, "core EngineCore (10)")
    assert first(replace(engine, counters=replace(counters, rounds=0, deferred=1))).cause == HangCause.PYTHON


def test_a_worker_that_works_through_both_looks_is_no_round() -> None:
    works = worker(20, "Worker_TP0", "search (mine.py:4)")
    engine = situation(FRONT, WAITING_CORE, works, works, idle_worker(21, "Worker_TP1"))
    answer = first(replace(engine, counters=Counters(5.0, 0, 2, (), deferred=2, rounds=1)))
    assert (answer.cause, answer.process) == (HangCause.PYTHON, "worker Worker_TP0 (20)")


def test_an_event_loop_is_blocked_where_two_looks_meet_the_same_call() -> None:
    blocked = """Process 1: vllm serve some/model
Thread 1 (active): "MainThread"
    sleep_a_little (mine.py:{line})
    middleware (mine.py:3)
    run (uvloop/__init__.py:92)
"""
    engine = situation(blocked.format(line=8), blocked.format(line=9), IDLE_CORE, WORKERS)
    answer = first(replace(engine, answers=False, between_s=5.0))
    assert (answer.cause, answer.apart) == (HangCause.EVENT_LOOP, "")
    assert answer.text == "has not got back to its event loop from sleep_a_little, for 5 s or more"
    assert first(replace(engine, answers=True, counters=Counters(5.0, 0, 0, ()))).cause == HangCause.IDLE


def test_the_cores_dump_alone_asks_for_the_workers() -> None:
    answer = first(situation(FRONT, WAITING_CORE))
    assert (answer.cause, answer.apart) == (HangCause.UNKNOWN, "py-spy dump of each worker")


def test_a_front_end_alone_is_told_where_its_core_may_be() -> None:
    pasted = situation(FRONT)
    assert first(pasted).text == "waits, and there is neither a core nor a worker among these dumps"
    assert first(with_state(pasted, 1, ProcessState("S"))).text.endswith("of it on this machine")
