"""The committed trace of a shape: `SHAPE.json.xz`, one finished request as the frames of a `Timeline`.

A frame is kept column by column: numbers as they are (a column of times as differences), texts as a list of the
distinct ones and a number a row. Nothing of the machine is in it but what `about` says.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError, usage_error
from probes.jsonform import read_record
from tracing.events.processfile import ProcessRecord
from tracing.timeline.spans import COUNT_NAMES, Timeline

SCHEMA = 1
FOLDER = Path(__file__).resolve().parent
SUFFIX = ".json.xz"
MADE_BY = "python -m notes.recorded DIR --shape NAME"
FRAMES = ("spans", "batches", "steps", "messages", "renamed", "children", "stopped", "device", "traced")
STEP_COLUMNS = ["pid", "step", *COUNT_NAMES]
NOT_COUNTED = -1  # of a step, in a trace that was written before a column was counted
OF_PROCESS = ("pid", "parent", "serves", "device", "modes")
CATEGORICAL = {"spans", "batches"}  # the frames whose texts are categories


@dataclass(frozen=True)
class PassedPlace:
    """A place that a recording passed, in the whole of it: how often, in which role, process and thread."""

    site: str
    role: str
    pid: int
    thread: str
    count: int


@dataclass(frozen=True)
class ShapeTrace:
    """A shape's recording: one request of it with its steps, and which places the whole of it passed where.

    Processes are numbered from 1 and threads from 1, times begin with the request.
    """

    shape: str
    about: str
    timeline: Timeline
    passed: tuple[PassedPlace, ...]

    @property
    def sites(self) -> set[str]:
        """Those that were passed at all."""
        return {place.site for place in self.passed}


def shapes(folder: Path = FOLDER) -> list[str]:
    """The shapes that have a committed trace."""
    return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


@cache
def read_all(folder: Path = FOLDER) -> dict[str, ShapeTrace]:
    """The traces of a folder by their shapes, each read once."""
    return {shape: read(shape, folder) for shape in shapes(folder)}


def read(shape: str, folder: Path = FOLDER) -> ShapeTrace:
    """The committed trace of a shape; an `EnginescopeError` where there is none or it is of another schema."""
    path = folder / f"{shape}{SUFFIX}"
    try:
        file: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise usage_error(f"{path} cannot be read: {error}") from None
    if file["schema"] != SCHEMA:
        raise usage_error(f"{path} is of schema {file['schema']}, not {SCHEMA}: write it again with {MADE_BY}")
    frames = {name: _frame(file["frames"][name], name in CATEGORICAL) for name in FRAMES}
    frames["steps"] = frames["steps"].reindex(columns=STEP_COLUMNS, fill_value=NOT_COUNTED)
    processes = [read_record(ProcessRecord, values) for values in file["processes"]]
    texts = {(pid, number): text for pid, number, text in file["texts"]}
    frames["costs"] = pd.DataFrame()  # of the machine, not of vLLM
    timeline = Timeline(Path(shape), **frames, texts=texts, processes=processes, torn=0, dropped=0)
    return ShapeTrace(shape, file["about"], timeline, tuple(PassedPlace(*place) for place in file["passed"]))


def write(trace: ShapeTrace, folder: Path = FOLDER) -> Path:
    """Write a shape's trace; the file."""
    timeline = trace.timeline
    file = {
        "schema": SCHEMA,
        "made_by": MADE_BY,
        "shape": trace.shape,
        "about": trace.about,
        "processes": [{name: getattr(each, name) for name in OF_PROCESS} for each in timeline.processes],
        "passed": [list(asdict(place).values()) for place in trace.passed],
        "texts": [[*place, text] for place, text in timeline.texts.items()],
        "frames": {name: _columns(getattr(timeline, name)) for name in FRAMES},
    }
    text = json.dumps(file, ensure_ascii=False, separators=(",", ":"))
    path = folder / f"{trace.shape}{SUFFIX}"
    try:
        path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    except OSError as error:
        raise EnginescopeError(f"cannot write {path}: {error.strerror}") from None
    return path


def _columns(frame: pd.DataFrame) -> dict[str, object]:
    """The columns of a frame.

    | column  | kept as                                                     |
    | ------- | ----------------------------------------------------------- |
    | times   | `{"first": 5, "steps": [0, 3, 1]}`, each after the one before |
    | texts   | `{"texts": ["core"], "numbers": [0, -1]}`, -1 is missing    |
    | other   | `[1, 2, 3]`                                                 |
    """
    return {str(name): _column(str(name), frame[name]) for name in frame}


def _column(name: str, values: pd.Series) -> object:
    if values.dtype == bool:
        return {"flags": values.astype(int).tolist()}
    if not pd.api.types.is_integer_dtype(values):
        numbers, texts = pd.factorize(values.astype(object))
        return {"texts": texts.tolist(), "numbers": numbers.tolist()}
    numbers = values.to_numpy(dtype=np.int64)
    return {"times": np.diff(numbers, prepend=0).tolist()} if name.endswith("_ns") else numbers.tolist()


def _frame(columns: dict[str, Any], categorical: bool) -> pd.DataFrame:  # `Any`: what JSON holds
    return pd.DataFrame({name: _values(column, categorical) for name, column in columns.items()})


def _values(column: Any, categorical: bool) -> np.ndarray | pd.Categorical:  # `Any`: what JSON holds
    if isinstance(column, list):
        return np.array(column, dtype=np.int64)
    if "flags" in column:
        return np.array(column["flags"], dtype=bool)
    if "times" in column:
        return np.cumsum(np.array(column["times"], dtype=np.int64))
    if categorical:
        return pd.Categorical.from_codes(column["numbers"], categories=pd.Index(column["texts"], dtype=str))
    texts = [*column["texts"], None]
    return np.array([texts[number] for number in column["numbers"]], dtype=object)
