"""The ways in which a real server is made to hang, or not to, and what each should be called."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from tests.engine.hanging import fault
from tracing.hang.doing import HangCause
from tracing.hang.explanation import Explanation

RANKS, DEVICE, ENGINES, STANDBY = "ranks", "device", "engines", "standby"  # the settings


@dataclass(frozen=True)
class Kind:
    """One way to hang, or not to: its cause, the role at the end of its chain, and words of its first answer.

    `waiter` is who waits for it somewhere in the chain, `beside` are words of a note, `others` how many answers fit
    beside the first one; `asked` is the fault where it is not the name. The server does not live on where it is
    `fatal`; the command has no right to trace where it is not `traced`.
    """

    name: str
    cause: HangCause
    role: str = ""
    words: str = ""
    setting: str = RANKS
    waiter: str = ""
    beside: str = ""
    others: int = 0
    asked: str = ""
    fatal: bool = False
    traced: bool = True

    @property
    def fault(self) -> str:
        """What the plugin is asked for; empty where the kind needs no fault."""
        return self.asked or ("" if self.name in WITHOUT_FAULT else self.name)


IDLE, PREFILL, CLIENT = "idle", "long prefill", "client that does not read"
IDLE_UNTRACED, KERNEL_UNTRACED = "idle, not traced", "in the kernel, not traced"
STOPPED, STOPPED_CORE = "worker stopped", "core stopped"
SIGNALS = {
    STOPPED: signal.SIGSTOP,
    STOPPED_CORE: signal.SIGSTOP,
    fault.ZOMBIE: signal.SIGKILL,
    fault.GONE: signal.SIGKILL,
}  # sent to a process in place of a fault, or while one keeps the core from noticing
SIGNALLED = {STOPPED: "T", STOPPED_CORE: "T", fault.ZOMBIE: "Z", fault.GONE: ""}  # its state in /proc then, if any
MOVE = "the other engines move"
WITHOUT_FAULT = (IDLE, IDLE_UNTRACED, PREFILL, CLIENT, STOPPED, STOPPED_CORE)
KINDS = (
    Kind(IDLE, HangCause.IDLE),
    Kind(STOPPED, HangCause.STOPPED, "worker"),
    Kind(fault.LOOP, HangCause.PYTHON, "worker", "count_for_ever"),
    Kind(fault.LOCK, HangCause.LOCK, "worker", "held by thread keeper"),
    Kind(fault.COLLECTION, HangCause.COLLECTION, "worker"),
    Kind(fault.ASLEEP, HangCause.PYTHON, "worker Worker_TP1", "rest", waiter="worker Worker_TP0"),
    Kind(fault.COMPILES, HangCause.COMPILES, "worker Worker_TP1", "compiles"),
    Kind(fault.KERNEL, HangCause.IO, "worker Worker_TP1", "is in the kernel"),
    Kind(fault.FILE, HangCause.IO, "worker Worker_TP1", "in the kernel's"),
    Kind(fault.NETWORK, HangCause.IO, "worker Worker_TP1", "waits for disk or network in ask_store"),
    Kind(fault.LOST_TO_WORKER, HangCause.LOST, "worker", "the call from core to worker is lost"),
    Kind(fault.LOST_TO_CORE, HangCause.LOST, "worker", "the answer from worker to core is lost"),
    Kind(fault.EVENT_LOOP, HangCause.EVENT_LOOP, "front end", "ask_another_server"),
    Kind(fault.KV_LOAD, HangCause.REMOTE_KV, "worker"),
    Kind(fault.KV_ARRIVAL, HangCause.REMOTE_KV, "core"),
    Kind(fault.DEVICE, HangCause.DEVICE, "core", setting=DEVICE),  # the worker is inside the core there
    Kind(fault.SLOW, HangCause.SLOW),
    Kind(PREFILL, HangCause.SLOW),
    Kind(CLIENT, HangCause.CLIENT),
    Kind(fault.DEAD_OUTPUT_THREAD, HangCause.ENDED, "core", "no output thread"),
    Kind(fault.FIRST_ENGINE, HangCause.PYTHON, "worker", "count_for_ever", ENGINES, "core EngineCore_DP0", MOVE),
    Kind(fault.SECOND_ENGINE, HangCause.PYTHON, "worker", "count_for_ever", ENGINES, "core EngineCore_DP1", MOVE),
    Kind(fault.BOTH_ENGINES, HangCause.PYTHON, "worker", "count_for_ever", ENGINES, beside="sleeps in rest"),
    Kind(STOPPED_CORE, HangCause.STOPPED, "core EngineCore_DP", setting=ENGINES),
    Kind("call lost, not recorded", HangCause.LOST, "worker", setting=STANDBY, others=1, asked=fault.LOST_TO_WORKER),
    Kind("answer lost, not recorded", HangCause.LOST, "worker", setting=STANDBY, others=1, asked=fault.LOST_TO_CORE),
    Kind("loop, not traced", HangCause.UNKNOWN, "worker", "of a CPU", beside="ptrace", asked=fault.LOOP, traced=False),
    Kind(IDLE_UNTRACED, HangCause.IDLE, setting=STANDBY, beside="ptrace", traced=False),
    Kind(KERNEL_UNTRACED, HangCause.IO, "worker", setting=STANDBY, beside="ptrace", asked=fault.KERNEL, traced=False),
    Kind(fault.ZOMBIE, HangCause.ENDED, "worker", setting=STANDBY, fatal=True),
    Kind(fault.GONE, HangCause.ENDED, "a worker", setting=STANDBY, fatal=True),
)


def is_right(kind: Kind, explanation: Explanation) -> bool:
    """Whether the first answer is the kind's, and what stands beside it is there too."""
    answer, *others = explanation.answers
    named = answer.cause == kind.cause and answer.process.startswith(kind.role) and kind.words in answer.text
    awaited = any(link.waiter.startswith(kind.waiter) for link in explanation.chain) or not kind.waiter
    beside = any(kind.beside in note for note in explanation.notes) or not kind.beside
    return named and awaited and beside and len(others) == kind.others
