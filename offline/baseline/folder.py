"""The folder of a comparison: what was asked, on which machine, the raw lines, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from offline.baseline.records import TORCH, VLLM, SideRecord, SideStart
from offline.baseline.table import HEADINGS, BatchRow, batch_rows, cells
from offline.records.runfolder import slug, write_whole
from probes.columns import markdown
from probes.errors import EnginescopeError
from probes.machine import Machine

SCHEMA = 1


@dataclass(frozen=True)
class BaselineRun:
    """`run.json`. `state` is running, complete, incomplete or interrupted."""

    id: str
    command_line: str
    model: str
    machine: Machine
    batches: tuple[int, ...]
    input_len: int
    output_len: int
    rounds: int
    starts: int
    seed: int
    settings: dict[str, dict[str, Any]]  # of each side, without the model's path
    began: str
    state: str = "running"
    reason: str | None = None


def create(out: Path, run: BaselineRun) -> Path:
    """A new folder `out/model/baseline/id`."""
    path = out / slug(run.model) / "baseline" / run.id
    try:
        (path / "logs").mkdir(parents=True)
    except OSError as error:
        raise EnginescopeError(f"cannot write to {out}: {error.strerror}; name another folder with --out") from None
    write_run(path, run)
    return path


def write_run(path: Path, run: BaselineRun) -> None:
    """Replace `run.json` whole."""
    values = {"schema": SCHEMA, "kind": "baseline", **asdict(run)}
    write_whole(path / "run.json", json.dumps(values, indent=1) + "\n")


def write_tables(path: Path, run: BaselineRun, records: Sequence[SideRecord]) -> list[str]:
    """Write `table.csv`, `table.md` and `columns.md`; the lines of the short table."""
    rows = batch_rows(records)
    names = [field.name for field in fields(BatchRow)]
    frame = pd.DataFrame([asdict(row) for row in rows], columns=names)
    write_whole(path / "table.csv", frame.to_csv(index=False))
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    lines += ["", *sentences(run, rows, records)]
    write_whole(path / "table.md", f"# {run.model}: vLLM against transformers\n\n" + "\n".join(lines) + "\n")
    write_whole(path / "columns.md", f"# table.csv\n\n{markdown(BatchRow)}\n")
    return lines


def sentences(run: BaselineRun, rows: Sequence[BatchRow], records: Sequence[SideRecord]) -> list[str]:
    """What the table stands on, and what it does not say."""
    lines = [f"{run.input_len} prompt and {run.output_len} output tokens a request, the same prompts on both sides."]
    if rows:
        lines.append(f"Factors: throughput within a round, 95 % interval over {rows[0].interval}.")
    starts = [each for each in records if isinstance(each, SideStart)]
    for side in (TORCH, VLLM):
        own = [each for each in starts if each.side == side]
        if own:
            idle = max(each.idle_bytes for each in own) / 2**20
            reserved = own[0].reserved_bytes
            held = "takes memory as a batch needs it" if reserved is None else f"reserves {reserved / 2**20:.0f} MiB"
            lines.append(f"{side}: {idle:.0f} MiB when ready; for keys and values it {held}.")
    if run.machine.gpus:
        lines.append("Memory is that of the processes in main memory; a device's own is not counted here.")
    return lines
