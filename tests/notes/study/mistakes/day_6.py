"""Wrong answers to day 6, a batch, each with words of what its writer hears."""

from __future__ import annotations

WRONG = [
    ("RUNS = {'whole': 'streamed.jsonl', 'streamed': 'whole.jsonl'}", "whole: 20 records were streamed"),
    ("def percentile(values, share):\n return sorted(values)[int(share * len(values))]", "it raised IndexError"),
    ("def percentile(values, share):\n values.sort()\n return right.percentile(values, share)", "changed the list"),
    ("def percentile(values, share):\n return right.percentile(values or [0], share)", "a figure out of nothing"),
    (
        """
        def summary(records):
            took = [r["ended_s"] - r["due_s"] for r in records]
            return {**right.summary(records), "p95_s": right.percentile(took, 0.95) if took else None}
        """,
        "you count the requests that failed",
    ),
    (
        """
        def summary(records):
            return right.summary([{**r, "due_s": r["sent_s"]} for r in records])
        """,
        "count from `due_s`",
    ),
    ("def summary(records):\n return {}", "summary(records) has no 'requests'"),
    ("def summary(records):\n return right.summary(records[:9])", "requests is 9, not 10"),
]
