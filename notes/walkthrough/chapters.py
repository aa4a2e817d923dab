"""The walkthrough's chapters: Markdown files whose front matter and stops are TOML.

A chapter begins with a block between two lines of `+++` that gives its `title` and `summary`. A stop is a fenced block:

    ```stop
    name = "schedule"
    anchor = "vllm.v1.engine.core:EngineCore.step"
    fragment = "self.scheduler.schedule()"
    role = "core"
    ```

`name` is its id, of which there is one in all chapters. `anchor` is where the `fragment` must be. What else it may
say: `role` (of `tracing.sites.ROLES`: which process and thread runs it) and `thread` (part of the thread's name, where
the role leaves that open), `site` (the tracing site that measures its function, or the one around it), `claims` (what
its text says of the code, one a line: see `notes.walkthrough.claims.claim`), and the edges that it claims: `calls` (a
target that the fragment calls or hands on, in the same thread) and `sends_to` (a target that runs later, in another
thread or process). The Markdown up to the next stop or heading is the text about it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from notes.translation import editions
from notes.translation.editions import ENGLISH
from notes.walkthrough.anchors import Anchor
from notes.walkthrough.claims.claim import Claim, claims
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError, usage_error
from tracing.sites.engine import SITES
from tracing.sites.site import ROLES

FOLDER = Path(__file__).resolve().parent
EDGE = "+++"
FENCE = "```"
STOP = FENCE + "stop"
FRONT = ("title", "summary")
NEEDED = ("name", "anchor", "fragment")
OPTIONAL = ("role", "thread", "site", "calls", "sends_to", "claims")
OVERVIEW = 1  # the chapter with a stop for every part of a request's way; other chapters explain most of them
SITE_NAMES = {site.name for site in SITES}


@dataclass(frozen=True)
class Stop:
    """One place of the walkthrough; `line` is its block's in the chapter's file, `text` the Markdown after it."""

    name: str
    anchor: Anchor
    role: str = ""
    thread: str = ""
    site: str = ""
    calls: str = ""
    sends_to: str = ""
    claims: tuple[Claim, ...] = ()
    file: str = ""
    line: int = 0
    text: str = field(default="", compare=False)

    @property
    def where(self) -> str:
        """For people and editors: where the notes say it."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Chapter:
    """One page: its prose and its stops in the order of the text. A stop's own text is in the stop."""

    name: str
    title: str
    summary: str
    parts: tuple[str | Stop, ...]

    @property
    def number(self) -> int:
        """With which its file's name begins, and by which other chapters name it; 0 where it has none."""
        first = self.name.partition("-")[0]
        return int(first) if first.isdigit() else 0

    @property
    def stops(self) -> tuple[Stop, ...]:
        return tuple(part for part in self.parts if isinstance(part, Stop))


def read(folder: Path = FOLDER, language: str = ENGLISH) -> tuple[Chapter, ...]:
    """All chapters by name, in a language; an `EnginescopeError` with `file:line` where one is not as it must be."""
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise usage_error(f"no chapters (*.md) in {folder}")
    chapters = tuple(read_chapter(path, language) for path in paths)
    by_name: dict[str, Stop] = {}
    for stop in stops(chapters):
        if stop.name in by_name:
            raise _error(stop.file, stop.line, f"stop {stop.name!r} is at {by_name[stop.name].where} already")
        by_name[stop.name] = stop
    return chapters


def stops(chapters: Sequence[Chapter]) -> Iterator[Stop]:
    """Every stop of every chapter, in order."""
    for chapter in chapters:
        yield from chapter.stops


def explaining_first(chapters: Sequence[Chapter]) -> list[Chapter]:
    """The chapters in their order, the overview last: for what leads to a place's first stop."""
    return sorted(chapters, key=lambda chapter: chapter.number == OVERVIEW)


