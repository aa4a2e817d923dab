"""Tables and charts of real runs in `notes/tables/`: a page, a chart and the figures of both for each folder given."""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from notes.tables import pages
from notes.tables.pages import FIGURES, Story
from probes.errors import EnginescopeError, run_main, usage_error

SCHEMA = 1
PATH = Path(__file__).resolve().parent
EXAMPLES = """examples:
  python -m notes.tables results/SmolLM2-135M-Instruct/default/<run> traces/<folder>
  python -m notes.tables results/*/*/* --out my-tables

A run folder is what `python -m offline.sweep` leaves, a trace folder what `python -m tracing.record` does.
"""
MACHINE = ("cpu_model", "cores_usable", "memory_bytes")
VERSIONS = ("vllm", "vllm_distribution", "torch", "transformers", "python", "enginescope", "git_hash", "git_dirty")
# Of a path from the root or the home all but its last name.
FOLDERS = re.compile(r"(?<![\w.:/])~?/+(?:[^\s'\"/,=]+/+)*")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m notes.tables",
        description="Writes a table and a chart of each run or trace, with the command, machine and version behind it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="run folders and trace folders")
    made.add_argument("--out", type=Path, default=PATH, metavar="DIR", help="(default: notes/tables)")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    stories: dict[str, Story] = {}
    for folder in args.folders:
        told = story(folder)
        if told["name"] in stories:
            raise usage_error(f"{folder} would replace another page {told['name']}: sweep with another --variant")
        stories[told["name"]] = told
    try:
        for path in write(stories, args.out):
            print(f"Wrote {path}")
    except OSError as error:
        raise EnginescopeError(f"cannot write {error.filename}: {error.strerror}") from None
    return 0


def write(stories: Mapping[str, Story], out: Path) -> list[Path]:
    """Write each story as JSON, Markdown and SVG, then the list of all that `out` holds; the paths."""
    out.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for name, told in stories.items():
        files[f"{name}.json"] = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        files |= {f"{name}.md": pages.page(told), f"{name}.svg": pages.chart(told)}
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    (out / "README.md").write_text(pages.listed(read(out)), encoding="utf-8")
    return [out / name for name in (*files, "README.md")]


def read(out: Path = PATH) -> list[Story]:
    """The stories of a folder of tables, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]


# --- out of the folders ---


def story(folder: Path) -> Story:
    """What a run folder or a trace folder tells; an `EnginescopeError` where it is neither or is damaged."""
    try:
        if (folder / "run.json").is_file():
            return _sweep(folder)
        if (folder / "trace.json").is_file():
            return _trace(folder)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise EnginescopeError(f"{folder} cannot be read: {type(error).__name__} {error}") from None
    raise usage_error(f"{folder} is neither a run (python -m offline.sweep) nor a trace (python -m tracing.record)")


def _sweep(folder: Path) -> Story:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else ["status"]
    axes = columns[: columns.index("status")]  # what a cell is stands before how it went
    return {
        "schema": SCHEMA,
        "kind": "sweep",
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"sweep-{run['model']}-{run['variant']}"),
        "title": f"Throughput of {run['model']} against batch size",
        "command": without_paths(run["command_line"]),
        **_where(run["machine"]),
        "date": run["began"][:10],
        "state": run["state"],
        "caution": without_paths((folder / "table.md").read_text(encoding="utf-8").partition("\n")[0]),
        "axes": axes,
        "rows": [_row(row, axes) for row in rows],
    }


def _row(row: Mapping[str, str], axes: Sequence[str]) -> dict[str, Any]:
    kept = {axis: row[axis] for axis in axes} | {"status": row["status"], "reason": without_paths(row["reason"])}
    ends = [figure + end for figure in FIGURES for end in ("", "_lo", "_hi")]
    numbers = {name: float(f"{float(row[name]):.6g}") if row.get(name) else None for name in ends}
    return {**kept, "trials": int(float(row["trials"] or 0)), **numbers}


def _trace(folder: Path) -> Story:
    from tracing.breakdown.findings import findings, trace_file

    trace, review = trace_file(folder), findings(folder).review
    command = without_paths(trace["command"])
    problems = "; ".join(without_paths(problem) for problem in review["problems"])
    return {
        "schema": SCHEMA,
        "kind": "trace",
        "name": re.sub(r"[^A-Za-z0-9]+", "-", f"budget-{command.removeprefix('python -m ').removeprefix('python ')}"),
        "title": f"Where a request's time goes: {command}",
        "command": f"python -m tracing.record {'--nvtx ' if trace.get('nvtx') else ''}-- {command}",
        **_where(trace["machine"]),
        "date": time.strftime("%Y-%m-%d", time.gmtime(trace["started"])),
        "state": trace["state"],
        "caution": f"Not whole: {problems}." if problems else "A whole trace: nothing was dropped or cut.",
        "requests": review["requests"]["whole"],
        "rows": [{**row, "share": float(f"{row['share']:.6g}")} for row in review["budget"]],
    }


def _where(machine: Mapping[str, Any]) -> Story:
    gpus = [gpu["name"] for gpu in machine.get("gpus") or []]
    return {
        "machine": {**{key: machine.get(key) for key in MACHINE}, "gpus": gpus},
        "versions": {key: machine.get(key) for key in VERSIONS},
    }


def without_paths(text: str) -> str:
    """The text with paths of this machine cut to their last name."""
    return FOLDERS.sub("", text)


if __name__ == "__main__":
    run_main(main)
