"""What a text of the study plan says of vLLM's source beside its defaults, as comments that can be checked.

| comment                                  | claims that                                                        |
| ---------------------------------------- | ------------------------------------------------------------------ |
| `<!--has FILE.py:NAME: words of code-->` | that function, method or class holds these words, however laid out |
| `<!--gone FILE.py:Class.field-->`        | the class is there, and assigns no such name in its body           |
"""

from __future__ import annotations

import ast
import re

from notes.study.anchored import find_place
from tracing.source.definitions import Place
from tracing.source.likeness import statements
from tracing.source.tree import SourceTree

HAS = re.compile(r"<!--has (?P<place>\S+\.py:\w+(?:\.\w+)*): (?P<words>.+?)-->")
GONE = re.compile(r"<!--gone (?P<owner>\S+\.py:\w+(?:\.\w+)*)\.(?P<name>\w+)-->")


def without(text: str) -> str:
    """A text without these comments."""
    return GONE.sub("", HAS.sub("", text))


def untrue(text: str, tree: SourceTree) -> list[str]:
    """A line for each claim that this tree does not bear out."""
    lines = []
    for match in HAS.finditer(text):
        place = find_place(match["place"], tree)
        if not isinstance(place, Place):
            lines.append(str(place))
        elif _tight(match["words"]) not in _tight("\n".join(place.lines())):
            lines.append(f"{match['place']} of vLLM {tree.version} does not hold: {match['words']}")
    for match in GONE.finditer(text):
        place = find_place(match["owner"], tree)
        if not isinstance(place, Place):
            lines.append(str(place))
        elif match["name"] in _assigned(place):
            lines.append(f"{match['owner']} of vLLM {tree.version} does have {match['name']}")
    return lines


def _tight(code: str) -> str:
    """Code without its white space, so that a reformatted line is the same."""
    return re.sub(r"\s+", "", code)


def _assigned(place: Place) -> set[str]:
    """The names that a class assigns or declares in its body."""
    [owner] = statements(place)
    body = owner.body if isinstance(owner, ast.ClassDef) else []
    targets: list[ast.expr] = []
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets += node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}
