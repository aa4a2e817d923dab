"""Changed functions of vLLM and the stops in them: made without the claims, and judged with them."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from notes.walkthrough.chapters import Stop
from notes.walkthrough.claims.digests import Digests
from notes.walkthrough.claims.judgement import Judgement, judge
from tests.notes.walkthrough.claims.mutants.changes import BlockChange, NodeChange
from tests.notes.walkthrough.claims.mutants.naming import Naming
from tracing.source.definitions import Place
from tracing.source.likeness import statements
from tracing.source.shape import digest
from tracing.source.tree import SourceTree

BLOCKS = ("body", "orelse", "finalbody")


@dataclass(frozen=True)
class Mutant:
    """One change of one function: the function's new text, and the statements that say something else, by number."""

    target: str
    kind: str
    place: Place
    touched: frozenset[int]
    text: str


@dataclass(frozen=True)
class Site:
    """Where a change can be made: a node's number in its function, and for a block its name and a place in it."""

    target: str
    change: NodeChange | BlockChange
    node: int
    block: str = ""
    at: int = 0


def mutants(
    tree: SourceTree, targets: Iterable[str], changes: Sequence[NodeChange | BlockChange], each: int, seed: int
) -> list[Mutant]:
    """So many changed functions of every kind, by chance, of those targets."""
    pool = [site for target in targets for site in sites(tree, target, changes)]
    candidates = [mutant(tree, site) for site in sample(pool, each, seed)]
    return [candidate for candidate in candidates if changes_something(candidate, tree)]


def sites(tree: SourceTree, target: str, changes: Sequence[NodeChange | BlockChange]) -> Iterator[Site]:
    """Everywhere that changes can be made in a function."""
    for number, node in enumerate(ast.walk(_function(_place(tree, target)))):
        for change in changes:
            if isinstance(change, NodeChange):
                if change.applies(node):
                    yield Site(target, change, number)
                continue
            for name in BLOCKS:
                block = getattr(node, name, None)
                for at in range(len(block)) if isinstance(block, list) and block else ():
                    if change.applies(block, at):
                        yield Site(target, change, number, name, at)


def sample(pool: Sequence[Site], each: int, seed: int) -> list[Site]:
    """So many sites of every kind by chance, no function more often than it must be."""
    draw = random.Random(seed)
    chosen = []
    for kind in dict.fromkeys(site.change.kind for site in pool):
        by_target: dict[str, list[Site]] = {}
        for site in pool:
            if site.change.kind == kind:
                by_target.setdefault(site.target, []).append(site)
        piles = [draw.sample(pile, len(pile)) for pile in by_target.values()]
        draw.shuffle(piles)
        turns = [pile[turn] for turn in range(max(map(len, piles))) for pile in piles if turn < len(pile)]
        chosen += turns[:each]
    return chosen


def mutant(tree: SourceTree, site: Site) -> Mutant:
    """The function with the change made."""
    place = _place(tree, site.target)
    function = _function(place)
    nodes = list(ast.walk(function))
    numbers = {id(node): number for number, node in enumerate(nodes)}
    if isinstance(site.change, NodeChange):
        touched = {numbers[id(_statement(function, nodes[site.node]))]}
        site.change.change(nodes[site.node])
    else:
        block = getattr(nodes[site.node], site.block)
        reached = [each for top in site.change.reach(block, site.at) for each in ast.walk(top)]
        touched = {numbers[id(each)] for each in reached if isinstance(each, ast.stmt | ast.ExceptHandler)}
        site.change.change(block, site.at)
    text = ast.unparse(ast.fix_missing_locations(function))
    lines = tuple(text.split("\n"))
    return Mutant(
        site.target, site.change.kind, replace(place, first=1, last=len(lines), text=lines), frozenset(touched), text
    )


def judgements(
    mutant: Mutant, stops: Sequence[Stop], tree: SourceTree, digests: Digests
) -> Iterator[tuple[Stop, Judgement]]:
    """What is said of the stops of the function, in a tree with the mutant in it."""
    module, _, qualname = mutant.target.partition(":")
    real = tree._module(module)
    assert real is not None
    changed = SourceTree(tree.root)
    changed._modules.update(tree._modules)
    changed._modules[module] = replace(real, definitions=real.definitions | {qualname: mutant.place})
    for stop in stops:
        if stop.anchor.target == mutant.target:
            yield stop, judge(stop, changed, digests)


def changes_something(mutant: Mutant, tree: SourceTree) -> bool:
    """Whether the function says something else at all: a pass can be dropped, and two equal lines swapped."""
    return digest(mutant.place) != digest(_place(tree, mutant.target))


def touches(mutant: Mutant, stop: Stop, tree: SourceTree) -> bool:
    """Whether a change is in what the stop's sentences name; an order is named only where both its lines are."""
    numbers = Naming(_function(_place(tree, mutant.target)), stop).statements
    return mutant.touched <= numbers if mutant.kind == "order" else bool(mutant.touched & numbers)


def _place(tree: SourceTree, target: str) -> Place:
    place = tree.resolve(target)
    assert isinstance(place, Place)
    return place


def _function(place: Place) -> ast.stmt:
    return copy.deepcopy(statements(place)[0])


def _statement(function: ast.AST, node: ast.AST) -> ast.AST:
    """The statement in whose head a node is."""
    parents = {child: each for each in ast.walk(function) for child in ast.iter_child_nodes(each)}
    while not isinstance(node, ast.stmt | ast.ExceptHandler):
        node = parents[node]
    return node
