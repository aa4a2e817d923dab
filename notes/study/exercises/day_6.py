"""Day 6, a batch: whole beside streamed, percentiles, and a summary that fast failures cannot flatter."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from notes.study.exercises import Exercise, WrongAnswer, expect
from notes.study.exercises.batchfile import streamed_beside_whole
from notes.study.exercises.errorclasses import CLASSES

ERRORS = tuple(kind for kind in CLASSES if kind != "ok")  # of day 4
Record = dict[str, Any]


def interpolated(values: Sequence[float], share: float) -> float:
    """The quantile between the two nearest ranks, linearly: that of numpy's and pandas' default."""
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def random_cases(mine: Any) -> None:
    """it is right for 300 random lists, of one value, of equal ones, unsorted"""
    rng = random.Random(6)
    for case in range(300):
        values = [rng.choice((rng.randint(1, 9), 5)) for _ in range(1 + case // 12)]
        share = rng.choice((0.5, 0.9, 0.95, 0.99, 1.0))
        before = list(values)
        answer = mine.percentile(values, share)
        expected = interpolated(before, share)
        expect(
            isinstance(answer, int | float) and math.isclose(answer, expected, rel_tol=1e-9, abs_tol=1e-9),
            f"percentile({before}, {share}) is {answer!r}, not {expected:g}",
            "sort; the rank is share * (n - 1); between two values go the part of the way that the rank says",
        )
        expect(values == before, "it changed the list that it was given", "sorted(values), not values.sort()")


def nothing(mine: Any) -> None:
    """of no values there is no percentile: ValueError"""
    try:
        answer = mine.percentile([], 0.95)
    except ValueError:
        return
    except IndexError:
        raise WrongAnswer(
            "percentile([], 0.95) raised an IndexError, which tells a user nothing", "ask first"
        ) from None
    raise WrongAnswer(f"percentile([], 0.95) is {answer!r}: a figure out of nothing", "raise ValueError('no values')")


def reference(records: Sequence[Record]) -> Record:
    """The summary that a learner's is held against."""
    good = [record["ended_s"] - record["due_s"] for record in records if record["error"] is None]
    errors = Counter(record["error"] for record in records if record["error"] is not None)
    return {
        "requests": len(records),
        "success_rate": len(good) / len(records) if records else None,
        "p95_s": interpolated(good, 0.95) if good else None,
        "commonest_error": min(errors, key=lambda kind: (-errors[kind], kind)) if errors else None,
    }


def some_records(rng: random.Random, count: int) -> list[Record]:
    """Records of a batch; a failure is far faster, or far slower, than what succeeds, as in life."""
    records = []
    for number in range(count):
        error = rng.choice((None, None, rng.choice(ERRORS)))
        due_s = 0.25 * number
        sent_s = due_s + rng.choice((0.0, 0.0, 0.5))
        duration_s = rng.randint(1, 9) if error is None else rng.choice((0.0, 60.0))
        records.append({"due_s": due_s, "sent_s": sent_s, "ended_s": sent_s + duration_s, "error": error})
    return records


def figures_right(mine: Any) -> None:
    """every figure of 200 random batches is right, also where all failed or none was sent"""
    rng = random.Random(66)
    for case in range(200):
        records = some_records(rng, case // 10)
        answer, expected = mine.summary([dict(record) for record in records]), reference(records)
        expect(isinstance(answer, dict), f"summary(records) is {answer!r}, not a dict")
        for key, value in expected.items():
            expect(key in answer, f"summary(records) has no {key!r}")
            if not _alike(answer[key], value):
                what = f"{key} is {answer[key]!r}, not {value!r}, for {_in_words(records)}"
                raise WrongAnswer(what, _hint(key, answer, records))


def _alike(answer: object, expected: object) -> bool:
    if isinstance(answer, int | float) and isinstance(expected, int | float):
        return math.isclose(answer, expected, rel_tol=1e-9, abs_tol=1e-9)
    return answer == expected


def _in_words(records: Sequence[Record]) -> str:
    words = ", ".join(
        f"due {r['due_s']:g} sent {r['sent_s']:g} ended {r['ended_s']:g} {r['error'] or 'ok'}" for r in records[:6]
    )
    return f"[{words}{', …' if len(records) > 6 else ''}]"


def _hint(key: str, answer: Record, records: Sequence[Record]) -> str:
    """What the wrong figure looks like."""
    if key == "p95_s" and records:
        if _alike(answer[key], interpolated([r["ended_s"] - r["due_s"] for r in records], 0.95)):
            return "you count the requests that failed: a time-out is no latency, and a refusal is a fast one"
        good = [r["ended_s"] - r["sent_s"] for r in records if r["error"] is None]
        if good and _alike(answer[key], interpolated(good, 0.95)):
            return "count from `due_s`: a client that sends late must not make the server look fast"
    return {
        "success_rate": "requests without an error, of all; None where there are none",
        "commonest_error": "the error with the most records; of equals the first by name; None without errors",
    }.get(key, "")


EXERCISES = (
    Exercise("RUNS", (streamed_beside_whole,)),
    Exercise("percentile", (random_cases, nothing)),
    Exercise("summary", (figures_right,)),
)
