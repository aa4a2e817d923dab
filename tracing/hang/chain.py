"""From a situation to its explanation: what needs no chain, else the walk from the front end down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracing.hang import frames
from tracing.hang.doing import Doing, HangCause, doing, on_event_loop
from tracing.hang.dump import common
from tracing.hang.explanation import (
    ENGINE,
    LOOK_INSIDE,
    Explanation,
    HangAnswer,
    Link,
    activity,
    answers_of,
    link,
    note,
    waiters,
)
from tracing.hang.ranks import explain_workers
from tracing.hang.situation import STOPPED, TRACED, ZOMBIE, MemberProcess, Situation
from tracing.hang.stackless import by_log, by_state
from tracing.pyspy.events import Frame

COUNTED = "vllm:num_requests_running and _waiting of /metrics"
HALTED = {
    STOPPED: (HangCause.STOPPED, "is stopped (SIGSTOP); kill -CONT lets it go on"),
    TRACED: (HangCause.STOPPED, "is stopped by a debugger"),
    ZOMBIE: (HangCause.ENDED, "has ended, and whoever started it has not noticed"),
}
LAST_ROUNDS = 1  # what has just ended may need a step in which nothing is scheduled
LEAST_TELLING = (HangCause.COLLECTIVE, HangCause.IDLE, HangCause.UNKNOWN)


def explain(situation: Situation) -> Explanation:
    """The explanation of a situation; `HangCause.UNKNOWN` where nothing tells."""
    dumped = any(process.after for process in situation.processes)
    explanation = _halted(situation) or _without_thread(situation) or _moving(situation)
    if explanation is None:
        explanation = _walk(situation) if dumped else by_state(situation) or by_log(situation)
    return replace(explanation, notes=(*explanation.notes, *situation.problems))


# --- what needs no chain ---


def _halted(situation: Situation) -> Explanation | None:
    """A process that is stopped or has ended explains all that wait for it."""
    halted = [
        (process, *HALTED[process.state.letter])
        for process in situation.processes
        if process.state and process.state.letter in HALTED
    ]
    if not halted:
        return None
    (process, cause, text), *rest = halted
    notes = tuple(f"{each.label} {its}" for each, _, its in rest)
    return Explanation.single(cause, process.label, text, chain=waiters(situation, process), notes=notes)


def _without_thread(situation: Situation) -> Explanation | None:
    """A core that has lost its output or input thread: it may go on to compute, and that reaches nobody."""
    for core in situation.having(frames.CORE):
        if answer := _dead_thread(core):
            return Explanation((answer,), tuple(waiters(situation, core)))
    return None


def _moving(situation: Situation) -> Explanation | None:
    """Counters that move are no hang, whatever the stacks look like."""
    counters = situation.counters
    if not counters or not counters.moved:
        return None
    within = f" within {counters.seconds:.1f} s" if counters.seconds else " lately"
    notes = [note(each, now) for each in situation.having(frames.WORKER) if (now := activity(each)) and now.cause][:1]
    notes += [f"engine {name} has requests running, and nothing of it moved" for name in counters.still]
    return Explanation.single(HangCause.SLOW, ENGINE, f"moves ({', '.join(counters.moved)}{within})", notes=notes)


# --- the walk: front end, core ---


def _walk(situation: Situation) -> Explanation:
    fronts, cores = situation.having(frames.FRONT_END), situation.having(frames.CORE)
    for front in fronts:
        if answers := _front_end(front, situation):
            return Explanation(answers, (Link(frames.CLIENT, front.label, "an answer", answers[0].frame),))
    if not cores:
        workers = situation.having(frames.WORKER)
        return explain_workers(situation, None, workers) if workers else _no_core(situation, fronts)
    explanations = [(core, _core(situation, core)) for core in sorted(cores, key=_waits_for_request)]
    core, telling = min(explanations, key=lambda each: each[1].answers[0].cause in LEAST_TELLING)
    links = [link(front, core, "outputs") for front in fronts[:1]]
    return replace(telling, chain=(*links, *telling.chain))


def _front_end(front: MemberProcess, situation: Situation) -> tuple[HangAnswer, ...]:
    """What a front end does in place of waiting for the core; nothing where it waits."""
    before, after = front.main()
    if after is None:
        return ()
    now = doing(frames.FRONT_END, before, after)
    if called := on_event_loop(after):
        lasting = common(on_event_loop(before), called) if before else called
        if not lasting or situation.answers:
            return ()
        text = f"has not got back to its event loop from {lasting[-1].name}"
        apart = "" if before else "a second dump some seconds later, in the same function"
        return (HangAnswer(HangCause.EVENT_LOOP, front.label, text, lasting[-1], apart),)
    in_process = not situation.having(frames.CORE)
    telling = now.cause not in (None, HangCause.IO, HangCause.LOCK) or (in_process and now.cause == HangCause.LOCK)
    return answers_of(front, now, situation) if telling and not _polls(after.python) else ()


def _polls(stack: Sequence[Frame]) -> bool:
    return bool(stack) and frames.is_one_of(stack[-1], frames.LOOPS)


def _no_core(situation: Situation, fronts: Sequence[MemberProcess]) -> Explanation:
    label = fronts[0].label if fronts else ENGINE
    text = "waits, and there is neither a core nor a worker among these dumps"
    return Explanation.single(HangCause.UNKNOWN, label, text, apart="py-spy dump of its other processes")


def _waits_for_request(core: MemberProcess) -> bool:
    """Whether a core has nothing to compute: of several engines another one is then looked at first."""
    after = core.main()[1]
    awaited = frames.awaited_by(after.python, frames.CORE) if after else None
    return awaited is not None and awaited[0].role == frames.FRONT_END


def _core(situation: Situation, core: MemberProcess) -> Explanation:
    """What stands at the end of one core's chain."""
    (before, after), now = core.main(), activity(core)
    if after is None or now is None:
        return Explanation.single(HangCause.UNKNOWN, core.label, "could not be looked into", apart=LOOK_INSIDE)
    if _goes_round(situation, core):
        return Explanation((_no_batch(situation, core, frames.innermost_of(after.python, frames.ROUNDS)),))
    if now.awaited and now.awaited.role == frames.WORKER:
        return _through_workers(situation, core, now)
    if now.awaited:
        return _waits_for_requests(situation, core, now)
    lasting = common(before.python, after.python) if before else after.python
    workers = [activity(worker) for worker in situation.workers_of(core)]
    if lasting and frames.is_one_of(lasting[-1], frames.ROUNDS) and all(each and each.awaited for each in workers):
        return Explanation((_no_batch(situation, core, lasting[-1]),))
    return Explanation(answers_of(core, now, situation))


