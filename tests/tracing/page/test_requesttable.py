"""The data of the page's table of requests: a row each, as short as it is shown, and nothing that ends the script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tests.tracing.stories import batch, stream
from tracing import timeline
from tracing.breakdown.findings import Findings, analyze
from tracing.page.tables.requesttable import COLUMNS, request_table, table_data


def rows_of(findings: Findings) -> list[dict[str, Any]]:
    """The rows by column, names as they are shown."""
    table = table_data(findings)
    assert [(each["name"], each["form"]) for each in table["columns"]] == list(COLUMNS.items())
    shown = [dict(zip(COLUMNS, row, strict=True)) for row in table["rows"]]
    names = [name for name, form in COLUMNS.items() if form == "name"]
    return [row | {name: table["names"][row[name]] for name in names if row[name] is not None} for row in shown]


def test_a_request_has_its_times_and_the_largest_part_of_them(tmp_path: Path) -> None:
    stream(tmp_path, [1000] * 14 + [900_000] + [1000] * 30, steps=1)
    findings = analyze(timeline.read(tmp_path))
    [flow] = findings.flows
    [row] = rows_of(findings)
    assert (row["#"], row["request"], row["state"], row["prompt"], row["output"]) == (1, "a-1", "stopped", 5, 1)
    assert row["latency"] == float(f"{flow.latency_ns / 1e6:.5g}") == row["TTFT"]
    assert (row["TPOT"], row["longest ITL"]) == (None, None)  # of one output
    assert row["most of it"] == "wait: scheduler queue" and row["in the queue"] == 0.9
    assert row["share"] == float(f"{900_000 / flow.latency_ns:.5g}")


def test_the_time_in_the_queue_is_that_of_all_reasons(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",))
    parts = {"wait: scheduler queue": 10**6, "wait: scheduler queue (token budget)": 2 * 10**6, "forward": 5 * 10**6}
    budgets = pd.DataFrame(parts, index=["0-x"])
    [row] = rows_of(replace(analyze(timeline.read(tmp_path)), budgets=budgets))
    assert (row["in the queue"], row["latency"], row["most of it"]) == (3, 8, "forward")


def test_what_is_not_known_is_missing(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    whole, cut = rows_of(analyze(timeline.read(tmp_path)))
    assert whole["latency"] == 0.004 and whole["in the queue"] is not None
    unknown = ("TTFT", "TPOT", "longest ITL", "latency", "in the queue", "most of it", "share")
    assert cut["state"] == "cut" and [cut[name] for name in unknown] == [None] * len(unknown)


def test_a_name_from_outside_does_not_end_the_script(tmp_path: Path) -> None:
    batch(tmp_path, finished=("</script><b>",))
    page = request_table(analyze(timeline.read(tmp_path)))
    assert page.count("</script>") == 2 and "<b>" not in page and "\\u003c/script>\\u003cb>-x" in page
