"""`README.md` of the results folder: the index of all commands' runs, of batches through a server, and of reports."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from offline.records.run import TIME, read_run
from offline.records.runfolder import REPORTS, write_whole
from probes.batch.record import BEGINNING, Record, parsed
from probes.errors import EnginescopeError
from probes.markdown import table

HEADS = ("run", "began", "model", "variant", "configuration", "state", "vLLM", "machine", "command")
BATCHES = "batch"  # of the results folder: records of `python -m probes.batch`


def write_index(out: Path) -> None:
    """One line a run, newest first, then batches and reports, and what is not read."""
    rows, unread = [], []
    for file in sorted(out.glob("*/*/*/run.json"), key=lambda p: p.parent.name, reverse=True):
        name = file.parent.relative_to(out)
        try:
            *facts, command = _facts(file.parent)
        except EnginescopeError as error:
            unread.append(f"- `{name}`: {_reason(error, file.parent)}")
            continue
        rows.append(_row(name, *facts, command=command))
    lines = ["# Runs", "", *table(HEADS, rows)]
    lines += _listed("Batches of prompts through a server:", _batches(out))
    reports = sorted((out / REPORTS).glob("*.md"), reverse=True)
    titles = (f"- [{file.stem}]({REPORTS}/{file.name}): {_title(file)}" for file in reports)
    lines += _listed("Reports, each with its charts:", titles)
    lines += _listed(f"Left out, {len(unread)} that this version does not read:", unread)
    write_whole(out / "README.md", "\n".join(lines) + "\n")


def _row(name: Path, began: str, model: str, variant: str, *condition: str, command: str) -> tuple[str, ...]:
    about = (f"[{name}]({name}/table.md)", began, model, variant, f"[run.json]({name}/run.json)")
    return (*about, *condition, f"`{command}`")


def _listed(heading: str, lines: Iterable[str]) -> list[str]:
    """A list under its heading; nothing where it has no line."""
    listed = list(lines)
    return ["", heading, "", *listed] if listed else []


def _facts(folder: Path) -> tuple[str, ...]:
    """When a run began, its model, variant, state, vLLM, machine and command; of a sweep, or of another command, whose
    own modules read the rest."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads((folder / "run.json").read_text())
        if "kind" in values:  # a sweep has none
            machine = str(values["machine"]["vllm"]), str(values["machine"]["cpu_model"])
            return values["began"], values["model"], _variant(values), values["state"], *machine, values["command_line"]
    run = read_run(folder)
    about = run.began, run.model, run.variant, run.state
    return *about, str(run.machine.vllm), run.machine.cpu_model, run.command_line


def _variant(values: dict[str, Any]) -> str:  # as run.json has it
    """What another command than a sweep measured: a load run's variants, a comparison's sides."""
    names = [each["name"] for each in values["variants"]] if "variants" in values else values["settings"]
    return ", ".join(names)


def _batches(out: Path) -> Iterator[str]:
    """A line a file of records: when it began, its model and how many records it holds, or why it is not read."""
    for file in sorted((out / BATCHES).glob("*.jsonl")):
        try:
            first, count = _batch(file)
        except (OSError, EnginescopeError) as error:
            yield f"- `{BATCHES}/{file.name}`: {_reason(error, file)}"
            continue
        if first:
            began = time.strftime(TIME, time.localtime(first.began_s))
            yield f"- [{file.name}]({BATCHES}/{file.name}): {began}, {first.model}, records: {count}"


def _batch(file: Path) -> tuple[Record | None, int]:
    """The first record of a file, which the first start of its batch wrote, and how many there are.

    Only the first is parsed: a batch may hold a million, and every run of another command counts them.
    """
    first, count = None, 0
    with file.open("rb") as lines:
        for line in lines:
            if line.startswith(BEGINNING) and line.endswith(b"\n"):
                first = first or parsed(line, file)
                count += first is not None
    return first, count


def _reason(error: OSError | EnginescopeError, path: Path) -> str:
    """Why a path is not read, without the path, which the index names by its place in the results folder."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error).removeprefix(str(path)).lstrip(" /")


def _title(report: Path) -> str:
    """The first line of a report, which is Markdown already."""
    with report.open() as file:
        return file.readline().lstrip("# ").rstrip("\n")
