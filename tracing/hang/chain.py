"""From a situation to its explanation: what needs no chain, else the walk from the front end down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracing.hang import frames
from tracing.hang.cores import explain_core, in_step, waits_for_request
from tracing.hang.doing import HangCause, doing, on_event_loop
from tracing.hang.dump import common
from tracing.hang.explanation import (
    ENGINE,
    Explanation,
    HangAnswer,
    Link,
    activity,
    answers_of,
    note,
    since_when,
    waiters,
)
from tracing.hang.ranks import explain_workers
from tracing.hang.situation import STOPPED, TRACED, ZOMBIE, MemberProcess, Situation
from tracing.hang.stackless import by_log, by_state
from tracing.pyspy.events import Frame

HALTED = {
    STOPPED: (HangCause.STOPPED, "is stopped (SIGSTOP); kill -CONT lets it go on"),
    TRACED: (HangCause.STOPPED, "is stopped by a debugger"),
    ZOMBIE: (HangCause.ENDED, "has ended, and whoever started it has not noticed"),
}
LEAST_TELLING = (HangCause.COLLECTIVE, HangCause.IDLE, HangCause.UNKNOWN)


def explain(situation: Situation) -> Explanation:
    """The explanation of a situation; `HangCause.UNKNOWN` where nothing tells."""
    needs_no_chain = _halted(situation) or _without_thread(situation) or _moving(situation)
    explanation = needs_no_chain or _standing(situation)
    return replace(explanation, notes=(*explanation.notes, *situation.problems))


def _standing(situation: Situation) -> Explanation:
    """The explanation of what stands still: by its stacks, else by what can be had without any."""
    if any(process.after for process in situation.processes):
        return _walk(situation)
    return by_state(situation) or by_log(situation)


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


def _dead_thread(core: MemberProcess) -> HangAnswer | None:
    """A core without its output or its input thread; before both have started it has neither."""
    inputs, outputs = core.thread_in(frames.INPUT_THREAD)[1], core.thread_in(frames.OUTPUT_THREAD)[1]
    if (inputs is None) == (outputs is None):
        return None
    text = "input thread any more: no request reaches it" if outputs else "output thread any more: no output leaves it"
    return HangAnswer(HangCause.ENDED, core.label, f"has no {text}")


def _moving(situation: Situation) -> Explanation | None:
    """Counters that move are no hang, whatever the stacks look like, but for an engine of several that stands still."""
    counters = situation.counters
    if not counters or not counters.moved:
        return None
    cores = {core.engine: core for core in situation.having(frames.CORE)}
    still = [number for number, each in counters.engines.items() if not each.moved]
    standing = [
        each for each in still if counters.engines[each].open_requests or (each in cores and in_step(cores[each]))
    ]
    notes = [f"engine {number} has requests, and nothing of it moved" for number in standing]
    movement = ", ".join(counters.moved) + (f" within {counters.seconds:.1f} s" if counters.seconds else " lately")
    stuck = [_standing(situation.around(cores[number])) for number in standing if number in cores]
    telling = [each for each in stuck if each.answers[0].cause != HangCause.IDLE]
    if telling:
        explanation = _most_telling(telling)
        return replace(explanation, notes=(*explanation.notes, *notes, f"the other engines move ({movement})"))
    working = [note(each, now) for each in situation.having(frames.WORKER) if (now := activity(each)) and now.cause]
    return Explanation.single(HangCause.SLOW, ENGINE, f"moves ({movement})", notes=(*working[:1], *notes))


def _most_telling(explanations: Sequence[Explanation]) -> Explanation:
    """Of several engines' explanations one that tells something; what else tells is a note of it."""
    telling, *others = sorted(explanations, key=lambda each: each.answers[0].cause in LEAST_TELLING)
    answers = [each.answers[0] for each in others if each.answers[0].cause not in LEAST_TELLING]
    notes = (f"another engine: {answer.cause}: {answer.process} {answer.text}" for answer in answers)
    return replace(telling, notes=(*telling.notes, *notes))


# --- the walk: front end, core ---


def _walk(situation: Situation) -> Explanation:
    fronts, cores = situation.having(frames.FRONT_END), situation.having(frames.CORE)
    for front in fronts:
        if answers := _front_end(front, situation):
            return Explanation(answers, (Link(frames.CLIENT, front.label, "an answer", answers[0].frame),))
    if not cores:
        workers = situation.having(frames.WORKER)
        return explain_workers(situation, None, workers) if workers else _no_core(fronts)
    explanations = [explain_core(situation.around(core), core) for core in sorted(cores, key=waits_for_request)]
    telling = _most_telling(explanations)
    together = [each.answers[0] for each in explanations if each.answers[0].cause == HangCause.COLLECTIVE]
    return _among_engines(telling, together)


def _among_engines(telling: Explanation, together: Sequence[HangAnswer]) -> Explanation:
    """With the engines that are in a collective of all: they wait for the one that explains them, or for each other."""
    late, *_ = telling.answers
    if late.cause != HangCause.COLLECTIVE:
        links = (Link(each.process, late.process, "a collective", each.frame) for each in together)
        return replace(telling, chain=(*telling.chain, *links))
    operations = {each.frame.name: each.process for each in together if each.frame}
    if len(operations) < 2:
        return telling
    named = ", ".join(f"{name} ({process})" for name, process in operations.items())
    text = f"and the other engines are in different operations: {named}"
    return replace(telling, answers=(replace(late, text=text), *telling.answers[1:]))


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
        text = f"has not got back to its event loop from {lasting[-1].name}{since_when(situation, front)}"
        apart = "" if before else "a second dump some seconds later, in the same function"
        return (HangAnswer(HangCause.EVENT_LOOP, front.label, text, lasting[-1], apart),)
    in_process = not situation.having(frames.CORE)
    telling = now.cause not in (None, HangCause.IO, HangCause.LOCK) or (in_process and now.cause == HangCause.LOCK)
    return answers_of(front, now, situation) if telling and not _polls(after.python) else ()


def _polls(stack: Sequence[Frame]) -> bool:
    return bool(stack) and frames.is_one_of(stack[-1], frames.LOOPS)


def _no_core(fronts: Sequence[MemberProcess]) -> Explanation:
    label = fronts[0].label if fronts else ENGINE
    where, apart = "among these dumps", "py-spy dump of its other processes"
    if fronts and fronts[0].state:
        where, apart = "of it on this machine", f"its log: whether they have ended; on other machines, {apart}"
    text = f"waits, and there is neither a core nor a worker {where}"
    return Explanation.single(HangCause.UNKNOWN, label, text, apart=apart)
