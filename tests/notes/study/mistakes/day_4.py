"""Wrong answers to day 4, time-outs and retries, each with words of what its writer hears."""

from __future__ import annotations

CALL = "from day_4 import GaveUp, Refused\n"  # the exception classes of the right answer


def asking(arguments: str) -> str:
    """The right answer, asked with these for attempts, time-out and pause."""
    head = "async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):"
    return f"{CALL}{head}\n return await right.call_with_retry(session, url, body, {arguments})"


WRONG = [
    ("async def call_with_retry(*args):\n return {}", "your file has no exception class Refused"),
    (CALL, "open"),
    (CALL + "async def call_with_retry(*args):\n return {'text': 'Hi'}", "the number of requests is 0, not 1"),
    (
        CALL
        + """
async def call_with_retry(session, url, body, *_):
    async with session.post(url, json=body) as response:
        return await response.json()
""",
        "what it returned is {'error'",
    ),
    (
        asking("attempts, timeout_s, 0"),
        "pause 1 was",
    ),
    (
        CALL
        + """
async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    try:
        return await right.call_with_retry(session, url, body, attempts, timeout_s, backoff_s)
    except Refused as error:
        raise GaveUp(error)
""",
        "it gave up instead of raising Refused",
    ),
    (
        asking("attempts + 1, timeout_s, backoff_s"),
        "the number of requests with attempts=1 is 2, not 1",
    ),
    (
        asking("attempts, 60, backoff_s"),
        "with timeout_s=0.3 it waited on",
    ),
    ("def error_class(outcome):\n return 'ok' if outcome == 200 else 'server'", "error_class(400) is 'server'"),
    (
        """
        def error_class(outcome):
            if isinstance(outcome, aiohttp.ClientError):
                return "connection"
            return right.error_class(outcome)
        """,
        "which is 'timeout' and not 'connection'",
    ),
    ("RUNS = {**right.RUNS, 'after': 'before.jsonl'}", "after: no prompt was sent twice"),
    ("RUNS = {**right.RUNS, 'before': 'after.jsonl'}", "before: the most attempts of a prompt is 2, not 1"),
    ("RUNS = {'before': 'before.jsonl'}", "its keys are before, after"),
    ("RUNS = right.RUNS\ndef failures(path):\n return {}", "failures of before is {}"),
    (
        "RUNS = right.RUNS\ndef failures(path):\n return dict(sorted(right.failures(path).items()))",
        "does not begin with the commonest",
    ),
    ("def failures(path):\n return {}", "RUNS is None; its keys are before, after"),
]
