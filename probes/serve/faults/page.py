"""The table of causes as a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from probes.markdown import table
from probes.serve.faults.causes.faultcause import FaultCause
from probes.serve.faults.causes.table import FIELDS
from probes.serve.faults.wording import REPORT, has_source

PAGE = Path(__file__).resolve().parents[2] / "TROUBLESHOOTING.md"
HEAD = """# Why a vLLM server does not start

What its log says, what that means, what to do: the table by which `python -m probes.serve` and
`python -m probes.serve --explain LOG` read a log. Options are vLLM's own. Where a log says several of these, the one
that the others followed from counts, and a *general* one only where nothing else does. Each pattern is tested with the
line shown; a line that is a package's own is checked against that package's source. `python -m probes.serve.faults`
writes this page.
"""
HEADS = ("the log says", "it means", "what to do", "whose words")
# What the texts name that only a log or a machine can fill in.
WORDS = {
    "port": "the port",
    "holder": "by another program",
    "other_port": "N",
    "more_kv": "--gpu-memory-utilization nearer to 1 (on CPU: a larger --kv-cache-memory-bytes=N)",
    "program": "vllm.entrypoints.openai.api_server",
}


def page() -> str:
    """The page."""
    return "\n".join([HEAD, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for name, causes in FIELDS.items():
        yield f"## {name}\n"
        yield from (*table(HEADS, map(_row, causes)), "")


def _row(cause: FaultCause) -> tuple[str, str, str, str]:
    """A row, with the values of its own line."""
    match = re.search(cause.pattern, cause.line)
    assert match is not None
    groups = (match[0], *(group or "" for group in match.groups()))
    words = cause.line if match.end() == len(cause.line) else cause.line[: match.end()] + "…"
    means = _cell(cause.cause.format(*groups, **WORDS)) + (" *(general)*" if cause.general else "")
    return _code(words), means, _cell(cause.remedy.format(*groups, **WORDS)), _source(cause)


def _source(cause: FaultCause) -> str:
    if REPORT.match(cause.source):
        repository, _, number = cause.source.partition("#")
        return f"[{cause.source}](https://github.com/{repository}/issues/{number})"
    return f"`{cause.source}`" if has_source(cause) else cause.source


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence} {text.strip()} {fence}" if fence == "``" else f"`{text.strip()}`"


def _cell(text: str) -> str:
    return text.strip().replace("<", "&lt;")
