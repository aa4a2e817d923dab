"""Takes secrets out of what nsys stored: it reads the environments of all processes of the machine, and all output."""

from __future__ import annotations

import contextlib
import re
import shlex
import sqlite3
from collections.abc import Collection
from pathlib import Path

from probes.secretvalues import HIDDEN, SECRET_NAME, is_secret
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
        clean = VARIABLE.sub(self._variable, clean)
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
    what was deleted and how to keep it.
    """
    redactor, report = Redactor({*variables.values(), *words}), folder / f"{STEM}.nsys-rep"
    if (folder / f"{STEM}.sqlite").exists():
        clean(folder / f"{STEM}.sqlite", redactor)
    files = [path for path in (report, folder / f"{STEM}.qdstrm") if path.exists()]
    if files and (variables or redactor.known):
        for path in files:
            path.unlink()
        return [deletion(files, list(variables))]
    if files and redactor.names:
        others = ", ".join(sorted(redactor.names))
        return [f"{report.name} holds {others} of other processes on this machine: pass on {STEM}.sqlite in its place"]
    return []


def deletion(files: list[Path], names: list[str]) -> str:
    """What was deleted, why, and how to keep it."""
    deleted = " and ".join(path.name for path in files)
    if not names:
        return f"{deleted} deleted: a key on the command line was in it; hand it over in a file or a variable"
    without = shlex.join(["env", *(word for name in names for word in ("-u", name))])
    why = f"nsys stores the environment, and {', '.join(names)} would be readable in it"
    return f"{deleted} deleted: {why}; to keep it: {without} python -m tracing.record --nsys …"


def clean(sqlite: Path, redactor: Redactor) -> None:
    """Blank every text of the file, and write the file anew so that no old page is left."""
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
