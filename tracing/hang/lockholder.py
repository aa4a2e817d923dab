"""Which thread has a lock that another waits for, by the sources: Python's own locks do not know.

A thread that stands inside `with X:` holds X; so it holds what another one waits for at `with X:` in the same file.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tracing.hang.dump import ProcessDump, ThreadStack
from tracing.pyspy.events import Frame


def holder(dump: ProcessDump, waits: Frame) -> tuple[ThreadStack, Frame] | None:
    """The thread that holds the lock which is asked for at a frame, and where; None where no source tells."""
    names = {name for first, last, body, name in _withs(waits.path) if first <= waits.line < body}
    for thread in dump.threads:
        for frame in thread.python:
            if frame.path == waits.path and frame != waits and names & _held_at(frame):
                return thread, frame
    return None


def _held_at(frame: Frame) -> set[str]:
    return {name for _, last, body, name in _withs(frame.path) if body <= frame.line <= last}


@cache
def _withs(path: str) -> tuple[tuple[int, int, int, str], ...]:
    """Of every `with` of a file: its first and last line, the first of its body, and the text of what it enters."""
    try:
        tree = ast.parse(Path(path).read_text(errors="replace"))
    except (OSError, SyntaxError, ValueError):
        return ()
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.With | ast.AsyncWith))
    return tuple(
        (node.lineno, node.end_lineno or node.lineno, node.body[0].lineno, ast.unparse(item.context_expr))
        for node in statements
        for item in node.items
    )
