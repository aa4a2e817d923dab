"""The records of an explanation, and how what one process does becomes its answer or a link of its chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracing.hang import frames
from tracing.hang.doing import Doing, HangCause, doing
from tracing.hang.lockholder import holder
from tracing.hang.situation import IN_KERNEL, MemberProcess, Situation
from tracing.pyspy import waitingframes
from tracing.pyspy.events import Frame

ENGINE = "the engine"
BUSY_PERCENT = 90.0
LOOK_INSIDE = "py-spy dump of the core and of every worker while it lasts, or: python -m tracing.hang PID"
NATIVE_TELLS = "py-spy dump --native: a lock ends in PyThread_acquire_lock, a device in its synchronize"
DEVICE_TELLS = (
    "the device's utilization (nvidia-smi): near 100 % a kernel never ends, near 0 % its work was never launched"
)


@dataclass(frozen=True)
class Link:
    """`waiter` waits for `awaited`, both by label; `frame` shows it, None where only a log or a role does."""

    waiter: str
    awaited: str
    what: str
    frame: Frame | None


@dataclass(frozen=True)
class HangAnswer:
    """What ends the chain: `apart` says what would tell it from other answers, where the situation fits several."""

    cause: HangCause
    process: str
    text: str
    frame: Frame | None = None
    apart: str = ""


@dataclass(frozen=True)
class Explanation:
    """The likeliest answer first, the chain that leads to it, and what else was seen."""

    answers: tuple[HangAnswer, ...]
    chain: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def single(
        cls,
        cause: HangCause,
        process: str,
        text: str,
        frame: Frame | None = None,
        apart: str = "",
        chain: Sequence[Link] = (),
        notes: Sequence[str] = (),
    ) -> Explanation:
        """An explanation of one answer."""
        return cls((HangAnswer(cause, process, text, frame, apart),), tuple(chain), tuple(notes))


def link(waiter: MemberProcess, awaited: MemberProcess, what: str, frame: Frame | None = None) -> Link:
    """A link of the chain; without a frame that in which the waiter waits shows it: none where it is at work."""
    after = waiter.main()[1]
    if frame is None and after and after.python:
        waits = frames.awaited_by(after.python, waiter.role)
        at_work = waitingframes.state(after.python) == waitingframes.WORKING
        frame = waits[1] if waits else None if at_work else after.python[-1]
    return Link(waiter.label, awaited.label, what, frame)


def activity(process: MemberProcess) -> Doing | None:
    """What a process does: its main thread, or, where that only waits, that which hands results over or makes them."""
    before, after = process.main()
    if after is None:
        return None
    now = doing(process.role, before, after)
    earlier, reply = process.thread_in(frames.REPLY_THREAD)
    if now.awaited and reply and waitingframes.state(reply.python) != waitingframes.QUEUE:
        return doing("", earlier, reply)
    earlier, work = process.thread_in(frames.POOL_WORK)
    if work and now.cause == HangCause.LOCK and waitingframes.state(after.python) == waitingframes.FUTURE:
        return doing("", earlier, work)
    return now


def waiters(situation: Situation, process: MemberProcess) -> list[Link]:
    """Who waits for a process whose own frames say nothing."""
    fronts = situation.having(frames.FRONT_END)
    core = situation.core_of(process) if process.role == frames.WORKER else None
    links = [link(front, core or process, "outputs") for front in fronts[:1] if front != process]
    if core is None:
        return links
    others = [(each, now) for each in situation.workers_of(core) if each != process and (now := activity(each))]
    together = [
        link(each, process, "a collective", now.frame) for each, now in others if now.cause == HangCause.COLLECTIVE
    ]
    return [*links, link(core, process, "the answer to a call"), *together]


def answers_of(process: MemberProcess, now: Doing, situation: Situation) -> tuple[HangAnswer, ...]:
    """The answer that a process which waits for nobody is; two where its frames fit two."""
    since = since_when(situation, process)
    if now.cause == HangCause.DEVICE:
        return (_device(process, now, situation),)
    if process.state and process.state.letter == IN_KERNEL and now.cause in (HangCause.UNKNOWN, HangCause.PYTHON):
        text = f"is in the kernel ({process.state.waits_in or 'uninterruptible'}), below {now.frame and now.frame.name}"
        return (HangAnswer(HangCause.IO, process.label, text + since, now.frame),)
    if now.certain:
        return (
            HangAnswer(
                now.cause or HangCause.UNKNOWN, process.label, now.text + _held(process, now) + since, now.frame
            ),
        )
    if answer := _by_kernel(process, now, since):
        return (answer,)
    lock = HangAnswer(
        HangCause.LOCK, process.label, f"{now.text}, at a lock of another thread", now.frame, NATIVE_TELLS
    )
    call = HangAnswer(HangCause.PYTHON, process.label, f"{now.text}, asleep or in a call of C", now.frame, NATIVE_TELLS)
    return (lock, call)


def _by_kernel(process: MemberProcess, now: Doing, since: str) -> HangAnswer | None:
    """What the kernel function tells in which the main thread waits: a lock would be a futex."""
    main, name = process.main()[1], process.state.waits_in if process.state else ""
    if not main or now.frame not in main.python:
        return None
    if name.startswith(frames.KERNEL_IO):
        text = f"{now.text}, in the kernel's {name}{since}"
        return HangAnswer(HangCause.IO, process.label, text, now.frame)
    if name.startswith(frames.KERNEL_SLEEP):
        return HangAnswer(HangCause.PYTHON, process.label, f"{now.text}, asleep{since}", now.frame)
    return None


def since_when(situation: Situation, process: MemberProcess) -> str:
    """For how long at least a process does what both looks met."""
    return f", for {round(situation.between_s, 1):g} s or more" if situation.between_s and process.before else ""


def _held(process: MemberProcess, now: Doing) -> str:
    """Who has the lock that a process waits for, where the sources tell."""
    if now.cause != HangCause.LOCK or not now.frame or not process.after:
        return ""
    keeper = holder(process.after, now.frame)
    return f", held by thread {keeper[0].name or keeper[0].number} in {keeper[1]}" if keeper else ""


def _device(process: MemberProcess, now: Doing, situation: Situation) -> HangAnswer:
    busy = max(situation.devices.values(), default=None)
    if busy is None:
        return HangAnswer(HangCause.DEVICE, process.label, now.text, now.frame, DEVICE_TELLS)
    ending = "a kernel does not end" if busy >= BUSY_PERCENT else "what it waits for was not launched, or has ended"
    return HangAnswer(HangCause.DEVICE, process.label, f"{now.text}, which is {busy:.0f} % busy: {ending}", now.frame)


def note(process: MemberProcess, now: Doing) -> str:
    """What another process does, in a line."""
    return f"{process.label} {now.text}" + (f" at {now.frame}" if now.frame else "")
