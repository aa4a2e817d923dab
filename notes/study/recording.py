"""The recorded behaviour that exercises are judged by, as `notes/study/recorded.json` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError

SCHEMA = 1
FILE = Path(__file__).parent / "recorded.json"
COMMANDS = (
    "python -m tracing.record -- python tests/engine/traced/streams.py MODEL",
    "python -m notes.recorded traces/<folder>",
)


@dataclass(frozen=True)
class RecordedSpan:
    """A call of a place, or a wait for it, in nanoseconds since the story began."""

    place: str
    role: str
    wait: bool
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class RecordedStories:
    """Two stories out of one trace, as spans in the order of their start.

    `first_token` is the way of a request to its first token, `abort` what a stream that its caller left set going.
    `roles` has the role of every place that ran in one role only; `about` names the command, versions and machine.
    """

    about: str
    prompt_tokens: int
    roles: Mapping[str, str]
    first_token: tuple[RecordedSpan, ...]
    abort: tuple[RecordedSpan, ...]


def read(path: Path = FILE) -> RecordedStories:
    """The committed recording; an `EnginescopeError` where it is of another schema."""
    recording: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if recording["schema"] != SCHEMA:
        raise EnginescopeError(
            f"{path.name} is of schema {recording['schema']}, not {SCHEMA}: write it again with {COMMANDS[1]}"
        )
    stories = {name: tuple(RecordedSpan(**span) for span in recording[name]) for name in ("first_token", "abort")}
    return RecordedStories(recording["about"], recording["prompt_tokens"], recording["roles"], **stories)


def write(recording: RecordedStories, path: Path = FILE) -> None:
    """Write a recording as JSON."""
    text = json.dumps({"schema": SCHEMA, "made_by": COMMANDS, **asdict(recording)}, indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None


def lines(recording: RecordedStories) -> Iterator[str]:
    """Both stories for people: when a call began and how long it took, in ms, its role, its place."""
    yield f"recorded: {recording.about}"
    for title, story in (("to the first token", recording.first_token), ("an abort", recording.abort)):
        yield f"\n{title}\n{'began ms':>10} {'took ms':>8}  {'role':12} place"
        for span in story:
            took_ms = (span.end_ns - span.start_ns) / 1e6
            place = f"wait: {span.place}" if span.wait else span.place
            yield f"{span.start_ns / 1e6:10.3f} {took_ms:8.3f}  {span.role:12} {place}"
