"""Day 6, as it may be answered."""

from collections import Counter

RUNS = {"whole": "whole.jsonl", "streamed": "streamed.jsonl"}


def percentile(values, share):
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def summary(records):
    good = [record["ended_s"] - record["due_s"] for record in records if record["error"] is None]
    errors = Counter(record["error"] for record in records if record["error"])
    return {
        "requests": len(records),
        "success_rate": len(good) / len(records) if records else None,
        "p95_s": percentile(good, 0.95) if good else None,
        "commonest_error": max(sorted(errors), key=errors.get) if errors else None,
    }
