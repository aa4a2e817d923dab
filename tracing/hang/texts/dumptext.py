"""Reads pasted texts: py-spy's dumps, faulthandler's tracebacks, and logs of vLLM, mixed or not.

A text is refused by the name of what it is where it is a dump of another tool, and by its file where it is none at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probes.errors import EnginescopeError, usage_error
from probes.privacy.secretvalues import blanked
from tracing.hang.dump import ProcessDump, ThreadStack
from tracing.hang.texts import enginelog
from tracing.hang.texts.enginelog import LoggedProgress, Notice
from tracing.pyspy.events import Frame

LARGEST_BYTES = 64 * 2**20
QUOTE = re.compile(r"^(?:[\w.-]+ +\| ?|(?:> ?)+)")  # what Docker Compose writes before a line, or a mail
# vLLM writes (EngineCore pid=12) before every line of a process; the innermost of several is the process's own.
PREFIX = re.compile(r"^(?:\((?P<title>\w+)(?: rank=\d+)?(?: pid=(?P<pid>\d+))\)\s?)")
PROCESS = re.compile(r"^\s*Process (\d+): (.*)$")
THREAD = re.compile(r"^\s*Thread (0x[0-9A-Fa-f]+|\d+)(?: \((idle|active)(?:\+gil)?\))(?:: \"(.*)\")?$")
FRAME = re.compile(r"^\s+(\S.*?) \(([^()]+?)(?::(\d+))?\)$")
# py-spy --locals: a heading, then `name: value`, indented more than the frames.
LOCALS = re.compile(r"^\s+(Arguments|Locals):$")
VALUE = re.compile(r"^\s{8,}[\w.]+: ")
FAULT_THREAD = re.compile(r"^\s*(Current thread|Thread) (0x[0-9a-fA-F]+)(?: \[(.*)\])? \(most recent call first\):")
FAULT_FRAME = re.compile(r'^\s*File "(.+)", line (\d+|\?\?\?) in (.+)$')
FAULT_BEGIN = re.compile(r"^\s*(?:Timeout \(\d+:\d+:\d+(?:\.\d+)?\)!|Fatal Python error: )")
# Dumps that are read elsewhere, and how to get one that is read here.
OTHERS = (
    (re.compile(r"^#\d+\s+0x[0-9a-f]+ in ", re.M), "a backtrace of gdb"),
    (re.compile(r"^Traceback for thread \d+ ", re.M), "a dump of pystack"),
    (re.compile(r"speedscope\.app/file-format-schema|<svg "), "a profile (py-spy record), and no dump"),
    (re.compile(r"^.*Traceback \(most recent call last\):", re.M), "the traceback of an exception, and no dump"),
)
ADVICE = "take one of each process: py-spy dump --pid PID"
# Where a dump's short names are put: the file of that name on this machine may be of another version.
ELSEWHERE = "/elsewhere/site-packages/"
# A checkout names vLLM's files by the whole path to them.
CHECKOUT = re.compile(
    r"^.*/(vllm/(?:v1|distributed|model_executor|entrypoints|engine|executor|worker|compilation)/.*)$"
)


@dataclass(frozen=True)
class Reading:
    """Whatever texts held, in their order; a process that is there twice was looked at twice."""

    dumps: tuple[ProcessDump, ...] = ()
    notices: tuple[Notice, ...] = ()
    progress: LoggedProgress | None = None


@dataclass
class _Section:
    """A process while its lines are read, in either tool's order: the innermost frame first."""

    pid: int
    title: str
    source: str
    threads: list[tuple[int, str, bool | None]] = field(default_factory=list)
    frames: list[list[Frame]] = field(default_factory=list)
    by_faulthandler: bool = False

    def begin(self, number: int, name: str, active: bool | None) -> None:
        self.threads.append((number, name, active))
        self.frames.append([])

    def dump(self) -> ProcessDump:
        threads = (
            ThreadStack(*thread, tuple(reversed(frames)))
            for thread, frames in zip(self.threads, self.frames, strict=True)
        )
        return ProcessDump(self.pid, self.title, tuple(threads), self.source)


