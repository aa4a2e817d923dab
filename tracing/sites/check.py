"""The table of sites held against a vLLM source tree: where each stands, and what does not fit.

This is what `python -m tracing.sites` prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probes.console import show as show_laid_out
from probes.errors import EnginescopeError
from tracing.sites.site import Kind, Site
from tracing.source.definitions import Place
from tracing.source.tree import Missing, SourceTree

WIDTH = 1000  # a place is for copying: a narrow terminal wraps the line, nothing is cut off
WRAPPERS = ("staticmethod", "classmethod", "property", "cached_property")
# What the source must be for a hook of each kind to wrap it rightly; the `model` hook wraps what its function loads.
WANTED: dict[Kind, str] = {
    "function": "function",
    "coroutine": "coroutine",
    "async generator": "async generator",
    "static": "staticmethod function",
    "model": "function",
}


@dataclass(frozen=True)
class SiteLookup:
    """One site in one tree: its targets that are there, and those that are not."""

    site: Site
    places: tuple[Place, ...]
    missing: tuple[Missing, ...]

    def problems(self) -> Iterator[str]:
        """Why the site cannot be hooked as the table says.

        Of a required one each function is needed: the other runner's, or the other executor's, does not stand for it.
        """
        if self.site.required:
            yield from (f"{self.site.name}: {missing}" for missing in self.missing)
        wanted = WANTED[self.site.kind]
        for place in self.places:
            if source_kind(place) != wanted:
                yield f"{self.site.name}: declared {self.site.kind!r}, but {source_kind(place)!r} at {place.where}"


def source_kind(place: Place) -> str:
    """What a hook finds in the class: the function's kind, behind the wrapper that a decorator put around it."""
    wrappers = [name for text in place.decorators if (name := text.rpartition(".")[2]) in WRAPPERS]
    return " ".join([*wrappers, place.kind])


def look_up(sites: Sequence[Site], tree: SourceTree) -> list[SiteLookup]:
    """All targets of all sites in the tree."""
    lookups = []
    for site in sites:
        answers = [tree.resolve(target) for target in site.targets]
        places = tuple(answer for answer in answers if isinstance(answer, Place))
        lookups.append(SiteLookup(site, places, tuple(answer for answer in answers if isinstance(answer, Missing))))
    return lookups


def show(sites: Sequence[Site], tree: SourceTree, absent: bool = False) -> int:
    """Print the table, with what is absent where asked; a failure, with a line for each reason, where a site does not
    fit."""
    lookups = look_up(sites, tree)
    show_laid_out(Console(width=WIDTH), terminal(lookups, absent))
    problems = [problem for one in lookups for problem in one.problems()]
    if not problems:
        print(summary(lookups, tree.version))
        return 0
    sys.stdout.flush()  # so that the reasons stand under the table where both go to one file
    print(*problems, sep="\n", file=sys.stderr)
    unfit = list(dict.fromkeys(one.site.name for one in lookups if any(one.problems())))
    raise EnginescopeError(
        f"{len(unfit)} of {len(lookups)} sites do not fit vLLM {tree.version}: {', '.join(unfit)}; "
        "correct their targets in tracing/sites"
    )


def terminal(lookups: Sequence[SiteLookup], absent: bool = False) -> Table:
    """A row a site, with a line for every target that is there, and for every other one where asked."""
    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("site", "role", "stage", "where"):
        table.add_column(heading, no_wrap=True)
    for one in lookups:
        where = "\n".join(_where(one, absent))
        style = "red" if any(one.problems()) else None if one.places else "dim"
        table.add_row(*(Text(text) for text in (one.site.name, one.site.role, one.site.stage, where)), style=style)
    return table


def _where(one: SiteLookup, absent: bool) -> Iterator[str]:
    yield from (place.where for place in one.places)
    if not one.places:
        yield "absent" if one.site.required else "absent (not required)"
    if absent:
        yield from (f"absent: {missing.target}" for missing in one.missing)


def summary(lookups: Sequence[SiteLookup], version: str) -> str:
    """One line over all sites, where all that are required fit."""
    required = sum(one.site.required for one in lookups)
    absent = [one.site.name for one in lookups if not one.places]
    rest = f"all but {', '.join(absent)}" if absent else "all"
    return f"{len(lookups)} sites, {required} required, {rest} found in vLLM {version}"
