"""The exercises of the study plan, a module a day: what a learner's file must define, and the checks that it is run
through. A check's docstring is the sentence that the learner reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class WrongAnswer(Exception):
    """What is wrong with an answer, in a sentence, and a hint at what to do about it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class Exercise:
    """One name that the learner's file must define, and its checks in order.

    A check gets everything that the file defines. It raises `WrongAnswer` or whatever the learner's code raises, and
    returns None or a measured line to show. It may be a coroutine function.
    """

    name: str
    checks: tuple[Callable[[Any], Any], ...]


def expect(right: bool, what: str, hint: str = "") -> None:
    """Raise `WrongAnswer` where an expectation does not hold."""
    if not right:
        raise WrongAnswer(what, hint)


def same(answer: object, expected: object, of: str, hint: str = "") -> None:
    """Raise `WrongAnswer` where two values differ, showing both."""
    expect(answer == expected, f"{of} is {short(answer)}, not {short(expected)}", hint)


def short(value: object) -> str:
    """A value for a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 160 else text[:159] + "…"


def ms(seconds: float) -> str:
    """A time for a sentence."""
    return f"{seconds * 1e3:.0f} ms"


async def no_task_left(before: set[asyncio.Task[Any]], after: str) -> None:
    """Raise `WrongAnswer` where a task that was not there `before` is still running; it may use a few turns to end."""
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    expect(
        not left,
        f"{len(left)} task(s) still running after {after}",
        "who makes a task waits for it: gather, a TaskGroup, or cancel() and await",
    )
