"""The workers of one core: those that do something explain those that wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from tracing.hang import frames
from tracing.hang.doing import Doing, HangCause
from tracing.hang.explanation import Explanation, HangAnswer, activity, answers_of, link, note
from tracing.hang.situation import MemberProcess, Situation

Ranks = Sequence[tuple[MemberProcess, Doing]]
EVERY_RANK = "a dump of every rank on every machine"
ITS_LOG = "the engine's log, for a worker that died unexpectedly; on other machines, python -m tracing.hang PID"
RECORDED = "python -m tracing.record: the worker's last span names the step that it had"
DONE = ("worker.execute", "worker.sample", "worker.reply", "worker.hand_over")  # sites that a step passes in a worker


def explain_workers(situation: Situation, core: MemberProcess | None, workers: Sequence[MemberProcess]) -> Explanation:
    """What keeps the workers, for which a core waits, from answering."""
    known = [(worker, now) for worker in workers if (now := activity(worker))]
    waiting = [each for each in known if each[1].awaited]
    together = [each for each in known if each[1].cause == HangCause.COLLECTIVE]
    device = [each for each in known if each[1].cause == HangCause.DEVICE]
    working = [each for each in known if each[1].cause not in (None, HangCause.COLLECTIVE, HangCause.DEVICE)]
    if working:
        links = tuple(link(each, working[0][0], "a collective", now.frame) for each, now in (*together, *device))
        return Explanation(answers_of(*working[0], situation), links, _notes(working[1:]))
    if together and waiting:
        return _not_called(together, waiting[0])
    if device or together:
        first, *rest = device or together
        answers = answers_of(*first, situation) if device else (_all_together(together, workers),)
        return Explanation(answers, (), _notes(rest))
    if waiting:
        return Explanation(_lost(situation, core, waiting))
    if core and core.state and not workers:
        text = "has ended, or is on another machine: the core waits for it, and has started none that is still here"
        return Explanation.single(HangCause.ENDED, "a worker", text, apart=ITS_LOG)
    text = "could not be looked into" if workers else "is not among these dumps"
    text = f"{text}, and the core waits for it"
    return Explanation.single(HangCause.UNKNOWN, "a worker", text, apart="py-spy dump of each worker")


def _notes(rest: Ranks) -> tuple[str, ...]:
    return tuple(note(worker, now) for worker, now in rest)


def _not_called(together: Ranks, late: tuple[MemberProcess, Doing]) -> Explanation:
    """Some ranks are in a collective, and another still waits to be called."""
    worker, now = late
    links = tuple(link(each, worker, "a collective", its.frame) for each, its in together)
    text = f"waits for a call while {together[0][0].label} {together[0][1].text}: the call to it is lost"
    return Explanation.single(HangCause.LOST, worker.label, text, now.frame, chain=links)


def _all_together(together: Ranks, workers: Sequence[MemberProcess]) -> HangAnswer:
    worker, now = together[0]
    operations = sorted({each.frame.name.rpartition(".")[2] for _, each in together if each.frame})
    ranks = {each.rank for each in workers if each.rank is not None}
    absent = sorted(set(range(max(ranks, default=-1) + 1)) - ranks)
    if len(operations) > 1:
        text = f"and the other ranks are in different operations: {', '.join(operations)}"
    elif absent:
        text = f"{now.text}: rank {', '.join(map(str, absent))} is not among these dumps"
    else:
        text = f"{now.text}: all known ranks are in it, so another is missing, or the network does not carry it"
    return HangAnswer(HangCause.COLLECTIVE, worker.label, text, now.frame, EVERY_RANK)


def _lost(situation: Situation, core: MemberProcess | None, waiting: Ranks) -> tuple[HangAnswer, ...]:
    """Core and workers wait for each other: which message is lost, the recorder's last spans tell."""
    if core is None:
        worker, now = waiting[0]
        return (HangAnswer(HangCause.IDLE, worker.label, now.text, now.frame, "a dump of the core"),)
    spans = () if situation.standby else situation.spans  # what was recorded before the message was lost tells nothing
    own = [span.step for span in spans if span.pid == core.pid and span.role == frames.CORE]
    asked = max(own, default=None)
    behind = [each for each in waiting if asked is not None and asked > _last_step(situation, each[0])]
    worker, now = (behind or list(waiting))[0]
    both = f"waits for the next call, and {core.label} for the answer to one"
    step = "" if asked is None else f" (step {asked})"
    call = f"{both}: the call from core to worker is lost{step}"
    reply = f"{both}: the answer from worker to core is lost{step}"
    if asked is not None:
        return (HangAnswer(HangCause.LOST, worker.label, call if behind else reply, now.frame),)
    return tuple(HangAnswer(HangCause.LOST, worker.label, text, now.frame, RECORDED) for text in (call, reply))


def _last_step(situation: Situation, worker: MemberProcess) -> int:
    return max((span.step for span in situation.spans if span.pid == worker.pid and span.site in DONE), default=-1)
