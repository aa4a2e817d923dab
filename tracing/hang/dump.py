"""What a dump says: the stacks of a process's threads, the outermost frame first, and which frames are its own."""

from __future__ import annotations

from dataclasses import dataclass

from tracing.pyspy.events import Frame, Stack

MAIN_THREAD = "MainThread"
PYTHON_FILE = (".py", ">", ".pyx")  # `<string>`, `<frozen importlib._bootstrap>`
FORK = "multiprocessing/popen_fork.py"  # up to here a forked process still has the stack of its parent


@dataclass(frozen=True)
class ThreadStack:
    """One thread of a dump.

    `number` is the system's thread id, or what else the dump calls the thread; `active` whether it ran or wanted to
    run, None where the dump does not say (faulthandler).
    """

    number: int
    name: str
    active: bool | None
    stack: Stack

    @property
    def python(self) -> Stack:
        """The frames of Python alone, without those that a forked process has from its parent."""
        frames = tuple(frame for frame in self.stack if is_python(frame))
        forks = [at for at, frame in enumerate(frames) if frame.file == FORK]
        return frames[forks[-1] + 1 :] if forks and forks[-1] + 1 < len(frames) else frames

    @property
    def native(self) -> Stack:
        """The frames of C below the innermost frame of Python (py-spy's `--native`)."""
        last = max((at for at, frame in enumerate(self.stack) if is_python(frame)), default=-1)
        return self.stack[last + 1 :]


@dataclass(frozen=True)
class ProcessDump:
    """One process at a moment; `pid` is 0 and `title` empty where the dump does not say; `source` is what was read."""

    pid: int
    title: str
    threads: tuple[ThreadStack, ...]
    source: str = ""

    @property
    def main(self) -> ThreadStack:
        """The main thread: by its name or number, else the last, where faulthandler writes it."""
        named = [thread for thread in self.threads if thread.name == MAIN_THREAD or thread.number == self.pid]
        return named[0] if named else self.threads[-1]


def is_python(frame: Frame) -> bool:
    """Whether a frame is Python's, by its file: a function of C has a library in its place."""
    return frame.path.endswith(PYTHON_FILE)


def common(first: Stack, second: Stack) -> Stack:
    """What two stacks of a thread share, from the outermost frame on: the functions that have not returned between.

    The last of them may have gone on to another line: it has that of the second stack.
    """
    shared = 0
    for one, other in zip(first, second, strict=False):
        if (one.name, one.file) != (other.name, other.file):
            break
        shared += 1
        if one.line != other.line:
            break
    return second[:shared]
