"""Why a server did not start: the last errors of its log, the likely cause, and what to try.

What a log says of the cause is in `causes`.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from probes.processes.enginegroup import listener
from probes.processes.log import MARKS, RAISED
from probes.serve.causes import KNOWN
from probes.serve.command import PROGRAM
from probes.serve.process import NotReady

LINES_SHOWN = 6
LINE_WIDTH = 300
SAID = re.compile(
    r"^(?:\S+\.py|python\S*|/\S+|vllm\S*): (?:error: |No module named |can't open )"
    r"|^Killed$|^Fatal |^/\S*sh: .*not found$|\bSegmentation fault\b|Segfault encountered|\bIllegal instruction\b"
    r"|died unexpectedly \(exit code: -\d+\)"
)
NEXT_WORDS = 2  # pydantic tells what is wrong on the lines after the exception's own


@dataclass(frozen=True)
class Diagnosis:
    """Why the server is not there: in a line, the likely cause and the remedy, and its own last words."""

    what: str
    cause: str
    remedy: str
    lines: list[str]


def diagnose(log: str, ended: NotReady, port: int, on_gpu: bool) -> Diagnosis:
    """What the log and the end of the process tell."""
    what = f"{_end(ended.exit_code)}; the last thing it did: {ended.doing}"
    lines = error_lines(log)
    shown = (lines or [line.strip() for line in log.splitlines() if line.strip()])[-LINES_SHOWN:]
    ending, words = f"exit code: {ended.exit_code}", _words(port, on_gpu)
    cause, remedy = _known("\n".join(lines), words) or _known(ending, words) or _not_known(ended.exit_code)
    return Diagnosis(what, cause, remedy, shown)


def error_lines(log: str) -> list[str]:
    """The exceptions of a log and what command lines are refused with, each once, without the frames between."""
    lines = [MARKS.sub("", line).rstrip() for line in re.split(r"[\r\n]+", log)]
    errors: dict[str, None] = {}  # in order
    for at, line in enumerate(lines):
        if RAISED.match(line):
            more = lines[at + 1 : at + 1 + NEXT_WORDS] if "ValidationError" in line else []
            errors[" ".join([line, *map(str.strip, more)]).strip()[:LINE_WIDTH]] = None
        elif SAID.search(line):
            errors[line[:LINE_WIDTH]] = None
    return list(errors)


def _end(code: int | None) -> str:
    if code is None:
        return "it was not ready in time and was stopped"
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"


def _known(text: str, words: Mapping[str, str | int]) -> tuple[str, str] | None:
    """The likely cause and the remedy by the first row of `KNOWN` that matches a text."""
    for pattern, cause, remedy in KNOWN:
        if match := re.search(pattern, text):
            groups = (match[0], *match.groups())
            return cause.format(*groups, **words), remedy.format(*groups, **words)
    return None


def _not_known(code: int | None) -> tuple[str, str]:
    if code is None:
        return "it is slow, or it hangs; its log says which", "a longer --timeout"
    return "not one of the causes known here", "read its log; python -m probes.doctor looks at the installation"


def _words(port: int, on_gpu: bool) -> dict[str, str | int]:
    """What the texts of `KNOWN` name."""
    more_kv = "--gpu-util nearer to 1" if on_gpu else "a larger --engine kv_cache_memory_bytes=N"
    return {"port": port, "holder": holder(port), "other_port": port + 1, "more_kv": more_kv, "program": PROGRAM}


def holder(port: int) -> str:
    """Who listens on a port: its program and PID. Its arguments may hold keys and are not shown."""
    pid = listener(port)
    try:
        return f"by {psutil.Process(pid).name()} (process {pid})" if pid else "but the system does not show by whom"
    except psutil.Error:
        return f"by process {pid}"
