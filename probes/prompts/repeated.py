"""The prompts of a file several times over, as if the file stood there so many times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from probes.prompts.files import Prompt, read


def repeated(path: Path, times: int) -> Iterator[Prompt]:
    """All prompts, then all again: a server's prefix cache may know them by then.

    | times | ids               | lines         |
    | ----- | ----------------- | ------------- |
    | 1     | `1`, `2`          | 1, 2          |
    | 2     | … `1#2`, `2#2`    | … 3, 4        |
    """
    last = 0
    for prompt in read(path):
        last = prompt.line
        yield prompt
    for time in range(2, times + 1):
        for prompt in read(path):
            yield replace(prompt, line=prompt.line + (time - 1) * last, id=f"{prompt.id}#{time}")
