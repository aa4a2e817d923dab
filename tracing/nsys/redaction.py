"""Takes secrets out of what nsys stored: it reads the environments of all processes of the machine, and all output."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import sqlite3
from collections.abc import Collection
from pathlib import Path

from probes.privacy.secretvalues import HIDDEN, KNOWN_SECRET, SECRET_NAME, is_secret
from tracing.nsys.capture import STEM

LEAST_LENGTH = 6  # of a value that is blanked wherever it stands; a shorter one would take half the file with it
# A variable in a stored environment, which is one text with a NUL after each value, or a text for each variable.
VARIABLE = re.compile(rf"(?:(?<=\0)|(?<=\n)|^)({SECRET_NAME})=([^\0]+)", re.I)


class Redactor:
    """Blanks texts; keeps in mind which secret variables and whether known values were in them."""

    def __init__(self, values: Collection[str]) -> None:
        longest_first = sorted((value for value in values if len(value) >= LEAST_LENGTH), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.names: set[str] = set()
        self.known = False

    def blank(self, text: str) -> str | None:
        """The text without secrets; None where none is in it."""
        clean, count = self._known.subn(HIDDEN, text)
        self.known = self.known or count > 0
        clean = KNOWN_SECRET.sub(HIDDEN, VARIABLE.sub(self._variable, clean))
        return None if clean == text else clean

    def _variable(self, match: re.Match[str]) -> str:
        name, value = match.groups()
        if not is_secret(name, value):
            return match[0]
        if value != HIDDEN:
            self.names.add(name)
        return f"{name}={HIDDEN}"


def redact(folder: Path, variables: dict[str, str], words: Collection[str]) -> list[str]:
    """Blank secrets in the folder's SQLite file; delete the report, which cannot be cleaned, where it holds them.

    `variables` are those of the recorder's own environment, `words` those of the command line. Returns lines that say
    what was deleted and how to keep it. Signals wait until it is done.
    """
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return _redact(folder, variables, words)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


def _redact(folder: Path, variables: dict[str, str], words: Collection[str]) -> list[str]:
    redactor, sqlite = Redactor({*variables.values(), *words}), folder / f"{STEM}.sqlite"
    files = [path for path in (folder / f"{STEM}.nsys-rep", folder / f"{STEM}.qdstrm") if path.exists()]
    unclean = [sqlite] if sqlite.exists() and not clean(sqlite, redactor) else []
    unseen = bool(words) and (not sqlite.exists() or min(map(len, words)) < LEAST_LENGTH)
    if variables or redactor.known or unseen or (unclean and words):
        for path in [*files, *unclean]:
            path.unlink()
        return [deletion([*files, *unclean], list(variables))] if files or unclean else []
    if files and redactor.names:
        others = ", ".join(sorted(redactor.names))
        return [
            f"{files[0].name} holds {others} of other processes on this machine: pass on {sqlite.name} in its place"
        ]
    return []


def deletion(files: list[Path], names: list[str]) -> str:
    """What was deleted, why, and how to keep it."""
    deleted = " and ".join(path.name for path in files)
    if not names:
        return f"{deleted} deleted: a key on the command line was in it; hand it over in a file or a variable"
    without = shlex.join(["env", *(word for name in names for word in ("-u", name))])
    why = f"nsys stores the environment, and {', '.join(names)} would be readable in it"
    return f"{deleted} deleted: {why}; to keep it: {without} python -m tracing.record --nsys …"


def clean(sqlite: Path, redactor: Redactor) -> bool:
    """Blank every text of the file, and write the file anew so that no old page is left; False where it is damaged."""
    try:
        _clean(sqlite, redactor)
    except sqlite3.Error:
        return False
    return True


def _clean(sqlite: Path, redactor: Redactor) -> None:
    with contextlib.closing(sqlite3.connect(sqlite)) as file:
        file.execute("PRAGMA secure_delete = ON")
        file.create_function("blanked", 1, redactor.blank, deterministic=True)
        for table, column in _columns(file):
            file.execute(
                f"UPDATE {table} SET {column} = blanked({column})"
                f" WHERE typeof({column}) = 'text' AND blanked({column}) IS NOT NULL"
            )
        file.commit()
        file.execute("VACUUM")


def _columns(file: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every table and column, quoted."""
    tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [(f'"{table}"', f'"{row[1]}"') for table in tables for row in file.execute(f'PRAGMA table_info("{table}")')]
