"""Day 4, as it may be answered."""

import asyncio
import json
from collections import Counter

import aiohttp


class Refused(Exception):
    """The request itself is wrong."""


class GaveUp(Exception):
    """It might have worked, and did not."""


AGAIN = (408, 429, 500, 502, 503, 504)


async def call_with_retry(session, url, body, attempts, timeout_s, backoff_s):
    reason = "no attempt was made"
    for attempt in range(attempts):
        pause_s = backoff_s * 2**attempt
        try:
            async with asyncio.timeout(timeout_s), session.post(url, json=body) as response:
                if response.status == 200:
                    return await response.json()
                answer = f"{response.status}: {await response.text()}"
                if response.status not in AGAIN:
                    raise Refused(answer)
                reason = answer
                pause_s = max(pause_s, float(response.headers.get("Retry-After", 0)))
        except TimeoutError:
            reason = f"no answer in {timeout_s} s"
        except aiohttp.ClientError as error:
            reason = str(error)
        if attempt + 1 < attempts:
            await asyncio.sleep(pause_s)
    raise GaveUp(reason)


def error_class(outcome):
    if isinstance(outcome, int):
        named = {408: "timeout", 429: "overloaded", 503: "overloaded"}
        if outcome in named:
            return named[outcome]
        return "ok" if outcome < 400 else "refused" if outcome < 500 else "server"
    if isinstance(outcome, TimeoutError):  # first: aiohttp's own time-outs are ClientErrors too
        return "timeout"
    return "connection" if isinstance(outcome, aiohttp.ClientError) else "bug"


RUNS = {"before": "before.jsonl", "after": "after.jsonl"}


def failures(path):
    with open(path) as file:
        records = [json.loads(line) for line in file]
    return dict(Counter(record["error_type"] for record in records if not record["ok"]).most_common())
