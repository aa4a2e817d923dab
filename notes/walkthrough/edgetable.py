"""The table of edges beside those that stops claim, `edges.toml`: read, and held against the source.

A chain `A by B, C` says that the caller names B, B names C, and C names A; each may be reached under another name.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from notes.walkthrough.body import Body, body
from notes.walkthrough.chapters import FOLDER, Stop
from notes.walkthrough.edges import Caller, Edge, Kind, edges
from probes.errors import EnginescopeError, usage_error
from tracing.sites.engine import SITES
from tracing.source.tree import SourceTree

NAME = "edges.toml"
TableRow = Mapping[str, Any]  # as TOML has it: what it lacks or has too much of is found when an edge is made of it


@dataclass(frozen=True)
class ChainLink:
    """A function on a chain, and the name under which the one before it calls it."""

    target: str
    name: str


@dataclass(frozen=True)
class TableEdge:
    """An edge of the table: in `within` the first step of `chain` is called, after that of `before` if there is one.

    What is sent to is not named by its sender: there `within` is empty.
    """

    edge: Edge
    within: str
    chain: tuple[ChainLink, ...]
    before: tuple[ChainLink, ...] = ()


def claims(stops: Iterable[Stop], folder: Path = FOLDER) -> tuple[Edge, ...]:
    """The edges of stops, and those of the table beside them."""
    return (*(edge for stop in stops for edge in edges(stop)), *(row.edge for row in read(folder)))


def read(folder: Path = FOLDER) -> tuple[TableEdge, ...]:
    """All edges of the table beside the chapters, none where there is no table; an `EnginescopeError` where it is not
    as it must be."""
    path = folder / NAME
    if not path.exists():
        return ()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        modules: Mapping[str, str] = table["modules"]
        callers = [edge for row in table.get("caller", []) for edge in _of_caller(row, modules, path.name)]
        return (*callers, *(edge for row in table.get("order", []) for edge in _of_order(row, modules, path.name)))
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise usage_error(f"{path} is not a table of edges: {error!r}") from None


def _of_caller(row: TableRow, modules: Mapping[str, str], file: str) -> Iterator[TableEdge]:
    target = _target(row["target"], modules)
    caller = Caller(target, row["role"], row.get("thread", ""), _site(target, row["role"]), file)
    kinds: tuple[tuple[Kind, str], ...] = (("calls", "calls"), ("sends to", "sends_to"))
    for kind, key in kinds:
        for words in row.get(key, []):
            chain = _chain(words, modules)
            through = tuple(step.target for step in chain[:-1])
            yield TableEdge(
                Edge(caller, kind, chain[-1].target, None, through), target if kind == "calls" else "", chain
            )


def _of_order(row: TableRow, modules: Mapping[str, str], file: str) -> Iterator[TableEdge]:
    within = _target(row["target"], modules)
    for first, second in pairwise(_chain(words, modules) for words in row["calls"]):
        near, far = first[-1].target, second[-1].target
        caller = Caller(near, row["role"], row.get("thread", ""), _site(near, row["role"]), file)
        through = (within, *(step.target for step in (*first[:-1], *second[:-1])))
        yield TableEdge(Edge(caller, "then", far, None, through), within, second, first)


def _chain(words: str, modules: Mapping[str, str]) -> tuple[ChainLink, ...]:
    """`A by B, C` as the steps B, C, A."""
    last, _, between = words.partition(" by ")
    return tuple(_step(each.strip(), modules) for each in (*between.split(","), last) if each.strip())


def _step(words: str, modules: Mapping[str, str]) -> ChainLink:
    target, _, name = words.partition(" as ")
    full = _target(target, modules)
    return ChainLink(full, name or full.rpartition(":")[2].rpartition(".")[2])


def _target(words: str, modules: Mapping[str, str]) -> str:
    module, _, name = words.partition(":")
    return f"{modules[module]}:{name}"


def _site(target: str, role: str) -> str:
    """The site of a function; of those on both sides of a socket the one of that role."""
    sites = sorted((site for site in SITES if target in site.targets), key=lambda site: site.role != role)
    return sites[0].name if sites else ""


# --- the source ---


def unfounded(edge: TableEdge, tree: SourceTree) -> str:
    """Why the source does not bear an edge out; nothing where it does."""
    try:
        return "; ".join((*_broken(edge.within, edge.chain, tree), *_disorder(edge, tree)))
    except EnginescopeError as error:
        return str(error)


def _broken(within: str, chain: Sequence[ChainLink], tree: SourceTree) -> Iterator[str]:
    """Where a chain has no call from one to the next, or no such function."""
    for place, step in zip((within, *(step.target for step in chain)), chain, strict=False):
        if place and not _lines(_body(place, tree), step.name):
            yield f"{place} does not name {step.name}"
    _body(chain[-1].target, tree)


def _disorder(edge: TableEdge, tree: SourceTree) -> Iterator[str]:
    """Where the two calls of an order do not stand one behind the other."""
    if edge.before:
        yield from _broken(edge.within, edge.before, tree)
        within = _body(edge.within, tree)
        one, other = (_lines(within, chain[0].name) for chain in (edge.before, edge.chain))
        if one and other and min(one) > max(other):
            yield f"in {edge.within} {edge.chain[0].name} stands before {edge.before[0].name}"


def _body(target: str, tree: SourceTree) -> Body:
    place = tree.find_place(target)
    if place is None:
        raise EnginescopeError(f"{target} is not there")
    return body(place)


def _lines(within: Body, name: str) -> list[int]:
    """The lines on which a function names another one: as an attribute, as a name, or as text for a remote call."""
    lines = []
    for kind, field in ((ast.Name, "id"), (ast.Attribute, "attr"), (ast.Constant, "value")):
        lines += [within.line(node) for node in within.by_type.get(kind, []) if getattr(node, field) == name]
    return lines
