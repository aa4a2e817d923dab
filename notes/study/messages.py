"""What the process that judges a learner's file reports over its pipe: one message a line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Ending = Literal["done", "late", "died"]


@dataclass(frozen=True)
class Broken:
    """The file cannot be loaded, and nothing follows; `at` are the lines of the file that lead there."""

    reason: str
    at: tuple[str, ...]


@dataclass(frozen=True)
class ExerciseBegins:
    """The checks of one name begin."""

    name: str


@dataclass(frozen=True)
class NotDefined:
    """The file does not define the name of the exercise that has begun."""


@dataclass(frozen=True)
class CheckBegins:
    """A check begins; `check` is the sentence that the learner reads."""

    check: str


@dataclass(frozen=True)
class Passed:
    """A check passed, with a measured line where it has one."""

    check: str
    measurement: str | None


@dataclass(frozen=True)
class Failed:
    """A check did not pass, and the exercise ends with it."""

    check: str
    reason: str
    hint: str
    at: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """The process is gone: all is done, or its time was over, or it died in the middle."""

    ending: Ending


Message = Broken | ExerciseBegins | NotDefined | CheckBegins | Passed | Failed | Ended
KINDS: dict[str, Callable[..., Message]] = {
    kind.__name__: kind for kind in (Broken, ExerciseBegins, NotDefined, CheckBegins, Passed, Failed, Ended)
}


def encode(message: Message) -> str:
    """A message as a line of JSON."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)})


def decode(line: str | bytes) -> Message:
    """A message out of its line."""
    fields: dict[str, Any] = json.loads(line)
    kind = KINDS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
