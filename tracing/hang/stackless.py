"""What is told where there is no stack: by /proc and the counters, else by the lines of a log alone."""

from __future__ import annotations

from tracing.hang import frames
from tracing.hang.doing import HangCause
from tracing.hang.explanation import BUSY_PERCENT, ENGINE, LOOK_INSIDE, Explanation, Link, waiters
from tracing.hang.situation import IN_KERNEL, RUNNING, Situation
from tracing.hang.texts import enginelog
from tracing.hang.texts.enginelog import Notice

BUSY_SHARE = 0.1  # of a CPU: what waits uses next to none; what runs on a busy machine may get no more
WITH_STACKS = "stacks, which need the right to trace"
BEFORE_IT_ENDS = "stacks from before the engine gives up: python -m tracing.attach PID --keep 'stuck > 30s' takes them"


def by_state(situation: Situation) -> Explanation | None:
    """What /proc tells: who is in the kernel, and who uses the CPU; None where it tells of no process."""
    known = [(process, process.state) for process in situation.processes if process.state]
    if not known:
        return None
    for process, state in known:
        if state.letter == IN_KERNEL:
            text, chain = f"is in the kernel ({state.waits_in or 'uninterruptible'})", waiters(situation, process)
            return Explanation.single(HangCause.IO, process.label, text, apart=WITH_STACKS, chain=chain)
    process, state = max(
        known, key=lambda each: (each[1].letter == RUNNING and each[1].cpu_s is None, each[1].cpu_s or 0)
    )
    share = state.cpu_s / situation.between_s if state.cpu_s is not None and situation.between_s else None
    if situation.open_requests == 0 and not situation.unread and (share or 0) < BUSY_SHARE:
        text = (
            "has no request running or waiting, by what it counts, which is nothing before a request's first step ends"
        )
        return Explanation.single(HangCause.IDLE, ENGINE, text, apart=WITH_STACKS)
    if state.letter != RUNNING and (share is None or share < BUSY_SHARE):
        return _at_rest(situation)
    use = "runs" if share is None else f"uses {share:.0%} of a CPU"
    text, chain = f"{use}; in which function is not known", waiters(situation, process)
    return Explanation.single(HangCause.UNKNOWN, process.label, text, apart=WITH_STACKS, chain=chain)


def _at_rest(situation: Situation) -> Explanation:
    """No process of the engine uses the CPU: a device may."""
    busy = max(situation.devices.values(), default=0.0)
    if busy < BUSY_PERCENT:
        text = "is at rest: none of its processes uses the CPU"
        return Explanation.single(HangCause.UNKNOWN, ENGINE, text, apart=WITH_STACKS)
    text = f"keeps a device {busy:.0f} % busy, and none of its processes uses the CPU: a kernel does not end"
    return Explanation.single(HangCause.DEVICE, ENGINE, text, apart=WITH_STACKS)


def by_log(situation: Situation) -> Explanation:
    """What the lines of a log tell."""
    kinds = {notice.kind: notice for notice in situation.notices}
    causes = {enginelog.COLLECTIVE: HangCause.COLLECTIVE, enginelog.REMOTE_KV: HangCause.REMOTE_KV}
    for kind, cause in causes.items():
        if notice := kinds.get(kind):
            return Explanation.single(cause, notice.title or "a worker", f"says: {notice.text}", apart=LOOK_INSIDE)
    if notice := kinds.get(enginelog.DEAD_WORKER):
        text = f"has ended ({notice.text}): its own last lines are above, or the system log says who killed it"
        return Explanation.single(HangCause.ENDED, "a worker", text)
    if notice := kinds.get(enginelog.RPC):
        return _unanswered(notice, BEFORE_IT_ENDS)
    if notice := kinds.get(enginelog.QUEUE):
        return _waits_for_core(notice) if frames.WORKER in notice.title.lower() else _unanswered(notice, LOOK_INSIDE)
    if notice := kinds.get(enginelog.START):
        text, chain = f"has not started yet ({notice.text})", [Link(frames.FRONT_END, frames.CORE, "its start", None)]
        return Explanation.single(HangCause.UNKNOWN, frames.CORE, text, apart=LOOK_INSIDE, chain=chain)
    if notice := kinds.get(enginelog.DEAD):
        text = f"has ended ({notice.text}): its traceback stands above"
        return Explanation.single(HangCause.ENDED, frames.CORE, text)
    if situation.open_requests == 0:
        return Explanation.single(HangCause.IDLE, ENGINE, "has no request running or waiting")
    return Explanation.single(HangCause.UNKNOWN, ENGINE, "has requests and makes no token", apart=LOOK_INSIDE)


def _unanswered(notice: Notice, apart: str) -> Explanation:
    """A core that waits for a worker."""
    core = f"{frames.CORE} {notice.title}".strip()
    text = f"has not answered the core ({notice.text}); what it does the log does not tell"
    chain = (
        Link(frames.FRONT_END, core, "outputs", None),
        Link(core, "a worker", "the answer to a call", None),
    )
    return Explanation.single(HangCause.UNKNOWN, "a worker", text, apart=apart, chain=chain)


def _waits_for_core(notice: Notice) -> Explanation:
    """A worker that waits for the core: one without work does too, in some versions of vLLM."""
    text = f"has not called {notice.title}, or reads none of its answers ({notice.text}); an idle engine says so too"
    chain = (Link(f"{frames.WORKER} {notice.title}", frames.CORE, "the next call, or room in its queue", None),)
    return Explanation.single(HangCause.UNKNOWN, frames.CORE, text, apart=LOOK_INSIDE, chain=chain)
