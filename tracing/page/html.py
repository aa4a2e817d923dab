"""`review.html`: the review as one page that works from disk, with swim lanes of one step and one request."""

from __future__ import annotations

from html import escape
from typing import Any

from tracing.page import lanes

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fbfbf9; --faint: #6b7280; --line: #d9dce1; --bar: #7aa2f7;
  --bright: 60% 68%; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6eb; --paper: #14171d; --faint: #9aa3b2; --line: #333a46; --bar: #4a6fc4;
    --bright: 45% 42%; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 1180px; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0; max-width: 75ch; } .faint { color: var(--faint); }
.problem { border-left: 4px solid #d33; padding: .4rem .8rem; margin: .6rem 0; background: #d331; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--faint); } th:first-child, td:first-child, .text { text-align: left; }
td.share { min-width: 160px; position: relative; } td.share i { position: absolute; left: 0; top: 4px; bottom: 4px;
  background: var(--bar); opacity: .45; } td.share span { position: relative; }
summary { cursor: pointer; color: var(--faint); }
.scroll { overflow-x: auto; }
"""


def page(title: str, review: dict[str, Any], sections: list[tuple[str, str, str]]) -> str:
    """The whole page: its title, the review's head lines, then sections of (heading, one sentence, HTML)."""
    body = [f"<h1>{escape(title)}</h1>", f'<p class="faint">{escape(review["about"])}</p>']
    body += [f'<p class="problem">{escape(problem)}</p>' for problem in review["problems"]]
    for heading, sentence, html in sections:
        body.append(
            f'<h2>{escape(heading)}</h2><p class="faint">{escape(sentence)}</p><div class="scroll">{html}</div>'
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{lanes.STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def table(columns: list[str], rows: list[list[Any]], share: int | None = None, text: tuple[int, ...] = (0,)) -> str:
    """An HTML table; column `share` holds fractions and is drawn as bars, columns `text` are set to the left."""
    head = "".join(f"<th{_class(place, text)}>{escape(name)}</th>" for place, name in enumerate(columns))
    lines = []
    for row in rows:
        cells = []
        for place, value in enumerate(row):
            if place == share:
                width = 100 * min(max(float(value), 0), 1)
                cells.append(f'<td class="share"><i style="width:{width:.1f}%"></i><span>{value:.2%}</span></td>')
            else:
                cells.append(f"<td{_class(place, text)}>{escape(str(value))}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _class(place: int, text: tuple[int, ...]) -> str:
    return ' class="text"' if place in text else ""
