"""What variants resolved to: beside what was asked of each, and beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from offline.load.records import VariantStart
from offline.records.resolved import Resolved
from offline.variants.variant import alike


def resolution_notes(starts: Sequence[VariantStart]) -> Iterator[str]:
    """What resolved differently from what was asked, and which variants came to the same, a sentence each."""
    first = first_up(starts)
    for name in sorted(first):
        yield from _differences(first[name])
    for one, other in alike({name: (first[name].kind, first[name].resolved) for name in sorted(first)}):
        yield f"{one} and {other} resolved to the same settings: their difference is chance"


def first_up(starts: Sequence[VariantStart]) -> dict[str, VariantStart]:
    """The first start of each variant that came up, by the variant's name."""
    return {start.variant: start for start in reversed(starts) if start.resolved is not None}


# Facts are of the types that the fields of `Resolved` have.
def resolved_facts(starts: Sequence[VariantStart], names: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """The variants of `names` that came up, and by each fact what their first starts resolved it to."""
    first = first_up(starts)
    columns = [first[name] for name in names if name in first]
    facts = {each.name: [getattr(start.resolved, each.name) for start in columns] for each in fields(Resolved)}
    return [each.variant for each in columns], facts


def _differences(start: VariantStart) -> Iterator[str]:
    for name, asked in start.settings.items():
        if asked == "auto":
            continue
        resolved = getattr(start.resolved, name, asked)
        if resolved is not None and resolved != asked:
            yield f"{start.variant}: {name} was asked as {asked} and resolved to {resolved}"