def read_chapter(path: Path, language: str = ENGLISH) -> Chapter:
    """One chapter."""
    try:
        lines = editions.text(path, language, anchored=True).split("\n")
    except (OSError, UnicodeError) as error:
        raise usage_error(f"{path} cannot be read: {error}") from None
    if lines[0].rstrip() != EDGE or EDGE not in map(str.rstrip, lines[1:]):
        raise _error(path.name, 1, f"front matter is missing: title and summary between two lines of {EDGE}")
    end = [line.rstrip() for line in lines].index(EDGE, 1)
    front = _entries(lines[1:end], FRONT, (), path.name, 1)
    parts = tuple(_parts(lines, end + 1, path.name))
    return Chapter(path.stem, front["title"], front["summary"], parts)


def _parts(lines: Sequence[str], start: int, file: str) -> Iterator[str | Stop]:
    """Prose up to a stop, the stop with its own text, prose again from the next heading."""
    at = start
    while at < len(lines):
        until = _next(lines, at, headings=False)
        if prose := "\n".join(lines[at:until]).strip():
            yield prose
        if until == len(lines):
            return
        end = _end(lines, until, file)
        at = _next(lines, end + 1, headings=True)
        yield _stop(lines[until + 1 : end], file, until + 1, "\n".join(lines[end + 1 : at]).strip())


def _next(lines: Sequence[str], at: int, headings: bool) -> int:
    """The line of the next stop, or heading; other fenced blocks are stepped over."""
    fenced = False
    for number in range(at, len(lines)):
        line = lines[number].rstrip()
        if not fenced and (line == STOP or (headings and line.startswith("#"))):
            return number
        if line.startswith(FENCE):
            fenced = not fenced
    return len(lines)


def _end(lines: Sequence[str], begin: int, file: str) -> int:
    for number in range(begin + 1, len(lines)):
        if lines[number].rstrip() == FENCE:
            return number
    raise _error(file, begin + 1, f"the stop has no end: a line of {FENCE}")


def _stop(block: Sequence[str], file: str, line: int, text: str) -> Stop:
    entries = _entries(block, NEEDED, OPTIONAL, file, line)
    try:
        anchor = Anchor(entries.pop("anchor"), Fragment(entries.pop("fragment")))
        stop_claims = claims(entries.pop("claims", ""))
    except EnginescopeError as error:
        raise _error(file, line, str(error)) from None
    stop = Stop(anchor=anchor, claims=stop_claims, file=file, line=line, text=text, **entries)
    if problem := _problem(stop):
        raise _error(file, line, f"stop {stop.name!r}: {problem}")
    return stop


def _problem(stop: Stop) -> str:
    """Why a stop cannot be held against anything."""
    if not all(part.isalnum() for part in stop.name.split("-")):
        return "a name is made of letters and digits, joined by '-': it is part of an address"
    if stop.role and stop.role not in ROLES:
        return f"there is no role {stop.role!r}; roles: {', '.join(ROLES)}"
    if stop.site and stop.site not in SITE_NAMES:
        return f"there is no site {stop.site!r}: python -m tracing.sites lists them"
    if not stop.role and (stop.site or stop.calls or stop.sends_to or stop.thread):
        return "a site, a thread or an edge needs the role that it is in"
    return ""


def _entries(
    block: Sequence[str], needed: Sequence[str], optional: Sequence[str], file: str, line: int
) -> dict[str, str]:
    """The TOML of a block that begins after `line`: texts by key, all that are needed and no others than these."""
    try:
        entries = tomllib.loads("\n".join(block))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _error(file, line + 1, f"not TOML: {error}") from None
    for key, value in entries.items():
        if key not in (*needed, *optional):
            raise _error(file, line, f"unknown key {key!r}; the keys are {', '.join((*needed, *optional))}")
        if not isinstance(value, str) or not value.strip():
            raise _error(file, line, f"{key} must be text, not {value!r}")
    if missing := [key for key in needed if key not in entries]:
        raise _error(file, line, f"{', '.join(missing)} is missing")
    return entries


def _error(file: str, line: int, words: str) -> EnginescopeError:
    return usage_error(f"{file}:{line}: {words}")
