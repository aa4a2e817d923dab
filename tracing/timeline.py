"""Reads a trace folder: one pandas frame of the spans of all processes, and what the core listed beside them.

Nothing here loops over spans. Times stay nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.events import (
    BATCH,
    CHILD,
    COUNTS,
    HEADER,
    LIST,
    MAGIC,
    MESSAGE,
    MORE,
    PAYLOAD_BYTES,
    RAISED,
    RECORD,
    RENAMED,
    SCHEMA,
    SPAN,
    TEXT,
)
from tracing.sites import ALL_SITES
from tracing.steplog import STEP_FIELDS

COUNT_NAMES = (*STEP_FIELDS[3:], "kv_blocks")
WORDS = PAYLOAD_BYTES // 4
SHARED_SITES = ("queue.put", "queue.get", "gc", "scope")  # on both sides: their role is that of the process
# In a worker the shared-memory queue is its way in and out: there it waits for the core.
IN_WORKER = {"queue.get": ("wait: core", "wait"), "queue.put": ("reply", "work")}


@dataclass(frozen=True)
class Timeline:
    """A trace folder, read.

    `spans` has a row a span, sorted by start, then the longest first: `start_ns`, `end_ns` (int64), `site`, `stage`,
    `role`, `share` (categories), `pid` (int32), `thread` (int64, the operating system's), `thread_name`, `request`
    (categories, missing where none), `step`, `value`, `extra` (int64, see `tracing.events`), `raised` (bool).
    `batches` (pid, step, request, tokens), `steps` (pid, step and its counts), `messages` (pid, step, key, client,
    outputs), `renamed` (pid, internal, external) and `children` (pid, child, parent) are the core's and the front end's
    lists. `texts` has those that an `extra` or `value` points to, by process and number.
    """

    folder: Path
    spans: pd.DataFrame
    batches: pd.DataFrame
    steps: pd.DataFrame
    messages: pd.DataFrame
    renamed: pd.DataFrame
    children: pd.DataFrame
    texts: dict[tuple[int, int], str]
    processes: list[dict[str, Any]]
    torn: int
    dropped: int


@dataclass
class _File:
    """One process's event file, taken apart."""

    process: dict[str, Any]
    spans: np.ndarray
    texts: dict[int, str]
    lists: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]  # code -> headers, counts of words, all words
    torn: int
    dropped: int


def read(folder: Path) -> Timeline:
    """Read a trace folder; raises `EnginescopeError` where it is none or of another schema."""
    paths = sorted(folder.glob("events-*.bin"))
    if not paths:
        raise EnginescopeError(f"{folder} holds no events-*.bin: python -m tracing.record -- CMD makes a trace folder")
    files = [_read_file(path) for path in paths]
    return Timeline(
        folder,
        _spans(files),
        *_lists(files),
        {(file.process["pid"], number): text for file in files for number, text in file.texts.items()},
        [file.process for file in files],
        sum(file.torn for file in files),
        sum(file.dropped for file in files),
    )


