"""Why a server of ours did not start: the last errors of its log, the likely cause, and what to try."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from probes.processes.log import bare
from probes.serve.command import PROGRAM
from probes.serve.faults.errors import SHOWN, SHOWN_WIDTH, Errors
from probes.serve.faults.likelycause import in_our_options, likely_cause
from probes.serve.faults.page import WORDS
from probes.serve.ports import holder, next_free
from probes.serve.process import NotReady


@dataclass(frozen=True)
class Diagnosis:
    """Why the server is not there: in a line, the likely cause and the remedy, and its own last words."""

    what: str
    cause: str
    remedy: str
    lines: list[str]


def diagnose(log: str, ended: NotReady, port: int, on_gpu: bool) -> Diagnosis:
    """What the log and the end of the process tell; `port` is 0 for an engine without a server."""
    what = f"{_end(ended.exit_code)}; the last thing it did: {ended.doing}"
    errors = read_errors(log)
    ending, words = f"exit code: {ended.exit_code}", _words(port, on_gpu)
    likely = likely_cause(errors.root, errors.lines, words) or likely_cause(None, [ending], words)
    cause, remedy = (likely.cause, likely.remedy) if likely else not_known(errors.root, ended.exit_code)
    return Diagnosis(what, in_our_options(cause), in_our_options(remedy), errors.shown() or last_lines(log))


def read_errors(log: str) -> Errors:
    """The errors of a whole log."""
    errors = Errors()
    for line in re.split(r"[\r\n]+", log):
        errors.add(bare(line))
    errors.finish()
    return errors


def last_lines(log: str) -> list[str]:
    """The last words of a log without an error."""
    return [line.strip() for line in log.splitlines() if line.strip()][-SHOWN:]


def not_known(root: str | None, code: int | None) -> tuple[str, str]:
    """Cause and remedy where the table has none: the exception that all began with is the best that can be told."""
    if root:
        return f"not one of the causes known here; it began with: {root[:SHOWN_WIDTH]}", "look that line up; " + DOCTOR
    if code is None:
        return TOO_LATE, "a longer --timeout"
    return "not one of the causes known here", "read its log; " + DOCTOR


TOO_LATE = "it is slow, or it hangs; its log says which"  # the cause of a time-out of which the log tells no more
ANY = "0.0.0.0"  # what is free at every address is free at each
DOCTOR = "python -m probes.doctor looks at the installation"


def _end(code: int | None) -> str:
    if code is None:
        return "it was not ready in time and was stopped"
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"


def _words(port: int, on_gpu: bool) -> dict[str, str | int]:
    """What the texts of the table name."""
    more_kv = "--gpu-memory-utilization nearer to 1" if on_gpu else "a larger --kv-cache-memory-bytes=N"
    words: dict[str, str | int] = {**WORDS, "more_kv": more_kv, "program": PROGRAM}
    return words | {"port": port, "holder": holder(port), "other_port": next_free(ANY, port)} if port else words
