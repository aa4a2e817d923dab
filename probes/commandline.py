"""The command line that asked for a run, as the run keeps it: to be pasted into a shell, and without secrets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from probes.home import tilde

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("probes", "tracing", "offline", "notes")
HIDDEN = "***"
SECRET_NAME = r"[\w.-]*(?:key|secret|passw|credential|authorization|token(?!iz))[\w.-]*"
# NAME=value, "name": "value", name=value,other=...&other=...: the value runs to the next name, or to the end.
SECRET_VALUE = re.compile(
    rf"""({SECRET_NAME}["']?\s*[=:]\s*)("[^"]*"|'[^']*'|.*?(?=[,&]\s*["']?[\w.-]+["']?\s*[=:]|$))""", re.I | re.S
)
SECRET_OPTION = re.compile(rf"-{SECRET_NAME}", re.I)
KNOWN_SECRET = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{12,}|(?:sk-|gh[pous]_|github_pat_|glpat-|xox[abp]-|nvapi-)[\w-]{8,})"
    r"|(?<=://)[^/\s@]+(?=@)|(?<=bearer )\S+",
    re.I,
)
# --max-num-batched-tokens 8192 and long_prefill_token_threshold=512 are no secrets; a password of digits is.
COUNT_NAME = re.compile(r"(?!.*(?:key|secret|passw|credential|authorization)).*token(?:s|[_-]\w)", re.I)
COUNTS = re.compile(r"[\d\s.,:}\]]*")


def command_line(argv: list[str]) -> str:
    """`argv` as a line to paste into a shell, with secrets blanked and the home folder as `~`.

    | words                             | line                         |
    | --------------------------------- | ---------------------------- |
    | `--api-key abc --max-tokens 64`   | `--api-key '***' --max-tokens 64` |
    | `--engine hf_token=abc,seed=1`    | `--engine 'hf_token=***,seed=1'`  |
    """
    words, option = [], ""
    for word in argv:
        if word.startswith("-"):
            option = word  # all words up to the next option count as its values: some take several
        hide = word != option and SECRET_OPTION.fullmatch(option) and not _is_count(option, word)
        words.append(HIDDEN if hide else _blanked(word))
    return tilde(shlex.join([*_program(words[:1]), *words[1:]]))


def _blanked(word: str) -> str:
    assigned = SECRET_VALUE.sub(lambda match: match[0] if _is_count(*match.groups()) else match[1] + HIDDEN, word)
    return KNOWN_SECRET.sub(HIDDEN, assigned)


def _is_count(name: str, value: str) -> bool:
    return bool(COUNT_NAME.match(name) and COUNTS.fullmatch(value))


def _program(first: list[str]) -> list[str]:
    """The first word: a program by its name, a module of this checkout as `python -m` starts it, wherever it lies."""
    path = Path(first[0]) if first else Path()
    if path.suffix != ".py" or not any(path.is_relative_to(ROOT / room) for room in ROOMS):
        return [path.name] if path.is_absolute() else first
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return ["python", "-m", module.removesuffix(".__main__")]