def _read_file(path: Path) -> _File:
    raw = np.fromfile(path, dtype=np.uint8)
    raw = raw[: len(raw) // RECORD.itemsize * RECORD.itemsize]
    head = raw[: RECORD.itemsize].view(HEADER)[0] if len(raw) else None
    if head is not None and (head["magic"] != MAGIC or head["schema"] != SCHEMA):
        raise EnginescopeError(f"{path} is of schema {head['schema']}, this reader knows {SCHEMA}: record it again")
    process = _process(path)
    records = raw[RECORD.itemsize :].view(RECORD)
    written = np.flatnonzero(records["kind"])
    last = int(written[-1]) + 1 if len(written) else 0
    records = records[:last]  # the rest was never written
    torn = int(np.count_nonzero(records["kind"] == 0))
    texts, cut_texts = _texts(records)
    lists, cut_lists = _all_lists(records)
    kept = records[(records["kind"] == SPAN) | (records["kind"] == RAISED)]
    dropped = max(int(head["dropped"]) if head is not None else 0, process.get("dropped", 0))
    return _File(process, kept, texts, lists, torn + cut_texts + cut_lists, dropped)


def _process(path: Path) -> dict[str, Any]:
    """What the process said of itself; where that cannot be read, the table of this version."""
    pid = int(path.stem.partition("-")[2])
    try:
        said: dict[str, Any] = json.loads(path.with_name(f"process-{pid}.json").read_text())
    except (OSError, ValueError):
        sites = [{key: getattr(site, key) for key in ("name", "stage", "role", "share")} for site in ALL_SITES]
        return {"pid": pid, "parent": 0, "serves": [], "sites": sites, "threads": {}, "hooked": [], "incomplete": True}
    if said.get("schema") != SCHEMA:
        raise EnginescopeError(f"{path} has a process file of schema {said.get('schema')}, this reader knows {SCHEMA}")
    return said


def _payload(records: np.ndarray, heads: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the records at `heads`, whose payload has `value` items of `size` bytes: which are whole, and their places of
    MORE records, one after the other."""
    more = -(-records["value"][heads] * size // PAYLOAD_BYTES)
    is_more = np.concatenate(([0], np.cumsum(records["kind"] == MORE)))
    ends = heads + 1 + more
    inside = (more >= 0) & (ends <= len(records))
    whole = inside.copy()
    whole[inside] = is_more[ends[inside]] - is_more[heads[inside] + 1] == more[inside]
    heads, more = heads[whole], more[whole]
    firsts = np.concatenate(([0], np.cumsum(more)))[:-1]
    places = np.repeat(heads + 1 - firsts, more) + np.arange(more.sum())
    return whole, places


def _bytes_at(records: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The payload bytes of the records at `places`: shape (len(places), 44)."""
    return records[places].view(np.uint8).reshape(-1, RECORD.itemsize)[:, :PAYLOAD_BYTES]


def _texts(records: np.ndarray) -> tuple[dict[int, str], int]:
    heads = np.flatnonzero(records["kind"] == TEXT)
    whole, places = _payload(records, heads, 1)
    payload, at, texts = _bytes_at(records, places).tobytes(), 0, {}
    for row in records[heads[whole]]:
        length = int(row["value"])
        texts[int(row["request"])] = payload[at : at + length].decode(errors="replace")
        at += -(-length // PAYLOAD_BYTES) * PAYLOAD_BYTES
    return texts, int(np.count_nonzero(~whole))


def _all_lists(records: np.ndarray) -> tuple[dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]], int]:
    found, cut = {}, 0
    heads = np.flatnonzero(records["kind"] == LIST)
    for code in (BATCH, COUNTS, MESSAGE, RENAMED, CHILD):
        mine = heads[records["site"][heads] == code]
        whole, places = _payload(records, mine, 4)
        cut += int(np.count_nonzero(~whole))
        mine = mine[whole]
        counts = records["value"][mine]
        words = np.ascontiguousarray(_bytes_at(records, places)).view("<u4").reshape(-1)
        firsts = np.concatenate(([0], np.cumsum(-(-counts // WORDS) * WORDS)))[:-1]
        starts = np.concatenate(([0], np.cumsum(counts)))[:-1]
        kept = np.repeat(firsts - starts, counts) + np.arange(counts.sum())
        found[code] = (records[mine], counts, words[kept])
    return found, cut


# --- the frame of spans ---


def _spans(files: list[_File]) -> pd.DataFrame:
    pieces = [_piece(file) for file in files]
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    order = np.lexsort((-columns["end_ns"], columns["start_ns"]))
    frame: dict[str, Any] = {}
    for name in tuple(columns):
        values = columns.pop(name)[order]
        frame[name] = _category(values) if name in CATEGORIES else values
    return pd.DataFrame(frame, copy=False)


CATEGORIES = ("site", "stage", "role", "share", "thread_name", "request")
_names: dict[str, int] = {}  # every text of a category column -> its number, over all files


def _numbers(texts: list[str]) -> np.ndarray:
    return np.array([_names.setdefault(text, len(_names)) for text in texts] or [0], dtype=np.int32)


def _category(codes: np.ndarray) -> pd.Categorical:
    """A categorical of texts by number; -1 is missing."""
    used = np.unique(codes)
    used = used[used >= 0]
    known = list(_names)
    index = np.full(len(_names) + 1, -1, dtype=np.int32)
    index[used] = np.arange(len(used), dtype=np.int32)
    return pd.Categorical.from_codes(index[codes], categories=[known[number] for number in used])


def _piece(file: _File) -> dict[str, np.ndarray]:
    """The columns of one process's spans, categories still as numbers of texts."""
    spans, process = file.spans, file.process
    table = [as_seen(site, process["serves"]) for site in process["sites"]]
    site = np.minimum(spans["site"], len(table) - 1)
    threads, inverse = np.unique(spans["thread"], return_inverse=True)
    names = _numbers([process["threads"].get(str(thread), f"thread {thread}") for thread in threads])
    requests = np.full(max(file.texts, default=0) + 1, -1, dtype=np.int32)
    for number, text in file.texts.items():
        requests[number] = _names.setdefault(text, len(_names))
    asked = np.where(spans["request"] < len(requests), spans["request"], 0)
    columns = {key: _numbers([row[key] for row in table])[site] for key in ("site", "stage", "role", "share")}
    return {
        "start_ns": spans["start"],
        "end_ns": spans["end"],
        **columns,
        "pid": np.full(len(spans), process["pid"], dtype=np.int32),
        "thread": spans["thread"].astype(np.int64),
        "thread_name": names[inverse] if len(spans) else np.zeros(0, np.int32),
        "request": requests[asked],
        "step": spans["step"],
        "value": spans["value"],
        "extra": spans["extra"].astype(np.int64),
        "raised": spans["kind"] == RAISED,
    }


def as_seen(site: dict[str, Any], serves: list[str]) -> dict[str, str]:
    """A site's row as it is in a process that serves these roles."""
    row = {"site": site["name"], "stage": site["stage"], "role": site["role"], "share": site["share"]}
    if row["site"] in SHARED_SITES and serves:
        row["role"] = serves[0]
        if serves == ["worker"] and row["site"] in IN_WORKER:
            row["stage"], row["share"] = IN_WORKER[row["site"]]
    return row


# --- the lists ---


def _lists(files: list[_File]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return (
        _joined([_batches(file) for file in files]),
        _joined([_fixed(file, COUNTS, COUNT_NAMES) for file in files]),
        _joined([_fixed(file, MESSAGE, ("client", "outputs")) for file in files]),
        _joined([_pairs(file, RENAMED, ("internal", "external")) for file in files]),
        _joined([_pairs(file, CHILD, ("child", "parent")) for file in files]),
    )


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled or frames[:1], ignore_index=True)


def _text_of(file: _File, numbers: np.ndarray) -> np.ndarray:
    """Texts by number, '' where one was lost."""
    known = np.array([file.texts.get(n, "") for n in range(max(file.texts, default=0) + 1)], dtype=object)
    return known[np.where(numbers < len(known), numbers, 0)]


def _batches(file: _File) -> pd.DataFrame:
    heads, counts, words = file.lists[BATCH]
    return pd.DataFrame(
        {
            "pid": np.full(len(words) // 2, file.process["pid"], dtype=np.int32),
            "step": np.repeat(heads["step"], counts // 2),
            "request": pd.Categorical(_text_of(file, words[::2])),
            "tokens": words[1::2].astype(np.int64),
        }
    )


def _fixed(file: _File, code: int, names: tuple[str, ...]) -> pd.DataFrame:
    """Lists that all have these numbers; one of another length is none of ours."""
    heads, counts, words = file.lists[code]
    right = counts == len(names)
    table = words[np.repeat(right, counts)].reshape(-1, len(names)).astype(np.int64)
    frame = pd.DataFrame(table, columns=list(names))
    frame.insert(0, "pid", file.process["pid"])
    frame.insert(1, "step", heads["step"][right])
    if code == MESSAGE:
        frame.insert(2, "key", heads["end"][right])
    return frame


def _pairs(file: _File, code: int, names: tuple[str, str]) -> pd.DataFrame:
    _, counts, words = file.lists[code]
    table = words[np.repeat(counts == 2, counts)].reshape(-1, 2)
    frame = pd.DataFrame({name: _text_of(file, table[:, place]) for place, name in enumerate(names)}, dtype=object)
    frame.insert(0, "pid", file.process["pid"])
    return frame
