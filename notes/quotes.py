"""The measured values that the walkthrough quotes, as `notes/measured.json` keeps them.

A chapter names a value as `{{key}}`, so that text and summary cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from probes.errors import EnginescopeError, usage_error

if TYPE_CHECKING:
    from notes.walkthrough.chapters import Chapter

SCHEMA = 2  # 1 had a value under the name of its unit
PATH = Path(__file__).resolve().parent / "measured.json"
MADE_BY = "python -m notes.measured"
KEY = re.compile(r"\{\{([a-z0-9-]+)\}\}")

Unit = Literal["ns", "share", "bytes"]


@dataclass(frozen=True)
class Quote:
    """A measured value: as people read it, as a number, and what it is."""

    text: str
    value: float
    unit: Unit
    meaning: str


@dataclass(frozen=True)
class QuotedMachine:
    """The machine and the versions that a trace was recorded with; None is not known."""

    cpu_model: str | None
    cores_usable: int | None
    memory_bytes: int | None
    python: str | None
    torch: str | None
    vllm: str | None
    vllm_distribution: str | None


@dataclass(frozen=True)
class QuotedTrace:
    """A trace that values come from."""

    command: str
    machine: QuotedMachine


@dataclass(frozen=True)
class Quotes:
    """All quoted values by key, and their traces by the first word of the key."""

    traces: Mapping[str, QuotedTrace]
    values: Mapping[str, Quote]

    def with_machines(self) -> dict[str, Quote]:
        """The values, each with its machine in its meaning."""
        return {key: self._with_machine(key, quote) for key, quote in self.values.items()}

    def _with_machine(self, key: str, quote: Quote) -> Quote:
        machine = self.traces[key.partition("-")[0]].machine
        place = f"{machine.cpu_model}, {machine.cores_usable} cores, vllm {machine.vllm}"
        return Quote(quote.text, quote.value, quote.unit, f"{quote.meaning}; {place}")


def read(path: Path = PATH) -> Quotes:
    """The committed summary; a usage error where it is unreadable or of another schema."""
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise usage_error(f"{path} cannot be read: {error}") from None
    if summary.get("schema") != SCHEMA:
        raise usage_error(f"{path} is of schema {summary.get('schema')}, not {SCHEMA}: write it again with {MADE_BY}")
    traces = {
        name: QuotedTrace(source["command"], QuotedMachine(**source["machine"]))
        for name, source in summary["traces"].items()
    }
    return Quotes(traces, {key: Quote(**quote) for key, quote in summary["values"].items()})


def write(quotes: Quotes, path: Path) -> None:
    """Write a summary as JSON."""
    text = json.dumps(
        {
            "schema": SCHEMA,
            "made_by": MADE_BY,
            "traces": {name: asdict(source) for name, source in quotes.traces.items()},
            "values": {key: asdict(quote) for key, quote in quotes.values.items()},
        },
        indent=1,
        ensure_ascii=False,
    )
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None


def readable(value: float, unit: Unit) -> str:
    """A value for people, to three digits at most: `5.37 ms`, `10.4 %`, `210 bytes`."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value:.0f} bytes"
    for size_ns, name in ((1e6, "ms"), (1e3, "µs")):
        if value >= size_ns:
            return f"{value / size_ns:.0f} {name}" if value >= 100 * size_ns else f"{value / size_ns:.3g} {name}"
    return f"{value:.0f} ns"


def fill(text: str, quotes: Mapping[str, Quote]) -> str:
    """The text with every `{{key}}` as its value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in quotes:
            raise usage_error(f"the notes quote {{{{{match[1]}}}}}, which notes/measured.json does not have")
        return quotes[match[1]].text

    return KEY.sub(value, text)


def keys(chapter: Chapter) -> list[str]:
    """The keys that a chapter quotes."""
    return [key for part in chapter.parts for key in KEY.findall(part if isinstance(part, str) else part.text)]
