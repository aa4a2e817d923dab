"""All that is known of an engine at one time, each part as far as it could be had: what the explanation starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tracing.hang import frames
from tracing.hang.dump import ProcessDump, ThreadStack
from tracing.hang.texts.dumptext import Reading
from tracing.hang.texts.enginelog import Notice
from tracing.pyspy import waitingframes

STOPPED, TRACED, ZOMBIE, IN_KERNEL, RUNNING = "T", "t", "Z", "D", "R"  # states of a process in /proc
TITLES = (  # what vLLM calls its processes, in titles and before the lines of its log
    (re.compile(r"EngineCore", re.I), frames.CORE),
    (re.compile(r"Worker", re.I), frames.WORKER),
    (re.compile(r"API_?Server|api_server|\bserve\b|Client", re.I), frames.FRONT_END),
)
WORKER_FILES = ("vllm/v1/worker/", "vllm/worker/", "vllm/model_executor/")
RANK = re.compile(r"(?:TP|rank[ =]?)(\d+)", re.I)
ENGINE = re.compile(r"DP(\d+)", re.I)


@dataclass(frozen=True)
class ProcessState:
    """What /proc says: the state's letter, the kernel function it waits in, CPU seconds used between the looks, and the
    process that started it (0 where that is not known)."""

    letter: str
    waits_in: str = ""
    cpu_s: float | None = None
    parent: int = 0


@dataclass(frozen=True)
class Counters:
    """What the engine counts, over `seconds`; None where it does not say. `moved` names what changed.

    `rounds` are the steps that a core has begun in between without a request to schedule, where a recorder tells.
    `engines` are the same of each of several engines, by its number.
    """

    seconds: float
    running: float | None
    waiting: float | None
    moved: tuple[str, ...]
    deferred: float | None = None
    rounds: int = 0
    engines: Mapping[int, Counters] = field(default_factory=dict)

    @property
    def open_requests(self) -> float | None:
        """Requests that run or wait; None where they are not counted."""
        return None if self.running is None or self.waiting is None else self.running + self.waiting


@dataclass(frozen=True)
class LastSpan:
    """The last recorded span of a thread: its step is -1 where the site has none."""

    pid: int
    thread: int
    site: str
    role: str
    step: int
    age_s: float


@dataclass(frozen=True)
class UnreadAnswer:
    """A client's connection whose bytes wait in the server's socket."""

    client: str
    waiting_bytes: int


@dataclass(frozen=True)
class MemberProcess:
    """One process of the engine: its dump at the last look, and at the one before."""

    pid: int
    role: str
    title: str
    after: ProcessDump | None
    before: ProcessDump | None = None
    state: ProcessState | None = None

    @property
    def label(self) -> str:
        """`worker Worker_TP0 (12)`; a number or title that is not known is left out."""
        words = [self.role, *([self.title] if self.title else []), *([f"({self.pid})"] if self.pid else [])]
        return " ".join(words)

    @property
    def rank(self) -> int | None:
        match = RANK.search(self.title)
        return int(match[1]) if match else None

    @property
    def parent(self) -> int:
        return self.state.parent if self.state else 0

    @property
    def engine(self) -> int:
        """Which of several engines, by its title."""
        match = ENGINE.search(self.title)
        return int(match[1]) if match else 0

    def main(self) -> tuple[ThreadStack | None, ThreadStack | None]:
        """The main thread before and after."""
        after = self.after.main if self.after and self.after.threads else None
        return (self.earlier(after), after) if after else (None, None)

    def thread_in(self, key: frames.Key) -> tuple[ThreadStack | None, ThreadStack | None]:
        """The thread that stands in a function, before and after."""
        threads = self.after.threads if self.after else ()
        after = next((each for each in threads if frames.innermost_of(each.python, (key,))), None)
        return (self.earlier(after), after) if after else (None, None)

    def earlier(self, thread: ThreadStack) -> ThreadStack | None:
        return next(
            (each for each in (self.before.threads if self.before else ()) if each.number == thread.number), None
        )


@dataclass(frozen=True)
class Situation:
    """The processes of one engine, front ends first, and whatever else was seen of it. `devices` are shares of 100 by
    index; `answers` is False where a server did not answer for its counters; `between_s` is the time between the looks;
    `requests` are the ids of those in the last recorded step; in `standby` spans and requests may be of long ago.
    """

    processes: tuple[MemberProcess, ...]
    counters: Counters | None = None
    answers: bool | None = None
    devices: Mapping[int, float] = field(default_factory=dict)
    spans: tuple[LastSpan, ...] = ()
    unread: tuple[UnreadAnswer, ...] = ()
    notices: tuple[Notice, ...] = ()
    problems: tuple[str, ...] = ()
    between_s: float | None = None
    requests: tuple[str, ...] = ()
    standby: bool = False

    @property
    def open_requests(self) -> float | None:
        """Requests that run or wait, as the engine counts them; None where it does not."""
        return self.counters.open_requests if self.counters else None

    def having(self, role: str) -> list[MemberProcess]:
        return [process for process in self.processes if process.role == role]

    def workers_of(self, core: MemberProcess) -> list[MemberProcess]:
        """The workers that a core has started, else those with the number of its engine in their titles; all where
        neither is known. Engines of a dense model give their workers no number."""
        workers, cores = self.having(frames.WORKER), {each.pid for each in self.having(frames.CORE) if each.pid}
        if any(worker.parent in cores for worker in workers):
            return [worker for worker in workers if worker.parent == core.pid]
        return [worker for worker in workers if worker.engine == core.engine] or workers

    def core_of(self, worker: MemberProcess) -> MemberProcess | None:
        """The core that a worker belongs to; the first one where that is not known, None where there is none."""
        cores = self.having(frames.CORE)
        return next((core for core in cores if worker in self.workers_of(core)), cores[0] if cores else None)

    def around(self, core: MemberProcess) -> Situation:
        """One core of several, with its workers, what is counted of it, and the front ends that all have in common."""
        counters = self.counters and self.counters.engines.get(core.engine, self.counters)
        processes = (*self.having(frames.FRONT_END), core, *self.workers_of(core))
        return replace(self, processes=processes, counters=counters)


def of_reading(reading: Reading) -> Situation:
    """The situation that pasted texts tell of: two dumps of one process are two looks at it."""
    looks: dict[int, list[ProcessDump]] = {}
    for number, dump in enumerate(reading.dumps):
        looks.setdefault(dump.pid or ~number, []).append(dump)  # without a number it is a process of its own
    processes = [
        MemberProcess(
            dumps[-1].pid, role_of(dumps[-1]), short_title(dumps[-1].title), dumps[-1], dumps[-2] if dumps[1:] else None
        )
        for dumps in looks.values()
    ]
    progress = reading.progress
    counters = None
    if progress:
        moved = (f"{progress.tok_s[-1]:g} tokens/s",) if progress.tok_s[-1] > 0 else ()
        counters = Counters(0.0, progress.running, progress.waiting, moved)
    return Situation(tuple(in_order(processes)), counters, notices=reading.notices)


def in_order(processes: Sequence[MemberProcess]) -> list[MemberProcess]:
    """From the front end to the workers, by rank."""
    roles = [frames.FRONT_END, frames.CORE, frames.WORKER]
    places = {role: place for place, role in enumerate(roles)}
    return sorted(
        processes, key=lambda each: (places.get(each.role, len(roles)), each.engine, each.rank or 0, each.pid)
    )


def role_of(dump: ProcessDump) -> str:
    """By what vLLM calls the process, else by its frames."""
    for pattern, role in TITLES:
        if pattern.search(dump.title):
            return role
    stacks = [thread.python for thread in dump.threads if thread.python]
    entries = [entry for stack in stacks if (entry := waitingframes.entry(stack)) in (frames.CORE, frames.WORKER)]
    if entries:
        return entries[0] or ""
    works = any(frame.file.startswith(WORKER_FILES) for stack in stacks for frame in stack)
    return frames.WORKER if works else frames.FRONT_END


def short_title(title: str) -> str:
    """`VLLM::Worker_TP0` without its prefix; a command line is left out."""
    word = title.split("::", 1)[1] if "::" in title else title
    return word if re.fullmatch(r"\w+", word) else ""
