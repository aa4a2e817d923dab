"""The `except` clauses of `AsyncLLM.generate`, read in the installed vLLM, and the check of `HANDLERS` of day 3."""

from __future__ import annotations

import ast
from typing import Any

from notes.study.anchored import find_place
from notes.study.exercises import WrongAnswer, expect, same
from tracing.source.definitions import Place
from tracing.source.likeness import statements
from tracing.source.tree import SourceTree

GENERATE = "vllm/v1/engine/async_llm.py:AsyncLLM.generate"


def handlers() -> list[tuple[tuple[str, ...], bool]]:
    """The `except` clauses of `AsyncLLM.generate` in the installed vLLM: what each catches, and whether it aborts."""
    place = find_place(GENERATE, SourceTree.find())
    if not isinstance(place, Place):
        raise WrongAnswer(f"this exercise does not fit the installed vLLM: {place}")
    [function] = statements(place)
    outer = next(node for node in ast.walk(function) if isinstance(node, ast.Try))
    return [(_names(handler), "self.abort(" in ast.unparse(handler)) for handler in outer.handlers]


def _names(handler: ast.ExceptHandler) -> tuple[str, ...]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return tuple(ast.unparse(kind).rpartition(".")[2] for kind in kinds if kind)


def as_in_generate(mine: Any) -> str:
    """they are the except clauses of AsyncLLM.generate in the installed vLLM, in order"""
    clauses = handlers()
    answer = list(mine.HANDLERS)
    for number, (kinds, aborts) in enumerate(clauses, 1):
        expect(len(answer) >= number, f"HANDLERS has {len(answer)} entries; generate has {len(clauses)} except clauses")
        entry = answer[number - 1]
        expect(
            isinstance(entry, tuple) and len(entry) == 2,
            f"entry {number} is {entry!r}, not (class names, aborts or not)",
        )
        names = (entry[0],) if isinstance(entry[0], str) else tuple(entry[0])
        expect(set(names) == set(kinds), f"clause {number} does not catch {', '.join(names)}", f"read {GENERATE}")
        expect(
            bool(entry[1]) == aborts,
            f"clause {number} ({', '.join(kinds)}) {'does abort' if aborts else 'does not abort'} the request",
            "who still has a place in the core's batch, and who cannot be told any more?",
        )
    same(len(answer), len(clauses), "the number of clauses")
    return f"{len(clauses)} clauses, {sum(aborts for _, aborts in clauses)} of which abort"
