"""Every anchor of the notes against a copy of vLLM in which its place was padded, reordered, renamed, moved or deleted.

One kind of change is made at all places at once; then each anchor must be classed as that kind.
"""

from __future__ import annotations

import ast
import io
import shutil
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from token import NEWLINE

import pytest

from notes.walkthrough import chapters
from notes.walkthrough.anchors import Anchor, Verdict, judge
from notes.walkthrough.fragment import Fragment
from tests.needs import installed_vllm
from tracing.source.definitions import Place
from tracing.source.tree import Module, SourceTree

pytestmark = pytest.mark.slow(50)
ANCHORS = tuple(stop.anchor for stop in chapters.stops(chapters.read()))
UNCHANGED: dict[str, Module | None] = {}  # modules of the copy without an anchor: parsed once for all tests
Edit = Callable[[ast.Module, list[Anchor]], None]
DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the installed vLLM's Python, in a tree of its own."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(installed_vllm().root, folder / "vllm", ignore=_not_python)
    return folder / "vllm"


def _not_python(folder: str, names: list[str]) -> list[str]:
    return [
        name for name in names if name == "__pycache__" or not (name.endswith(".py") or Path(folder, name).is_dir())
    ]


def file_of(anchor: Anchor) -> str:
    place = installed_vllm().resolve(anchor.target)
    assert isinstance(place, Place)
    return place.file


@contextmanager
def rewritten(root: Path, write: Callable[[str, list[Anchor]], str]) -> Iterator[SourceTree]:
    """The copy with every file that has an anchor written anew, for a while."""
    files = {file: [a for a in ANCHORS if file_of(a) == file] for file in map(file_of, ANCHORS)}
    before = {file: (root.parent / file).read_text() for file in files}
    try:
        for file, anchors in files.items():
            (root.parent / file).write_text(write(before[file], anchors))
        tree = tree_of(root)
        yield tree
        UNCHANGED.update(
            {name: module for name, module in tree._modules.items() if module and module.file not in files}
        )
    finally:
        for file, text in before.items():
            (root.parent / file).write_text(text)


def tree_of(root: Path) -> SourceTree:
    """The copy as it is now."""
    tree = SourceTree.find(root)
    tree._modules.update(UNCHANGED)
    return tree


@contextmanager
def edited(root: Path, edit: Edit) -> Iterator[SourceTree]:
    def write(text: str, anchors: list[Anchor]) -> str:
        module = ast.parse(text)
        edit(module, anchors)
        return ast.unparse(ast.fix_missing_locations(module))

    with rewritten(root, write) as tree:
        yield tree


def owner_and_function(module: ast.Module, anchor: Anchor) -> tuple[ast.Module | ast.ClassDef, ast.stmt] | None:
    """The node that holds an anchor's function, and the function; None where an edit before took it away."""
    owner: ast.Module | ast.ClassDef = module
    *classes, name = anchor.target.partition(":")[2].split(".")
    for part in classes:
        inner = definition(owner, part)
        if not isinstance(inner, ast.ClassDef):
            return None
        owner = inner
    own = definition(owner, name)
    return (owner, own) if own else None


