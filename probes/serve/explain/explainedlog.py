"""A whole log, read once: the last start in it, why it ended, and what ran."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import BinaryIO

from probes.serve.explain.load import Load
from probes.serve.explain.loggedsteps import LoggedSteps
from probes.serve.explain.logline import LogLine, read_lines
from probes.serve.explain.requestlines import RequestLines
from probes.serve.explain.startup import Start
from probes.serve.faults.errors import FAILS, WAITS, Errors
from probes.serve.faults.likelycause import LikelyCause, likely_cause
from probes.serve.faults.page import WORDS

# Lines that only a working engine writes; health checks and periodic lines of nothing go on while one hangs.
WORKS = re.compile(r"Iteration\(|generation throughput: (?!0\.0 )")
MOST_SOURCES = 64
DIED = re.compile(r"EngineDeadError|EngineCore encountered an issue|died unexpectedly")


@dataclass
class ExplainedLog:
    """What a log tells; `lines` counts all of them, `starts` the starts, of which `start` is the last."""

    lines: int = 0
    starts: int = 1
    start: Start = field(default_factory=Start)
    errors: Errors = field(default_factory=Errors)
    steps: LoggedSteps = field(default_factory=LoggedSteps)
    load: Load = field(default_factory=Load)
    requests: RequestLines = field(default_factory=RequestLines)
    failed: bool = False
    waits: int = 0  # minutes that a worker has not taken its next step, up to the end

    def read(self, line: LogLine) -> None:
        """Take a line in."""
        self.lines += 1
        if self.steps.read(line) or self.load.read(line) or self.requests.read(line):
            self._serves(line)
            return
        if line.words.startswith(WAITS):
            self.waits += 1
        if self.start.begins_anew(line):
            self.starts += 1
            self.start, self.failed = Start(), False
            self.errors = Errors()
        was_ready = self.start.ready
        self.start.read(line)
        if self.start.ready and not was_ready:
            self.errors = Errors()  # got over: the server answers
        if not self.start.ending:  # a server that ends calls its engine dead, too
            self.failed = self.failed or bool(FAILS.search(line.words) or DIED.search(line.words))
        self.errors.add(line.words, line.process)

    def _serves(self, line: LogLine) -> None:
        """A line of a server that answers, which a log that begins later does not say otherwise."""
        if not self.start.ready:
            self.start.ready = True
            self.errors = Errors()
        self.start.last_s = self.start.last_s if line.time_s is None else line.time_s
        if WORKS.search(line.words):
            self.waits = 0

    @property
    def end(self) -> str:
        """How the log ends, in words."""
        start = self.start
        if start.ready and self.failed:
            return "it answered, and then failed"
        if start.ready and self.waits:
            return "it answered, and then hung: no step since a worker stopped taking them"
        if start.ending:
            return "it was told to end, and did"
        if start.ready:
            return "it answered, and the log ends while it does"
        end = "it did not start" if self.ended_badly else "the log ends before it answered"
        return f"{end}; the last thing it did: {start.doing}" if start.doing else end

    @property
    def tells_nothing(self) -> bool:
        """Whether none of its lines is one that vLLM is known to write, and none an error: another program's log."""
        return not (self.start.ready or self.start.doing or self.start.facts or self.waits or self.errors.lines)

    @property
    def ended_badly(self) -> bool:
        """Whether there is an end to be explained."""
        return self.failed or (bool(self.waits) if self.start.ready else self.errors.fatal)

    def cause(self) -> LikelyCause | None:
        """The likely cause of a bad end or of a start that takes long; None where the table has none."""
        if self.start.ready and not self.ended_badly:
            return None
        return likely_cause(self.errors.root, self.errors.lines, WORDS)


def _is_new(line: LogLine, known: int) -> bool:
    return known < MOST_SOURCES and (bool(line.process) or line.time_s is not None)


def explain(stream: BinaryIO) -> dict[str, ExplainedLog]:
    """What the log in a stream tells, however long it is, by container: one of several is several logs in one.

    A line that tells no container, or one that wrote nothing of vLLM's yet, is of the same as the line before.
    """
    logs: dict[str, ExplainedLog] = {}
    source = ""
    for line in read_lines(stream):
        if line.source and (line.source in logs or _is_new(line, len(logs))):
            source = line.source
            if list(logs) == [""]:  # what it wrote before its first line of vLLM's
                logs[source] = logs.pop("")
        logs.setdefault(source, ExplainedLog()).read(line)
    for explained in logs.values():
        explained.errors.finish()
    return logs
