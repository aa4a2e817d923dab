"""The errors of a log, read line by line in bounded memory, and the one that all began with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.processes.log import RAISED, telling

LINE_WIDTH = 1000  # what is read of an error
SHOWN_WIDTH = 300
SHOWN = 6
KEPT = 200  # different errors; of a server that answered for days, the latest
BEFORE = 10  # errors before an engine's failure that may be its cause: NCCL's warnings, a compiler's messages
NEXT_WORDS = 2  # pydantic tells what is wrong on the lines after the exception's own
# What stands in a log as an error and is no exception of Python's.
OTHER_ERRORS = re.compile(
    r"^(?:\S+\.py|python\S*|/\S+|vllm\S*|docker): (?:error: |Error |No module named |can't open )"
    r"|^Killed$|OOMKilled|^Fatal |^/\S*sh: .*not found$|: fatal error: |ptxas fatal|exec format error|\[Errno \d+\] "
    r"|\b(?:Segmentation fault|Bus error|Illegal instruction)\b|Segfault encountered|SIGBUS received|died unexpectedly"
    r"|^terminate called|^ *what\(\): |^Failed: |cannot open shared object|pthread_create failed|Memory access fault"
    r"|\bNCCL WARN |Watchdog caught |Duplicate GPU detected|custom_all_reduce\.cuh|transport/nvls\.cc"
    r"|Failed to load NCCL|/dev/kfd\b|compiled using NumPy 1|finished its bootstrapping phase"
    r"|Failed to initialize NVML|trigger received signal"
    r"|Detected different devices|No available shared memory broadcast block"
)
WAITS = "No available shared memory broadcast block"  # said every minute that a worker does not take its next step
WARNS = ("Detected different devices", WAITS)  # what is kept as a reason, and ends nothing by itself
FAILS = re.compile(r"(?:EngineCore|WorkerProc|Executor) failed|encountered a fatal error|hit an exception")
LINKS = ("During handling of the above exception", "The above exception was the direct cause")
NAMES = "Last error:"  # NCCL's, with its reason on the next line
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
        self._named: dict[str, bool] = {}  # whether the next line of a process is NCCL's own reason
        self._unfinished: _Unfinished | None = None
        self._failed: str | None = None  # the first exception after an engine said that it failed
        self._fails = False

    def add(self, words: str, process: str = "") -> None:
        """The next line, without what stands before its own words, and the process that wrote it."""
        if self._unfinished and self._unfinished.process == process:
            self._go_on(self._unfinished, words)
        if FAILS.search(words):
            self._begin_failure()
        if self._named.pop(process, False):
            self._keep(words)
        elif TRACEBACK in words:
            if not self._linked.pop(process, False):
                self._roots.pop(process, None)
        elif words.startswith(LINKS):
            self._linked[process] = True
        elif words.startswith(NAMES):
            self._named[process] = True
        elif RAISED.match(words):
            self._raise(words, process)
        elif OTHER_ERRORS.search(words):
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
    def fatal(self) -> bool:
        """Whether one of them is more than a warning."""
        return any(not line.startswith(WARNS) for line in self._lines)

    @property
    def lines(self) -> list[str]:
        """The different errors, in order."""
        return list(self._lines)

    def shown(self) -> list[str]:
        """The last errors, cut where they are long; the root before them where it is not among them."""
        last, root = self.lines[-SHOWN:], self.root
        if root is not None and not any(line.startswith(root) for line in last):
            last = [root, *last[1:]]
        return [line[:SHOWN_WIDTH] for line in last]

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
