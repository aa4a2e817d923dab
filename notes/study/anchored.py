"""The places of vLLM that texts and learners name, as `file.py:qualified name`, in the installed source."""

from __future__ import annotations

import re

from probes.errors import usage_error
from tracing.source.definitions import Place
from tracing.source.tree import Missing, SourceTree

ANCHOR = re.compile(r"(?P<file>vllm(?:/\w+)+)\.py:(?P<name>\w+(?:\.\w+)*)", re.ASCII)  # Chinese ends a name

THERE, GONE = "(line {line})", "(not in {version})"


def anchors(text: str) -> list[str]:
    """All anchors in a text, each once, in order.

    | text                                              | anchors                                           |
    | ------------------------------------------------- | ------------------------------------------------- |
    | "see `vllm/v1/engine/async_llm.py:AsyncLLM.abort`" | ["vllm/v1/engine/async_llm.py:AsyncLLM.abort"]     |
    | "see vllm/v1/engine/async_llm.py"                 | []                                                |
    """
    return list(dict.fromkeys(match[0] for match in ANCHOR.finditer(text)))


def find_place(anchor: str, tree: SourceTree) -> Place | Missing:
    """Where an anchor is in a tree; raises a usage error for what has not an anchor's form."""
    match = ANCHOR.fullmatch(anchor.strip())
    if match is None:
        raise usage_error(f"{anchor!r} is not a place: write vllm/v1/engine/async_llm.py:AsyncLLM.generate")
    return tree.resolve(f"{match['file'].replace('/', '.')}:{match['name']}")


def with_lines(text: str, tree: SourceTree, there: str = THERE, gone: str = GONE) -> str:
    """A text in which every anchor in inline code is followed by its line in this tree, in these words."""

    def line(match: re.Match[str]) -> str:
        place = find_place(match[1], tree)
        words = there.format(line=place.first) if isinstance(place, Place) else gone.format(version=tree.version)
        return f"{match[0]} {words}"

    return re.sub(f"`({_unnamed(ANCHOR.pattern)})`", line, text)


def _unnamed(pattern: str) -> str:
    return re.sub(r"\?P<\w+>", "?:", pattern)
