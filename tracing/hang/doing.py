"""What one thread is doing, by its two stacks: whom it waits for, or which kind of cause it is itself."""

from __future__ import annotations

import linecache
import re
from dataclasses import dataclass
from enum import StrEnum

from tracing.hang import frames
from tracing.hang.dump import ThreadStack, common
from tracing.hang.frames import Awaited
from tracing.pyspy import waitingframes
from tracing.pyspy.events import Frame, Stack


class HangCause(StrEnum):
    """What ends a chain of waits, and the answers that are no hang."""

    STOPPED = "stopped"
    ENDED = "ended"
    PYTHON = "works in Python"
    COMPILES = "compiles"
    COLLECTION = "collects garbage"
    COLLECTIVE = "waits in a collective"
    DEVICE = "the device never finishes"
    LOST = "waits for a message that the other side has not sent"
    EVENT_LOOP = "blocked in user code on the event loop"
    LOCK = "waits for a lock"
    IO = "disk or network"
    REMOTE_KV = "waits for remote KV"
    CLIENT = "a client does not read its answer"
    IDLE = "nothing to do"
    SLOW = "slow, not stuck"
    UNKNOWN = "not known"


NO_HANG = (HangCause.IDLE, HangCause.SLOW, HangCause.CLIENT)


@dataclass(frozen=True)
class Doing:
    """`awaited` where the thread waits for another process, else `cause`; `frame` shows either, `text` says it.

    `certain` is False where the frames fit other causes too.
    """

    cause: HangCause | None
    awaited: Awaited | None
    frame: Frame | None
    text: str
    certain: bool = True


# A thread that stands still where it enters `with NAME:` has not got it; a call in its place would have a frame.
LOCK_LINE = re.compile(r"\bwith (?P<with>[\w.\[\]]+)(?: as \w+)?:|(?P<call>[\w.\[\]]+)\.acquire\(")
COLLECTION_LINE = "gc.collect("
OTHER_THREAD = (waitingframes.QUEUE, waitingframes.FUTURE)
OUTSIDE = (waitingframes.POLL, waitingframes.RECEIVE, waitingframes.CHILD)
DEVICE_STATES = (waitingframes.GPU, waitingframes.LAUNCH)
COLLECTIVE_STATES = (waitingframes.NCCL, waitingframes.COLLECTIVE)
IO = (*frames.IO_FILES, *frames.IO_FOLDERS)
NATIVE_CAUSES = {
    frames.DEVICE: (HangCause.DEVICE, "waits for the device"),
    frames.COLLECTIVE: (HangCause.COLLECTIVE, "is in a collective"),
    frames.COLLECTION: (HangCause.COLLECTION, "collects garbage"),
}


def doing(role: str, before: ThreadStack | None, after: ThreadStack) -> Doing:
    """What a thread of a process of this role does; `before` is the same thread at an earlier look, if any."""
    stack = after.python
    if not stack:
        return _native(after) or Doing(HangCause.UNKNOWN, None, None, "has no Python frame: it is starting or ending")
    awaited = frames.awaited_by(stack, role)
    if awaited and not frames.innermost_of(stack, frames.COLLECTIVES):
        return Doing(None, *awaited, f"waits for {awaited[0].what}")
    return _native(after) or _known(stack) or _by_line(stack, after) or _by_activity(before, after)


def _native(thread: ThreadStack) -> Doing | None:
    """By the innermost function of C that is known."""
    last = thread.python[-1] if thread.python else None
    for frame in reversed(thread.native):
        if (kind := frames.native_kind(frame)) in NATIVE_CAUSES:
            cause, text = NATIVE_CAUSES[kind]
            return Doing(cause, None, last, f"{text} ({frame.name})")
    return None


def _known(stack: Stack) -> Doing | None:
    """By frames that tell, wherever they stand on the stack."""
    if compiler := frames.innermost_of(stack, frames.COMPILERS, frames.COMPILING_FOLDERS):
        return Doing(HangCause.COMPILES, None, compiler, "compiles")
    state = waitingframes.state(stack)
    operation = frames.innermost_of(stack, frames.COLLECTIVES)
    if operation or state in COLLECTIVE_STATES:
        frame = operation or stack[-1]
        return Doing(HangCause.COLLECTIVE, None, frame, f"is in {frame.name.rpartition('.')[2]} of all ranks")
    if state in DEVICE_STATES or frames.waits_for_device(stack):
        return Doing(HangCause.DEVICE, None, stack[-1], "waits for the device")
    if kv := frames.kv_connector(stack):
        return Doing(HangCause.REMOTE_KV, None, kv, "waits for KV of another engine or store")
    if io := frames.innermost_of(stack, (), IO):
        caller = next((each for each in reversed(stack) if not frames.is_one_of(each, (), IO)), io)
        return Doing(HangCause.IO, None, io, f"waits for disk or network in {caller.name}")
    return None


def _by_line(stack: Stack, thread: ThreadStack) -> Doing | None:
    """By the innermost line itself, where its source is on this machine, and by C's lock."""
    if waitingframes.state(stack) != waitingframes.WORKING:
        return None
    frame = stack[-1]
    line = linecache.getline(frame.path, frame.line)
    if COLLECTION_LINE in line:
        return Doing(HangCause.COLLECTION, None, frame, "collects garbage (gc.collect)")
    locked = any(frames.native_kind(native) == frames.LOCK for native in thread.native)
    match = LOCK_LINE.search(line) if thread.active is not True else None
    if match or locked:
        name = (match["with"] or match["call"]).strip() if match else "a lock"
        return Doing(HangCause.LOCK, None, frame, f"waits for {name}")
    return None


def _by_activity(before: ThreadStack | None, after: ThreadStack) -> Doing:
    """By whether it stands still, and by the function that it has not left between the looks."""
    stack = after.python
    lasting, state = common(before.python, stack) if before else stack, waitingframes.state(stack)
    frame = lasting[-1] if lasting else stack[-1]
    if state in OTHER_THREAD:
        caller = next(
            (each for each in reversed(stack) if not each.file.startswith(("threading.py", "queue.py"))), frame
        )
        return Doing(HangCause.LOCK, None, caller, f"waits for another thread ({state})")
    if state in OUTSIDE:
        return Doing(HangCause.IO, None, stack[-1], f"waits outside Python ({state})")
    if state == waitingframes.SLEEP:
        return Doing(HangCause.PYTHON, None, frame, f"sleeps in {frame.name}")
    if after.active is False and (before is None or before.active is False) and lasting == stack:
        return Doing(HangCause.UNKNOWN, None, frame, f"stands below Python in {frame.name}", certain=False)
    return Doing(HangCause.PYTHON, None, frame, f"works in {frame.name}")


def on_event_loop(thread: ThreadStack) -> Stack:
    """What the event loop has called and not got back from; empty where it polls, or there is no loop."""
    stack = thread.python
    inner = max((at for at, frame in enumerate(stack) if frames.is_one_of(frame, frames.LOOPS)), default=-1)
    called = stack[inner + 1 :] if inner >= 0 else ()
    return () if called and waitingframes.state(stack) == waitingframes.POLL else called
