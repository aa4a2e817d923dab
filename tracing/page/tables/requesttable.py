"""All requests of a trace as a table of the page that sorts: the rows are data, and a script shows some of them."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

import pandas as pd

from tracing.breakdown.findings import Findings
from tracing.breakdown.requests.chosen import origin_ns

QUEUE = "wait: scheduler queue"  # and what follows it in a name is why
# Each column's name and the form of its values: a `name` is the number of one of the table's names.
COLUMNS = {
    "#": "number",
    "request": "text",
    "called": "seconds",
    "state": "name",
    "prompt": "number",
    "output": "number",
    "TTFT": "ms",
    "TPOT": "ms",
    "longest ITL": "ms",
    "latency": "ms",
    "in the queue": "ms",
    "most of it": "name",
    "share": "share",
}
STYLE = """
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
th button:focus-visible { outline: 2px solid var(--bar); } #requests td.name { white-space: nowrap; }
#requests td.id { overflow-wrap: anywhere; min-width: 7rem; }
#requests-filter, #requests-more { font: inherit; } #requests th, #requests td { padding-right: .6rem; }
"""
SCRIPT = files(__package__).joinpath("requests.js").read_text()


def request_table(findings: Findings) -> str:
    """The table, its data and its script."""
    table = json.dumps(table_data(findings), separators=(",", ":")).replace("<", "\\u003c")
    heads = "".join(
        f'<th aria-sort="none"{" class=text" if form in ("text", "name") else ""}><button type="button">{escape(name)}'
        "</button></th>"
        for name, form in COLUMNS.items()
    )
    return (
        '<p><label>Only rows with <input id="requests-filter" type="search" size="24" placeholder="e.g. aborted">'
        '</label> <span id="requests-count" class="faint"></span></p>'
        f'<div class="scroll"><table id="requests"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>'
        '<button id="requests-more" type="button">More</button>'
        f'<script type="application/json" id="requests-data">{table}</script><script type="module">{SCRIPT}</script>'
    )


def table_data(findings: Findings) -> dict[str, object]:
    """The table's `columns`, its `rows` in the order of the calls, and the `names` that they point to."""
    names: dict[str, int] = {}
    figures = _figures(findings).items()
    columns = [_values(values, names if COLUMNS[name] == "name" else None) for name, values in figures]
    heads = [{"name": name, "form": form} for name, form in COLUMNS.items()]
    return {"columns": heads, "rows": list(map(list, zip(*columns, strict=True))), "names": list(names)}


def _figures(findings: Findings) -> pd.DataFrame:
    """A row a request, with the columns of the table; missing where something is not known."""
    flows, origin = findings.flows, origin_ns(findings.timeline)
    first = findings.window.first
    frame = pd.DataFrame(
        {
            "#": range(first, first + len(flows)),
            "request": [flow.request for flow in flows],
            "called": [(flow.start_ns - origin) / 1e9 for flow in flows],
            "state": [flow.state for flow in flows],
            "prompt": [flow.prompt_tokens for flow in flows],
            "output": [flow.output_tokens for flow in flows],
        }
    )
    times, budgets = findings.times.frame, findings.budgets
    queued = budgets.loc[:, budgets.columns.str.startswith(QUEUE)]
    spent = pd.DataFrame({"latency": budgets.sum(axis=1), "in the queue": queued.sum(axis=1)})
    for name, column in {"TTFT": "ttft", "TPOT": "tpot", "longest ITL": "itl_max"}.items():
        spent[name] = times[f"{column}_ns"]
    spent = spent / 1e6
    if len(budgets):
        spent["most of it"], spent["share"] = budgets.idxmax(axis=1), budgets.max(axis=1) / budgets.sum(axis=1)
    spent = spent[~spent.index.duplicated()].reindex(frame["request"].tolist()).reset_index(drop=True)
    return pd.concat([frame, spent], axis=1).reindex(columns=list(COLUMNS))


def _values(column: pd.Series, names: dict[str, int] | None) -> list[object]:
    """A column's values, as short as the table shows them; None where one is missing, a number where it has a name."""
    values = [None if value != value else value for value in column.tolist()]
    if names is not None:
        return [None if value is None else names.setdefault(value, len(names)) for value in values]
    return [_rounded(value) if isinstance(value, float) else value for value in values]


def _rounded(value: float) -> float | int:
    return int(value) if value == int(value) else float(f"{value:.5g}")