def definition(owner: ast.AST, name: str) -> ast.stmt | None:
    """The last definition of that name that is an owner's own."""
    own = [node for block in blocks(owner) for node in block if isinstance(node, DEFINITION) and node.name == name]
    return own[-1] if own else None


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements in a node, without those of the definitions in it."""
    for block in inner_blocks(node):
        yield block
        for statement in block:
            if not isinstance(statement, DEFINITION):
                yield from blocks(statement)


def statement_of(function: ast.stmt, fragment: Fragment) -> tuple[list[ast.stmt], ast.stmt] | None:
    """The innermost statement that has the fragment, with the block that it is in."""
    pair, holders = None, [function]
    for holder in holders:
        for block in inner_blocks(holder):
            for statement in block:
                if has_fragment(statement, fragment):
                    pair = (block, statement)
                    holders.append(statement)  # only in it can there be one further in
    return pair


def inner_blocks(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    """The lists of statements directly in a statement."""
    for holder in (statement, *getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(holder, name, None), list):
                yield block


def has_fragment(statement: ast.stmt, fragment: Fragment) -> bool:
    text = ast.unparse(statement)
    lines = tuple(text.split("\n"))
    return bool(fragment.find(Place("x.py", 1, len(lines), "function", (), lines)))


def verdicts(tree: SourceTree) -> list[tuple[Anchor, Verdict]]:
    return [(anchor, judge(anchor, tree)) for anchor in ANCHORS]


def is_head(anchor: Anchor) -> bool:
    """Whether the fragment is the `def` itself, with which it comes and goes."""
    return isinstance(anchor.fragment.node, DEFINITION)


# --- what must not matter ---


def test_padding(copied: Path) -> None:
    """A comment and an empty line after every line of code: all is somewhere else, and nothing else has changed."""

    def pad(text: str, anchors: list[Anchor]) -> str:
        lines = text.splitlines(keepends=True)
        ends = {token.end[0] for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == NEWLINE}
        return "".join(line + ("# more\n\n" if number in ends else "") for number, line in enumerate(lines, 1))

    with rewritten(copied, pad) as tree:
        for anchor, verdict in verdicts(tree):
            assert (verdict.standing, verdict.target) == ("holds", anchor.target)
            before = installed_vllm().resolve(anchor.target)
            assert isinstance(before, Place) and verdict.place is not None
            for old, new in zip(anchor.fragment.find(before), verdict.lines, strict=True):
                assert new.first > old.first
                assert verdict.place.text[new.first - 1] == before.text[old.first - 1]


def test_another_layout(copied: Path) -> None:
    """Everything as `ast.unparse` writes it: no comments, other quotes, other line breaks, all on other lines."""
    with edited(copied, lambda module, anchors: None) as tree:
        assert {verdict.standing for _, verdict in verdicts(tree)} == {"holds"}


def test_functions_in_another_order(copied: Path) -> None:
    def reverse(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in {anchor.target: anchor for anchor in anchors}.values():
            pair = owner_and_function(module, anchor)
            assert pair is not None
            for block in blocks(pair[0]):
                if pair[1] in block:
                    block.remove(pair[1])
                    block.append(pair[1])
                    break

    with edited(copied, reverse) as tree:
        assert {verdict.standing for _, verdict in verdicts(tree)} == {"holds"}


def test_statements_in_another_order(copied: Path) -> None:
    """The fragment's statement goes to the end of its function."""

    def to_the_end(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            _, function = owner_and_function(module, anchor) or (module, ast.Pass())
            if pair := statement_of(function, anchor.fragment):
                block, statement = pair
                block[block.index(statement)] = ast.Pass()
                function.body.append(statement)  # type: ignore[attr-defined]

    with edited(copied, to_the_end) as tree:
        assert {verdict.standing for _, verdict in verdicts(tree)} == {"holds"}


# --- what must be told ---


def test_a_renamed_function(copied: Path) -> None:
    def rename(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            if pair := owner_and_function(module, anchor):
                pair[1].name += "_anew"  # type: ignore[attr-defined]

    with edited(copied, rename) as tree:
        for anchor, verdict in verdicts(tree):
            assert verdict.standing == "gone", anchor
            if not is_head(anchor):  # what has the code is named, before what has a like name
                assert verdict.nearest and any("_anew" in name for name in verdict.nearest), anchor


def test_a_deleted_function(copied: Path) -> None:
    def delete(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            if pair := owner_and_function(module, anchor):
                for block in blocks(pair[0]):
                    if pair[1] in block:
                        block[block.index(pair[1])] = ast.Pass()

    with edited(copied, delete) as tree:
        for anchor, verdict in verdicts(tree):
            assert verdict.standing == "gone", (anchor, verdict.target)


def test_a_deleted_statement(copied: Path) -> None:
    def delete(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            _, function = owner_and_function(module, anchor) or (module, ast.Pass())
            if pair := statement_of(function, anchor.fragment):
                pair[0][pair[0].index(pair[1])] = ast.Pass()

    with edited(copied, delete) as tree:
        for anchor, verdict in verdicts(tree):
            assert is_head(anchor) or verdict.standing == "gone", anchor


def test_another_name_in_the_line(copied: Path) -> None:
    """One name of the fragment's own line is another: in the code, not in the note."""

    def rename(module: ast.Module, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            _, function = owner_and_function(module, anchor) or (module, ast.Pass())
            if pair := statement_of(function, anchor.fragment):
                for node in ast.walk(pair[1]):
                    if isinstance(node, ast.Name):
                        node.id += "_anew"
                    if isinstance(node, ast.Attribute):
                        node.attr += "_anew"
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        node.value += "_anew"

    with edited(copied, rename) as tree:
        for anchor, verdict in verdicts(tree):
            bare = not any(isinstance(n, ast.Name | ast.Attribute) for n in ast.walk(anchor.fragment.node))
            assert is_head(anchor) or bare or verdict.standing == "gone", anchor


def test_a_renamed_class(copied: Path) -> None:
    def rename(module: ast.Module, anchors: list[Anchor]) -> None:
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                node.name += "Anew"

    with edited(copied, rename) as tree:
        for anchor, verdict in verdicts(tree):
            module, _, qualname = anchor.target.partition(":")
            owner, _, name = qualname.rpartition(".")
            if owner:
                assert (verdict.standing, verdict.target) == ("moved", f"{module}:{owner}Anew.{name}"), anchor


def test_a_module_of_another_name(copied: Path) -> None:
    paths = {copied.parent / file_of(anchor) for anchor in ANCHORS}
    moved = {path: path.with_name(f"{path.stem}_anew.py") for path in paths}
    try:
        for path, other in moved.items():
            path.rename(other)
        for anchor, verdict in verdicts(tree_of(copied)):
            module, _, qualname = anchor.target.partition(":")
            assert verdict.standing == "moved", anchor
            assert verdict.target.endswith(f"_anew:{qualname}") and not verdict.target.startswith(f"{module}:")
    finally:
        for path, other in moved.items():
            other.rename(path)
