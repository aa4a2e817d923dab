"""One core: whom it waits for, what it is itself, and whether it has anything to do."""

from __future__ import annotations

from dataclasses import replace

from tracing.hang import frames
from tracing.hang.doing import Doing, HangCause
from tracing.hang.dump import common
from tracing.hang.explanation import ENGINE, LOOK_INSIDE, Explanation, HangAnswer, activity, answers_of, link
from tracing.hang.ranks import explain_workers
from tracing.hang.situation import MemberProcess, Situation
from tracing.pyspy.events import Frame

COUNTED = "vllm:num_requests_running and _waiting of /metrics"
LAST_ROUNDS = 1  # what has just ended may need a step in which nothing is scheduled


def waits_for_request(core: MemberProcess) -> bool:
    """Whether a core has nothing to compute: of several engines another one is then looked at first."""
    after = core.main()[1]
    awaited = frames.awaited_by(after.python, frames.CORE) if after else None
    return awaited is not None and awaited[0].role == frames.FRONT_END


def in_step(core: MemberProcess) -> bool:
    """Whether a core was in a step at both looks: it has requests then, though it counts none before its first step
    with them ends."""
    return all(look and frames.innermost_of(look.python, (frames.STEP,)) for look in core.main())


def explain_core(situation: Situation, core: MemberProcess) -> Explanation:
    """What keeps a core, for which the front ends wait, from sending outputs."""
    explanation = _explain(situation, core)
    links = [link(front, core, "outputs") for front in situation.having(frames.FRONT_END)[:1]]
    return replace(explanation, chain=(*links, *explanation.chain))


def _explain(situation: Situation, core: MemberProcess) -> Explanation:
    """What stands at the end of its chain."""
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
            HangCause.REMOTE_KV, core.label, "loops without a batch: its requests wait for remote KV", frame
        )
    return HangAnswer(
        HangCause.PYTHON, core.label, "loops without a batch: its scheduler schedules none of its requests", frame
    )
