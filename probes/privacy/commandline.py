"""The command line that asked for a run, as the run keeps it: to be pasted into a shell, and without secrets."""

from __future__ import annotations

import shlex
from pathlib import Path

from probes.privacy.home import tilde
from probes.privacy.secretvalues import blanked_words

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("probes", "tracing", "offline", "notes")


def command_line(argv: list[str]) -> str:
    """`argv` as a line to paste into a shell, with secrets blanked and the home folder as `~`.

    | words                             | line                         |
    | --------------------------------- | ---------------------------- |
    | `--api-key abc --max-tokens 64`   | `--api-key '***' --max-tokens 64` |
    | `--engine hf_token=abc,seed=1`    | `--engine 'hf_token=***,seed=1'`  |
    """
    words = blanked_words(argv)
    return tilde(shlex.join([*_program(words[:1]), *words[1:]]))


def _program(first: list[str]) -> list[str]:
    """The first word: a program by its name, a module of this checkout as `python -m` starts it, wherever it lies."""
    path = Path(first[0]) if first else Path()
    if path.suffix != ".py" or not any(path.is_relative_to(ROOT / room) for room in ROOMS):
        return [path.name] if path.is_absolute() else first
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return ["python", "-m", module.removesuffix(".__main__")]
