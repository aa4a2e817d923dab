"""A session as pages to hand in: the command, the checks, the start, the memory and the log, for a browser and as
Markdown. Secrets and the user's name are kept out, and what came from the server is text and never markup.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from markupsafe import Markup

from probes import htmlpage
from probes.console import printable
from probes.htmlpage import PageSection
from probes.outputfiles import make_folder, refuse_existing, write_texts
from probes.privacy.commandline import command_line
from probes.privacy.home import tilde
from probes.privacy.secretvalues import blanked
from probes.serve.checks.checks import Check
from probes.serve.report.table import report
from probes.serve.session import Session

TITLE = "Server check"
PAGE, MARKDOWN = "serve.html", "serve.md"
LOG_LINES = 2000  # the last ones: a start has some hundreds
COLUMNS = ("check", "outcome", "s", "what was seen", "prompt", "output")


def make_record_folder(folder: Path) -> None:
    """Make the pages' folder before a start takes its time; refused where it has pages of an earlier session."""
    make_folder(folder)
    refuse_existing((folder / PAGE, folder / MARKDOWN), "name another folder")


def write_record(session: Session, folder: Path) -> list[Path]:
    """Write both pages into `folder`, which is there."""
    shown, log = _without_secrets(session), _log(session.log)
    return write_texts({folder / PAGE: page(shown, log), folder / MARKDOWN: markdown(shown, log)})


def page(session: Session, log: list[str]) -> str:
    """The page for a browser."""
    checks = htmlpage.table(COLUMNS, [*map(_row, session.checks)], text=(0, 1, 3, 4, 5))
    hidden = Markup("<details><summary>{} lines</summary>{}</details>").format(len(log), _preformatted(log))
    sections = [
        PageSection("Command", "", _preformatted(_command(session))),
        PageSection("Checks", "", checks),
        PageSection("Start, memory, verdict", "", _preformatted(_rest(session))),
        PageSection("Log", "", hidden),
    ]
    return htmlpage.page(TITLE, sections, about=_verdict(session))


def markdown(session: Session, log: list[str]) -> str:
    """The same as Markdown."""
    parts = {"Command": _command(session), "Checks, start, memory": [*report(session)], "Log": log}
    sections = [f"## {title}\n\n{_fenced(lines)}" for title, lines in parts.items()]
    return "\n\n".join([f"# {TITLE}", _verdict(session), *sections]) + "\n"


def _row(check: Check) -> list[str]:
    texts = check.summary, check.prompt or "", check.output or ""
    return [check.name, check.outcome, f"{check.took_s:.2f}", *map(printable, texts)]


def _verdict(session: Session) -> str:
    return "All is well." if session.passed else "Something is wrong."


def _command(session: Session) -> list[str]:
    return [*map(printable, session.command.notes), f"$ {command_line(session.command.words)}"]


def _rest(session: Session) -> list[str]:
    """What the terminal shows below the checks."""
    lines = [*report(session)]
    above = len([*takewhile(bool, lines)]) if session.checks else 0
    return lines[above:]


def _log(path: Path) -> list[str]:
    lines = [line for line in re.split(r"[\r\n]+", path.read_text(errors="replace")) if line]
    return [printable(_blanked(line)) for line in lines[-LOG_LINES:]]


def _without_secrets(session: Session) -> Session:
    """The session with what its diagnosis took from the log blanked like the log."""
    if (diagnosis := session.diagnosis) is None:
        return session
    shown = replace(diagnosis, cause=_blanked(diagnosis.cause), lines=[*map(_blanked, diagnosis.lines)])
    return replace(session, diagnosis=shown)


def _blanked(text: str) -> str:
    return blanked(tilde(text))


def _preformatted(lines: list[str]) -> Markup:
    return Markup("<pre>{}</pre>").format("\n".join(lines).strip("\n"))


def _fenced(lines: list[str]) -> str:
    """A block of text, in a fence that nothing in it can close."""
    text = "\n".join(lines).strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