def _goes_round(situation: Situation, core: MemberProcess) -> bool:
    """Whether a core steps without a batch: by the recorder, or because it defers all while no worker has work."""
    counters, workers = situation.counters, situation.workers_of(core)
    if counters is None:
        return False
    if counters.rounds > LAST_ROUNDS:
        return True
    defers_all = bool(counters.deferred) and counters.deferred == situation.open_requests
    return defers_all and bool(workers) and all(map(_is_free, workers))


def _is_free(worker: MemberProcess) -> bool:
    """Whether a worker waits for a call, at the last look or the one before: between two rounds it does."""
    before, now = worker.main()[0], activity(worker)
    return bool((now and now.awaited) or (before and frames.awaited_by(before.python, frames.WORKER)))


def _dead_thread(core: MemberProcess) -> HangAnswer | None:
    """A core without its output or its input thread; before both have started it has neither."""
    inputs, outputs = core.thread_in(frames.INPUT_THREAD)[1], core.thread_in(frames.OUTPUT_THREAD)[1]
    if (inputs is None) == (outputs is None):
        return None
    text = "input thread any more: no request reaches it" if outputs else "output thread any more: no output leaves it"
    return HangAnswer(HangCause.ENDED, core.label, f"has no {text}")


def _through_workers(situation: Situation, core: MemberProcess, now: Doing) -> Explanation:
    workers = situation.workers_of(core)
    below = explain_workers(situation, core, workers)
    named = [worker for worker in workers if worker.label == below.answers[0].process]
    awaited = [*named, *workers, MemberProcess(0, frames.WORKER, "", None)][0]
    what = now.awaited.what if now.awaited else ""
    return replace(below, chain=(link(core, awaited, what, now.frame), *below.chain))


def _waits_for_requests(situation: Situation, core: MemberProcess, now: Doing) -> Explanation:
    """The core has nothing to compute: idle, unless somebody counts requests as running."""
    requests, connector = situation.open_requests, _connector(situation)
    if situation.unread:
        texts = ", ".join(f"{each.client} with {each.waiting_bytes:,} bytes" for each in situation.unread)
        return Explanation.single(HangCause.CLIENT, frames.CLIENT, f"{texts} unread; the engine has nothing to do")
    idle = HangAnswer(HangCause.IDLE, ENGINE, "has no request running or waiting", now.frame)
    if requests == 0:
        return Explanation((idle,))
    if core.state and not situation.having(frames.FRONT_END):
        text = "has no front end any more: nobody sends it a request, or takes its outputs"
        return Explanation.single(HangCause.ENDED, core.label, text, now.frame)
    chain = (link(core, MemberProcess(0, frames.FRONT_END, "", None), "a request", now.frame),)
    text = "waits for a request, and its front end for outputs: a message between them is lost"
    other = HangAnswer(HangCause.LOST, core.label, text, now.frame)
    if connector:
        text = "has handed its requests to a KV connector, which has not reported back"
        other = HangAnswer(HangCause.REMOTE_KV, core.label, text, connector)
    if requests:
        return Explanation((other,), chain)
    maybe = replace(other, apart=f"{COUNTED} above 0 mean {other.cause}")
    idle = replace(idle, text="waits for requests", apart=f"{COUNTED} of 0 mean {HangCause.IDLE}")
    return Explanation((maybe, idle) if connector else (idle, maybe), chain)


def _connector(situation: Situation) -> Frame | None:
    """A frame of a KV connector, in whatever thread."""
    stacks = (thread.python for each in situation.processes if each.after for thread in each.after.threads)
    return next((frame for stack in stacks if (frame := frames.kv_connector(stack))), None)


def _no_batch(situation: Situation, core: MemberProcess, frame: Frame | None) -> HangAnswer:
    connector, counters = _connector(situation), situation.counters
    if connector or (counters and counters.deferred):
        return HangAnswer(
            HangCause.REMOTE_KV, core.label, "goes round without a batch: its requests wait for remote KV", frame
        )
    return HangAnswer(
        HangCause.PYTHON, core.label, "goes round without a batch: its scheduler schedules none of its requests", frame
    )
