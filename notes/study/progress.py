"""What a learner has done: the steps of the days, and the file that keeps what was seen at each.

A step is a row of a day's self-check, named as `3.2`, or one of its exercises, named as `3.ABORT_ORDER`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from notes.study import texts
from notes.study.judging import exercises
from notes.translation import editions
from notes.translation.labels import IN_ENGLISH, Labels
from probes.errors import EnginescopeError, usage_error

SCHEMA = 1
FILE = Path("results") / "study.json"
ROW = re.compile(r"^\| (\d\.\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
PLACE = re.compile(r"<!--saw ([\w.]+)-->")
EXPECTED = "every check says right"
NOT_NOTED = "(not noted yet: step {step} of day {day})"


@dataclass(frozen=True)
class DayStep:
    """What is to be done, and what one should see then."""

    name: str
    task: str
    expected: str


@dataclass(frozen=True)
class Note:
    """A step that is done: what was expected, what was seen, and when (ISO 8601, local time)."""

    expected: str
    observation: str
    at: str


Progress = Mapping[str, Note]


def steps(day: int, say: Labels = IN_ENGLISH) -> list[DayStep]:
    """The steps of a day: its self-check, then its exercises."""
    rows = [DayStep(*row) for row in ROW.findall(editions.text(texts.path(str(day)), say.language))]
    names = [each.name for each in exercises(day)]
    return [*rows, *(DayStep(f"{day}.{name}", say("write `{name}`", name=name), say(EXPECTED)) for name in names)]


def find_step(name: str) -> DayStep:
    """A step by its name; a usage error that names those of the day."""
    day = name.partition(".")[0]
    day_steps = steps(int(day)) if day in map(str, texts.DAYS) else []
    for step in day_steps:
        if step.name == name:
            return step
    raise usage_error(
        f"there is no step {name!r}; the steps are {', '.join(s.name for s in day_steps) or '1.1 to 7.…'}"
    )


def read(path: Path) -> Progress:
    """What is noted; nothing where there is no file yet."""
    try:
        file: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if file["schema"] != SCHEMA:
            raise usage_error(f"{path} is of schema {file['schema']}, not {SCHEMA}: name another with --progress")
        return {name: Note(observation=fields.pop("saw"), **fields) for name, fields in file["done"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise usage_error(f"{path} holds no progress of this plan: name another with --progress") from None


def note(path: Path, observations: Mapping[str, str]) -> None:
    """Note what was seen at these steps, beside what the file holds already; a kill leaves the old file or the new."""
    now = datetime.now().isoformat(timespec="seconds")
    fresh = {name: Note(find_step(name).expected, words, now) for name, words in observations.items()}
    notes = {
        name: {"expected": each.expected, "saw": each.observation, "at": each.at}
        for name, each in {**read(path), **fresh}.items()
    }
    text = json.dumps({"schema": SCHEMA, "done": notes}, indent=1)
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None


def tally(day: int, notes: Progress, say: Labels = IN_ENGLISH) -> str:
    """How far a day is, as `3 of 8 done`."""
    day_steps = steps(day)
    done = sum(step.name in notes for step in day_steps)
    return say("{done} of {steps} done", done=done, steps=len(day_steps))


def line(step: DayStep, notes: Progress, say: Labels = IN_ENGLISH) -> str:
    """A step in a line: what was seen, or what is to be done."""
    if step.name in notes:
        return f"  {say('done')}  {step.name}  {notes[step.name].observation}"
    return f"  {say('open')}  {step.name}  {say('{task}: {expected}', task=step.task, expected=step.expected)}"


def with_notes(text: str, notes: Progress, say: Labels = IN_ENGLISH) -> str:
    """A text in which each `<!--saw 6.2-->` is what the learner saw at that step, or where it can be had."""

    def words(match: re.Match[str]) -> str:
        name = match[1]
        return f"“{notes[name].observation}”" if name in notes else say(NOT_NOTED, step=name, day=name[0])

    return PLACE.sub(words, text)