def read_files(paths: Sequence[Path]) -> Reading:
    """All files; `EnginescopeError` names the first of which nothing is known."""
    readings = [read_text(_text(path), str(path)) for path in paths]
    return Reading(
        tuple(dump for reading in readings for dump in reading.dumps),
        tuple(notice for reading in readings for notice in reading.notices),
        next((reading.progress for reading in reversed(readings) if reading.progress), None),
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise EnginescopeError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB: keep only the lines of the hang")
        return path.read_text(errors="replace")
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None


def read_text(text: str, source: str) -> Reading:
    """One text; `EnginescopeError` where it holds neither a dump nor a line of a log that speaks of waiting."""
    lines = [QUOTE.sub("", line.rstrip()) for line in text.splitlines()]
    sections = [section for section in _sections(lines, source) if any(section.frames)]
    reading = Reading(tuple(section.dump() for section in sections), *enginelog.read(_owned(lines)))
    if not reading.dumps and not reading.notices and not reading.progress:
        kind = next((name for pattern, name in OTHERS if pattern.search(text)), None)
        about = f"is {kind}" if kind else "holds no dump of py-spy or faulthandler, and no line of vLLM about a wait"
        raise usage_error(f"{source} {about}; {ADVICE}")
    return reading


def _owned(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Each line without the prefixes of its process: pid and title (0 and '' where none), and the rest."""
    for line in lines:
        pid, title = 0, ""
        while match := PREFIX.match(line):
            pid, title, line = int(match["pid"]), match["title"], line[match.end() :]
        yield pid, title, line


def _sections(lines: Sequence[str], source: str) -> list[_Section]:
    sections: list[_Section] = []
    in_locals = False
    for pid, title, line in _owned(lines):
        if match := PROCESS.match(line):
            sections.append(_Section(int(match[1]), blanked(match[2]), source))
        elif match := THREAD.match(line):
            _open(sections, pid, title, source, False).begin(int(match[1], 0), match[3] or "", match[2] == "active")
            in_locals = False
        elif FAULT_BEGIN.match(line):
            sections.append(_Section(pid, title, source, by_faulthandler=True))
        elif match := FAULT_THREAD.match(line):
            section = _open(sections, pid, title, source, True)
            section.begin(int(match[2], 16), match[3] or "", None)
        elif match := FAULT_FRAME.match(line):
            section = _open(sections, pid, title, source, True)
            if not section.frames:
                section.begin(0, "", None)
            section.frames[-1].append(Frame(match[3], _path(match[1]), int(match[2]) if match[2].isdigit() else 0))
        elif LOCALS.match(line):
            in_locals = True
        elif in_locals and VALUE.match(line):
            continue
        elif (match := FRAME.match(line)) and sections and sections[-1].frames and not sections[-1].by_faulthandler:
            in_locals = False
            sections[-1].frames[-1].append(Frame(match[1], _path(match[2]), int(match[3] or 0)))
    return sections


def _open(sections: list[_Section], pid: int, title: str, source: str, by_faulthandler: bool) -> _Section:
    """The section that a thread belongs to: the last one, or a new one where the line is of another process or tool."""
    if sections:
        last = sections[-1]
        if last.by_faulthandler == by_faulthandler and (not pid or last.pid in (0, pid)):
            last.pid, last.title = last.pid or pid, last.title or title
            return last
    sections.append(_Section(pid, title, source, by_faulthandler=by_faulthandler))
    return sections[-1]


def _path(path: str) -> str:
    match = CHECKOUT.match(path)
    path = match[1] if match and "-packages/" not in path else path
    return ELSEWHERE + path if path.endswith(".py") and not path.startswith(("/", "<")) else path
