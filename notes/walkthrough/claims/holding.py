"""Why a tree does not bear out a claim; nothing where it does."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace

from notes.walkthrough.body import Body, body, whole
from notes.walkthrough.claims import position
from notes.walkthrough.claims.callers import callers
from notes.walkthrough.claims.claim import Claim
from notes.walkthrough.claims.values import defaults, same_value
from notes.walkthrough.fragment import Fragment
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree


@dataclass(frozen=True)
class Occurrence:
    """A fragment in the function that has it; `renames` are its new names of what claims call by the old."""

    tree: SourceTree
    body: Body
    node: ast.AST
    kind: str
    renames: dict[str, str]
    turned: bool = False  # with the opposite test, and its two blocks the other way round

    @classmethod
    def of(cls, tree: SourceTree, place: Place, fragment: Fragment) -> Occurrence:
        """The first place of a fragment that can run, or else its first; the function must have it."""
        within = body(place)
        renames = fragment.renames(within)
        nodes = fragment.nodes(within, renames)
        node = next((node for node in nodes if position.runs(within, node)), nodes[0])
        return cls(tree, within, node, place.kind, renames, fragment.turned(node, renames))

    def living(self, fragment: Fragment) -> list[ast.AST]:
        """Where code is in the function and can run."""
        renames = self.renames | fragment.renames(self.body)
        nodes = (node for node in fragment.nodes(self.body, renames) if not fragment.turned(node, renames))
        return [node for node in nodes if position.runs(self.body, node)]


def unfounded(claim: Claim, here: Occurrence) -> str:
    """Why a claim is false, in words after it."""
    if not claim.target:
        return JUDGES[claim.verb](claim, here)
    there = _elsewhere(claim, here)
    return there if isinstance(there, str) else JUDGES[claim.verb](claim, there)


def never_runs(here: Occurrence) -> str:
    """Why the fragment itself cannot run."""
    return "" if position.runs(here.body, here.node) else "the line is there and can never run"


def _elsewhere(claim: Claim, here: Occurrence) -> Occurrence | str:
    module, _, qualname = claim.target.partition(":")
    if not qualname:
        places = list(here.tree.definitions(module).values())
        return _about(here.tree, whole(places[0].text), "module") if places else f"there is no module {module}"
    place = here.tree.resolve(claim.target)
    if isinstance(place, Place):
        return whole_definition(here.tree, place)
    namesakes = [near for near in place.nearest if near.partition(":")[2] == qualname]
    places = [namesake for near in namesakes if (namesake := here.tree.find_place(near)) is not None]
    return whole_definition(here.tree, places[0]) if places else f"{claim.target} is not there"


def whole_definition(tree: SourceTree, place: Place) -> Occurrence:
    """A definition itself, for claims that are about no line of it."""
    return _about(tree, body(place), place.kind)


def _about(tree: SourceTree, within: Body, kind: str) -> Occurrence:
    return Occurrence(tree, within, within.node, kind, {})


def _before(claim: Claim, here: Occurrence) -> str:
    return _order(claim, here, lambda own, other: own < other, "runs before it")


def _after(claim: Claim, here: Occurrence) -> str:
    return _order(claim, here, lambda own, other: own > other, "runs after it")


Key = tuple[int, int]


def _order(claim: Claim, here: Occurrence, right: Callable[[Key, Key], bool], otherwise: str) -> str:
    others = here.living(claim.fragment)
    if not others:
        return "the other line is not there, or can never run"
    if any(position.apart(here.body, here.node, other) for other in others):
        return "the two are in branches of which only one runs"
    own = position.end(here.node)
    return "" if all(right(own, position.end(other)) for other in others) else f"the other {otherwise}"


def _under(claim: Claim, here: Occurrence) -> str:
    return "" if _is_under(claim.fragment, here) else "that does not decide over it"


def _not_under(claim: Claim, here: Occurrence) -> str:
    return "that decides over it now" if _is_under(claim.fragment, here) else ""


def _is_under(test: Fragment, here: Occurrence) -> bool:
    at = position.heads if test.text.rstrip().endswith(":") else position.tests
    return any(test.renaming(here.body, here.renames).of(test.node, node) for node in at(here.body, here.node))


def _always(claim: Claim, here: Occurrence) -> str:
    decision = position.decision(here.body, here.node)
    return f"line {here.body.line(decision)} decides over it" if decision is not None else ""


def _then(claim: Claim, here: Occurrence) -> str:
    return _in_block(claim, here, "orelse" if here.turned else "body")


def _else(claim: Claim, here: Occurrence) -> str:
    return _in_block(claim, here, "body" if here.turned else "orelse")


def _in_block(claim: Claim, here: Occurrence, name: str) -> str:
    block = {id(node) for each in getattr(here.node, name, []) for node in ast.walk(each)}
    return "" if any(id(node) in block for node in here.living(claim.fragment)) else "its block does not have that"


def _has(claim: Claim, here: Occurrence) -> str:
    nodes = here.living(claim.fragment)
    if claim.test is not None and nodes:
        under = any(_is_under(claim.test, replace(here, node=node)) for node in nodes)
        return "" if under else "that is there, and the test does not decide over it"
    return "" if nodes else "that is not there, or can never run"


def _lacks(claim: Claim, here: Occurrence) -> str:
    return "that is there now" if here.living(claim.fragment) else ""


def _default(claim: Claim, here: Occurrence) -> str:
    values = defaults(here.body, claim.name)
    if not values:
        return f"{claim.name} has no default there"
    if all(same_value(claim.value, value) for value in values):
        return ""
    return f"it is {', '.join(dict.fromkeys(ast.unparse(value) for value in values))}"


def _argument(claim: Claim, here: Occurrence) -> str:
    values = [value for call in _calls(here) for value in _values(call, claim.name)]
    own = Fragment(claim.words.partition("=")[2])
    if any(own.renaming(here.body, here.renames).of(own.node, value) for value in values):
        return ""
    return f"it is {ast.unparse(values[0])}" if values else "the call is not given it"


def _calls(here: Occurrence) -> list[ast.Call]:
    """The calls in a fragment, and the nearest one around it."""
    own = [node for node in ast.walk(here.node) if isinstance(node, ast.Call)]
    around = [holder for holder, _ in here.body.holders(here.node) if isinstance(holder, ast.Call)]
    return own + around[:1]


def _values(call: ast.Call, name: str) -> list[ast.expr]:
    if name.isdecimal():
        return call.args[int(name) : int(name) + 1]
    return [keyword.value for keyword in call.keywords if keyword.arg == name]


def _is(claim: Claim, here: Occurrence) -> str:
    return "" if here.kind == claim.words else f"it is a {here.kind}"


def _only_callers(claim: Claim, here: Occurrence) -> str:
    name = here.body.node.name  # type: ignore[attr-defined]
    expected = {each.strip() for each in claim.words.split(",")}
    actual = callers(here.tree, name)
    strangers, absentees = sorted(actual - expected), sorted(expected - actual)
    others = (*(f"{each} too" for each in strangers), *(f"not {each}" for each in absentees))
    return f"it is called by {', '.join(others)}" if others else ""


JUDGES: dict[str, Callable[[Claim, Occurrence], str]] = {
    "before": _before,
    "after": _after,
    "under": _under,
    "not under": _not_under,
    "always": _always,
    "then": _then,
    "else": _else,
    "has": _has,
    "lacks": _lacks,
    "default": _default,
    "argument": _argument,
    "is": _is,
    "only callers": _only_callers,
}
