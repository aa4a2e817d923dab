"""The errors of a log, read line by line in bounded memory, and the one that all began with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.processes.log import RAISED, telling

LINE_WIDTH = 300
KEPT = 200  # different errors; of a server that answered for days, the latest
BEFORE = 10  # errors before an engine's failure that may be its cause: NCCL's warnings, a compiler's messages
NEXT_WORDS = 2  # pydantic tells what is wrong on the lines after the exception's own
# What stands in a log as an error and is no exception of Python's.
SAID = re.compile(
    r"^(?:\S+\.py|python\S*|/\S+|vllm\S*|docker): (?:error: |Error |No module named |can't open )"
    r"|^Killed$|OOMKilled|^Fatal |^/\S*sh: .*not found$|\bSegmentation fault\b|Segfault encountered"
    r"|\bIllegal instruction\b"
    r"|died unexpectedly|^terminate called|^ *what\(\): |\bNCCL WARN |Watchdog caught |^Failed: |ptxas fatal"
    r"|: fatal error: "
    r"|Duplicate GPU detected|^Last error:|\bBus error\b|SIGBUS received|pthread_create failed|/dev/kfd\b"
    r"|exec format error"
    r"|\[Errno \d+\] |cannot open shared object|compiled using NumPy 1|finished its bootstrapping phase"
    r"|Failed to load NCCL|Detected different devices|No available shared memory broadcast block|Memory access fault"
)
FAILS = re.compile(r"(?:EngineCore|WorkerProc|Executor) failed|encountered a fatal error|hit an exception")
LINKS = ("During handling of the above exception", "The above exception was the direct cause")
TRACEBACK = "Traceback (most recent call last)"


@dataclass
class _Unfinished:
    """An exception of pydantic's whose message goes on: its first line, all words so far, the lines still to come."""

    process: str
    first: str
    words: str
    left: int = NEXT_WORDS


class Errors:
    """The different errors of a log in order, of the process that ended and of all others."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}  # in order
        self._roots: dict[str, str] = {}  # of the latest chain of exceptions, by process
        self._linked: dict[str, bool] = {}  # whether the next traceback of a process goes on with its chain
        self._unfinished: _Unfinished | None = None
        self._failed: str | None = None  # the first exception after an engine said that it failed
        self._fails = False

    def clear(self) -> None:
        """Forget all: another start begins, or the server answers."""
        self.__init__()  # type: ignore[misc]

    def add(self, words: str, process: str = "") -> None:
        """The next line, without what stands before its own words, and the process that wrote it."""
        if self._unfinished and self._unfinished.process == process:
            self._go_on(self._unfinished, words)
        if TRACEBACK in words:
            if not self._linked.pop(process, False):
                self._roots.pop(process, None)
        elif words.startswith(LINKS):
            self._linked[process] = True
        elif FAILS.search(words):
            self._begin_failure()
        elif RAISED.match(words):
            self._raise(words, process)
        elif SAID.search(words):
            self._keep(words)

    def finish(self) -> None:
        """No line follows."""
        if (ended := self._unfinished) is None:
            return
        self._unfinished = None
        self._keep(ended.words)
        whole = ended.words[:LINE_WIDTH]
        self._roots = {process: whole if root == ended.first else root for process, root in self._roots.items()}
        if self._failed == ended.first:
            self._failed = whole

    @property
    def lines(self) -> list[str]:
        """The different errors, in order."""
        return list(self._lines)

    @property
    def root(self) -> str | None:
        """The exception that all began with: the first after an engine said that it failed, else of the last chain."""
        if self._failed:
            return self._failed
        return list(self._roots.values())[-1] if self._roots else None

    def _begin_failure(self) -> None:
        if not self._fails:
            self._fails = True
            self._lines = dict.fromkeys(list(self._lines)[-BEFORE:])

    def _raise(self, words: str, process: str) -> None:
        if telling(words):
            short = words.strip()[:LINE_WIDTH]
            if process not in self._roots:
                self._roots[process] = short
            if self._fails and self._failed is None:
                self._failed = short
        if "ValidationError" in words:
            self.finish()
            self._unfinished = _Unfinished(process, words.strip()[:LINE_WIDTH], words.strip())
        else:
            self._keep(words)

    def _go_on(self, begun: _Unfinished, words: str) -> None:
        begun.words = f"{begun.words} {words.strip()}".strip()
        begun.left -= 1
        if not begun.left:
            self.finish()

    def _keep(self, words: str) -> None:
        self._lines[words.strip()[:LINE_WIDTH]] = None
        if len(self._lines) > KEPT:
            del self._lines[next(iter(self._lines))]
