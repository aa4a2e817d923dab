"""Values have nouns for names and functions have verbs: a word that only says that something came is neither."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.test_layout import EXERCISES, MODULES, ROOT

BARE_VERBS = {"found", "made", "said", "saw", "told"}


def given_names(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives: those it stores, its functions and classes, and their arguments."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.alias(asname=str(name)):
                yield name


def bare(tree: ast.AST) -> set[str]:
    """Those of a module's names that are such a word, however it is written."""
    return {name for name in given_names(tree) if name.strip("_").lower() in BARE_VERBS}


def test_sees_every_way_to_name() -> None:
    source = """
from re import match as saw
TOLD = 1
class Note:
    said: str
    async def _made(self, found_rows, *, found):
        self.told = [_told for _told in found_rows if (made := _told)]
        match made:
            case [Note() as _saw, *_said]:
                return not_told
"""
    names = {"saw", "TOLD", "said", "_made", "found", "told", "_told", "made", "_saw", "_said"}
    assert bare(ast.parse(source)) == names


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith(EXERCISES)])
def test_names_say_what_they_hold(module: str) -> None:
    assert not bare(ast.parse((ROOT / module).read_text()))
