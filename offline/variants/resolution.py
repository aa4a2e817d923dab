"""What variants resolved to: beside what was asked of each, and beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offline.load.records import VariantStart
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


def _differences(start: VariantStart) -> Iterator[str]:
    for name, asked in start.settings.items():
        if asked == "auto":
            continue
        resolved = getattr(start.resolved, name, asked)
        if resolved is not None and resolved != asked:
            yield f"{start.variant}: {name} was asked as {asked} and resolved to {resolved}"
