"""The classes of day 4 into which a caller sorts what a server answers, and the checks of `error_class`."""

from __future__ import annotations

from typing import Any

import aiohttp

from notes.study.exercises import expect
from notes.study.exercises.stubserver import serving

BODY = {"prompt": "Hello", "max_tokens": 4}
CLASSES = ("ok", "timeout", "overloaded", "server", "refused", "connection", "bug")
STATUS = {
    200: "ok",
    400: "refused",
    404: "refused",
    408: "timeout",
    429: "overloaded",
    500: "server",
    503: "overloaded",
}


def by_status(mine: Any) -> None:
    """every status has its class"""
    for status, expected in STATUS.items():
        answer = mine.error_class(status)
        expect(
            answer == expected, f"error_class({status}) is {answer!r}, not {expected!r}", "the day's table has them all"
        )


async def by_exception(mine: Any) -> None:
    """so has every exception that a real client met"""
    cases: list[tuple[str, str, Exception]] = [("a bug of your own", "bug", KeyError("choices"))]
    with serving("hang up") as broken, serving("sleep") as silent:
        async with aiohttp.ClientSession() as session:
            cases.append(("a server that hangs up", "connection", await _error(session, broken.url)))
            quick = aiohttp.ClientTimeout(total=0.1)
            cases.append(("a time-out in all", "timeout", await _error(session, silent.url, timeout=quick)))
            quick = aiohttp.ClientTimeout(sock_read=0.1)
            cases.append(("a time-out while reading", "timeout", await _error(session, silent.url, timeout=quick)))
    async with aiohttp.ClientSession() as session:
        cases.append(("a port where nobody listens", "connection", await _error(session, broken.url)))
    for words, expected, error in cases:
        answer = mine.error_class(error)
        bases = ", ".join(base.__name__ for base in type(error).__mro__[:-3])
        expect(
            answer == expected,
            f"{words} gave {type(error).__name__}, which is {expected!r} and not {answer!r}",
            f"it is a {bases}: which class do you ask for first?",
        )


async def _error(session: aiohttp.ClientSession, url: str, **how: Any) -> Exception:
    try:
        async with session.post(url, json=BODY, **how) as response:
            await response.read()
    except Exception as error:
        return error
    raise RuntimeError(f"{url} answered")
