"""What is said of stops that do not simply hold: what is there now, which claim is false, what to read again."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from notes.walkthrough.claims.digests import Digests
from notes.walkthrough.claims.judgement import Judgement
from probes.errors import EnginescopeError
from tracing.source.tree import SourceTree


def account(
    judgements: Sequence[Judgement], tree: SourceTree, reading: Digests | None, base: SourceTree | None
) -> Iterator[str]:
    """All stops that do not simply hold, in lines, each of which ends a line; the diff of a function only once."""
    old = base or _at_hand(tree, reading)
    shown: set[str] = set()
    for each in judgements:
        if each.standing != "holds":
            yield from _stop(each)
            fresh = [target for target in each.reread if target not in shown]
            shown.update(fresh)
            yield from (line for target in fresh for line in _difference(target, each, tree, old))
    if shown and old is None and reading is not None and reading.version != tree.version:
        yield f"For the diff unpack vLLM {reading.version}, which was read, and name it with --base:"
        yield f"  python -m pip download --no-deps --only-binary :all: vllm=={reading.version}"
        yield "  python -m zipfile -e vllm-*.whl old/"
    yield ""


def _at_hand(tree: SourceTree, reading: Digests | None) -> SourceTree | None:
    """The installed vLLM, where it is the one that was read and not the one in question."""
    try:
        installed = SourceTree.find()
    except EnginescopeError:
        return None
    return installed if reading and installed.version == reading.version and installed.root != tree.root else None


def _stop(each: Judgement) -> Iterator[str]:
    stop, verdict = each.stop, each.anchor
    yield f"{each.standing}  {stop.where}  {stop.name}"
    if verdict.standing == "moved":
        yield f"  {stop.anchor.target}\n  is now {verdict.target} ({verdict.where})"
    if each.standing == "gone":
        place = f" ({verdict.where})" if verdict.where else ""
        yield f"  {stop.anchor.target}{place}: {verdict.reason}\n  expected {stop.anchor.fragment.text}"
        if verdict.nearest:
            yield f"  {'present ' if verdict.place else 'nearest '} " + "\n           ".join(verdict.nearest)
    yield from (f"  {words}" for words in each.untrue)
    if each.reread:
        yield f"  read again: {', '.join(each.reread)}"


def _difference(target: str, each: Judgement, tree: SourceTree, old: SourceTree | None) -> Iterator[str]:
    before = old.find_place(target) if old else None
    after = each.anchor.place if target == each.stop.anchor.target else tree.find_place(target)
    if old is not None and before is not None and after is not None:
        names = (f"{before.where} in vLLM {old.version}", f"{after.where} now")
        lines = difflib.unified_diff(before.lines(), after.lines(), *names, n=2, lineterm="")
        yield from (f"    {line}" for line in lines)
