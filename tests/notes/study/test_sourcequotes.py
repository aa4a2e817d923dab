"""What a text of the study plan quotes and claims of vLLM's source, on a small tree: defaults, code, places."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes.study.anchored import find_place, with_lines
from notes.study.defaults import default, rendered, stale
from notes.study.sourceclaims import untrue, without
from probes.errors import EnginescopeError
from tests.tracing.source.test_source import write_tree
from tracing.source.tree import SourceTree

CONFIG = """
class CacheConfig:
    SIZE: int = 16
    share: float = Field(default=0.92, gt=0)
    size: int = Field(default=SIZE)
"""
ENGINE = """
class Args:
    share: float = CacheConfig.share
    size: int | None = get_field(CacheConfig, "size")
    length: int | None = None
    bare: int

    def batch(self, memory):
        if memory > 70:
            most = {Use.LLM: 1024, Use.SERVER: 512}
        else:
            most = {Use.LLM: 256}
        return most
"""


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    files = {"config/__init__.py": "", "config/cache.py": CONFIG, "engine.py": ENGINE}
    return SourceTree.find(write_tree(tmp_path, files))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("vllm/engine.py:Args.length", "None"),
        ("vllm/engine.py:Args.share", "0.92"),
        ("vllm/engine.py:Args.size", "16"),
        ("vllm/config/cache.py:CacheConfig.SIZE", "16"),
        ("vllm/engine.py:Args.batch most[0] SERVER", "512"),
        ("vllm/engine.py:Args.batch most[1] LLM", "256"),
    ],
)
def test_a_default_is_followed_to_where_it_is_written(tree: SourceTree, where: str, value: str) -> None:
    assert default(where, tree) == value
    text = f"at most `7`<!--default {where}-->, see `vllm/engine.py:Args`"
    assert rendered(text, tree) == f"at most `{value}`, see `vllm/engine.py:Args`"
    assert stale(text, tree) == [f"{where}: the text says 7, vLLM {tree.version} {value}"]


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("vllm/engine.py:Args.bare", "gives no default to bare"),
        ("vllm/engine.py:Args.gone", "gives no default to gone"),
        ("vllm/engine.py:Gone.share", "does not define Gone"),
        ("vllm/engine.py:Args.batch.share", "is not a class"),
        ("vllm/engine.py:Args.batch most[1] SERVER", r"has no .* most\[1\] SERVER"),
        ("vllm/engine.py:Args.batch most[2] LLM", r"has no .* most\[2\] LLM"),
    ],
)
def test_a_default_that_is_gone_is_named(tree: SourceTree, where: str, error: str) -> None:
    with pytest.raises(EnginescopeError, match=error):
        default(where, tree)


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ("<!--has vllm/engine.py:Args.batch: if memory>70:-->", ""),
        (
            "<!--has vllm/engine.py:Args.batch: if memory > 71:-->",
            "vllm/engine.py:Args.batch of vLLM unknown does not hold",
        ),
        ("<!--has vllm/engine.py:Args.gone: x-->", "does not itself define gone"),
        ("<!--gone vllm/engine.py:Args.swap-->", ""),
        ("<!--gone vllm/engine.py:Args.length-->", "vllm/engine.py:Args of vLLM unknown does have length"),
        ("<!--gone vllm/engine.py:Arguments.length-->", "does not define Arguments"),
    ],
)
def test_a_claim_of_a_text_is_held_against_the_source(tree: SourceTree, claim: str, problem: str) -> None:
    assert without(f"so{claim} it is") == "so it is"
    lines = untrue(f"so{claim} it is", tree)
    assert (lines == []) if not problem else (len(lines) == 1 and problem in lines[0])


def test_a_page_shows_the_line_of_each_place(tree: SourceTree) -> None:
    text = "`vllm/engine.py:Args.batch`, `vllm/engine.py:Args.gone`, vllm/engine.py:Args"
    page = "`vllm/engine.py:Args.batch` (line 8), `vllm/engine.py:Args.gone` (not in unknown), vllm/engine.py:Args"
    assert with_lines(text, tree) == page
    with pytest.raises(EnginescopeError, match="is not a place"):
        find_place("vllm/../../etc/passwd.py:x", tree)
