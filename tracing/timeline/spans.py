"""Reads a trace folder: one pandas frame of the spans of all processes, and what the core listed beside them.

Nothing here loops over spans. Times stay nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from probes.errors import usage_error
from tracing.events import file as eventfile
from tracing.events.file import SHARED_SITES, EventFile
from tracing.events.layout import BATCH, CHILD, COST, COUNTS, DEVICE, MESSAGE, RAISED, RENAMED, STOPPED, TRACED
from tracing.events.processfile import ProcessRecord, RecordedSite
from tracing.events.step import NOT_TOLD, STEP_FIELDS
from tracing.timeline.intervals import by_start, distinct
from tracing.timeline.nodes import on_one_clock
from tracing.timeline.steps import collectives
from tracing.timeline.steps.owners import owners

EARLIER_COUNTS = (*STEP_FIELDS[3:], "kv_blocks")
# What later traces tell too, and what stands for it in an earlier one: why requests waited, then cached KV blocks.
REASONS_NOT_TOLD = {"held_back": NOT_TOLD, "head_held_back": NOT_TOLD, "token_limit": 0, "sequence_limit": 0}
COUNTS_NOT_TOLD = {**REASONS_NOT_TOLD, "kv_cached_blocks": -1, "kv_evicted_blocks": -1}
COUNT_NAMES = (*EARLIER_COUNTS, *COUNTS_NOT_TOLD)
MAIN_ROLES = ("front end", "core", "worker")  # of a process that serves several
FRONT_END, WORKER = ("front end",), ("worker",)  # what a process serves that serves one role alone
# In a worker the shared-memory queue is its way in and out: there it waits for the core.
HALF = 1 << 32  # of a list's integers, to put two together
LAUNCH = " (launch)"  # at the end of a stage whose work goes on on a device after it
LAUNCHED = ("forward", "logits", "sample", "draft", "verify", "encoder", "collective")
APART = ("coordinator", "server parent")  # the roles of processes through which no request goes
IN_WORKER = {"queue.get": ("wait: core", "wait"), "queue.put": ("reply", "work")}


@dataclass(frozen=True)
class Timeline:
    """A trace folder, read.

    `spans` has a row a span, sorted by start, then the longest first: `start_ns`, `end_ns` (int64), `site`, `stage`,
    `role`, `share` (categories), `pid` (int32), `thread` (int64, the operating system's), `thread_name`, `request`
    (categories, missing where none), `step`, `value`, `extra` (int64, see `tracing.events`), `raised` (bool).
    `batches` (pid, step, request, tokens), `steps` (pid, step and its counts), `messages` (pid, step, key, client,
    outputs), `renamed` (pid, internal, external), `children` (pid, child, parent) and `stopped` (pid, key, request) are
    the core's and the front end's lists. `device` (pid, step, begin_ns, end_ns, given_ns, uncertainty_ns) has a row for
    each piece of work of a device: a step's forward pass, and its sampling. It was busy from begin to end at most, and
    from `given_ns`, when all was launched, to the end at least. `traced` (pid, external, traceparent, is_own, at_ns)
    has the traces of OpenTelemetry that front ends noted of calls, `is_own` where it is vLLM's own span that is named.
    `costs` (pid, site, ns, at_ns) has what watching cost around some of the spans.
    `texts` has those that an `extra` or `value` points to, by process and number.
    """

    folder: Path
    spans: pd.DataFrame
    batches: pd.DataFrame
    steps: pd.DataFrame
    messages: pd.DataFrame
    renamed: pd.DataFrame
    children: pd.DataFrame
    stopped: pd.DataFrame
    device: pd.DataFrame
    traced: pd.DataFrame
    costs: pd.DataFrame
    texts: dict[tuple[int, int], str]
    processes: list[ProcessRecord]
    torn: int
    dropped: int


def read(folder: Path | str) -> Timeline:
    """Read a trace folder, or one with a folder a machine in it.

    Raises `EnginescopeError` where it is none, of another schema, or where the machines' clocks cannot be related.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("events-*.bin")) or sorted(folder.glob("*/events-*.bin"))  # a folder a machine
    if not folder.exists():
        raise usage_error(f"there is no folder {folder}: python -m tracing.record -- CMD makes one in traces/")
    if not paths:
        raise usage_error(f"{folder} holds no events-*.bin: python -m tracing.record -- CMD makes a trace folder")
    return assembled(folder, [eventfile.read(path) for path in paths])


def assembled(folder: Path, files: list[EventFile]) -> Timeline:
    """One timeline of what the processes of a run wrote."""
    files = on_one_clock(files)
    files = [_as_parent(file) if _started_front_ends(file, files) else file for file in files]
    lists = _lists(files)
    cores = owners([file.process for file in files], lists[1]["pid"].tolist())
    return Timeline(
        folder,
        collectives.divided(_spans(files), cores),
        *lists,
        _stopped(files),
        _joined([_device(file) for file in _having(DEVICE, files)]),
        _joined([_traced(file) for file in _having(TRACED, files)]),
        _joined([_costs(file) for file in _having(COST, files)]),
        {(file.process.pid, number): text for file in files for number, text in file.texts.items()},
        [file.process for file in files],
        sum(file.torn for file in files),
        sum(file.dropped for file in files),
    )


def _started_front_ends(file: EventFile, files: list[EventFile]) -> bool:
    """Whether a front end has started others and took no request itself, as an API server of several processes does."""
    front_ends = [other.process.parent for other in files if other.process.serves == FRONT_END]
    no_request = not len(file.lists[RENAMED][0])
    return file.process.serves == FRONT_END and no_request and file.process.pid in front_ends


def _as_parent(file: EventFile) -> EventFile:
    return replace(file, process=replace(file.process, serves=("server parent",)))


# --- the frame of spans ---


def _spans(files: list[EventFile]) -> pd.DataFrame:
    names: dict[str, int] = {}  # every text of a category column -> its number, over all files
    pieces = [_piece(file, names) for file in files]
    places = _places([(piece["start_ns"], piece["end_ns"]) for piece in pieces])
    frame: dict[str, np.ndarray | pd.Categorical] = {}
    for name in tuple(pieces[0]):
        values = np.empty(sum(map(len, places)), pieces[0][name].dtype)
        for place, piece in zip(places, pieces, strict=True):
            values[place] = piece.pop(name)
        frame[name] = _category(values, names) if name in CATEGORIES else values
    return pd.DataFrame(frame, copy=False)


def _places(times: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Where the spans of each file go, of which these are the starts and ends: by start, then the longest first."""
    start, end = (np.concatenate(column) for column in zip(*times, strict=True))
    place = np.empty(len(start), np.int64)
    place[by_start(start, end)] = np.arange(len(start))
    return np.split(place, np.cumsum([len(starts) for starts, _ in times])[:-1])


CATEGORIES = ("site", "stage", "role", "share", "thread_name", "request")


def _numbers(texts: list[str], names: dict[str, int]) -> np.ndarray:
    """The number of each text; a new one is added to `names`."""
    return np.array([names.setdefault(text, len(names)) for text in texts] or [0], dtype=np.int32)


def _category(codes: np.ndarray, names: dict[str, int]) -> pd.Categorical:
    """A categorical of texts by number; -1 is missing."""
    used = np.flatnonzero(np.bincount(codes + 1, minlength=1)[1:])
    values = list(names)
    index = np.full(len(names) + 1, -1, dtype=np.min_scalar_type(-len(used) - 1))  # as pandas has it
    index[used] = np.arange(len(used))
    return pd.Categorical.from_codes(index[codes], categories=[values[number] for number in used])


def _piece(file: EventFile, names: dict[str, int]) -> dict[str, np.ndarray]:
    """The columns of one process's spans, categories still as numbers of texts."""
    spans, process = file.spans, file.process
    table = sites_of(process)
    site = spans["site"]
    threads = distinct(spans["thread"])
    called = _numbers([process.threads.get(thread, f"thread {thread}") for thread in threads.tolist()], names)
    requests = np.full(max(file.texts, default=0) + 1, -1, dtype=np.int32)
    for number, text in file.texts.items():
        requests[number] = names.setdefault(text, len(names))
    asked = np.where(spans["request"] < len(requests), spans["request"], 0)
    texts = {"site": [row.name for row in table]}
    texts |= {key: [getattr(row, key) for row in table] for key in ("stage", "role", "share")}
    columns = {key: _numbers(column, names)[site] for key, column in texts.items()}
    return {
        "start_ns": spans["start"],
        "end_ns": spans["end"],
        **columns,
        "pid": np.full(len(spans), process.pid, dtype=np.int32),
        "thread": spans["thread"].astype(np.int64),
        "thread_name": called[np.searchsorted(threads, spans["thread"])],
        "request": requests[asked],
        "step": spans["step"],
        "value": spans["value"],
        "extra": spans["extra"].astype(np.int64),
        "raised": spans["kind"] == RAISED,
    }


def sites_of(process: ProcessRecord) -> list[RecordedSite]:
    """The sites of a process as they are there: on a device, and by what it serves."""
    seen = [as_seen(site, process.serves) for site in process.sites]
    return [launching(site) for site in seen] if process.device else seen


def as_seen(site: RecordedSite, serves: tuple[str, ...]) -> RecordedSite:
    """A site as it is in a process that serves these roles."""
    if serves and serves[0] in APART:
        return replace(site, role=serves[0])
    if site.name in SHARED_SITES and serves:
        own = site.stage, site.share
        stage, share = IN_WORKER.get(site.name, own) if serves == WORKER else own
        role = next((role for role in MAIN_ROLES if role in serves), serves[0])
        return replace(site, role=role, stage=stage, share=share)
    if site.role == "front end" and "core" in serves and "front end" not in serves:
        return replace(site, role="core output")  # a core writes to a coordinator as a front end does to a core
    return site


def on_device(timeline: Timeline) -> bool:
    """Whether any process has a device, so that a worker's time says nothing of when the work was done."""
    return any(process.device for process in timeline.processes)


def launching(site: RecordedSite) -> RecordedSite:
    """A site in a process with a device: what the worker gives to the device there is a launch."""
    launches = site.stage in LAUNCHED and site.role == "worker"
    return replace(site, stage=site.stage + LAUNCH) if launches else site


# --- the lists ---


def _lists(files: list[EventFile]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return (
        _joined_batches([_batches(file) for file in _having(BATCH, files)]),
        _joined([_counts(file) for file in _having(COUNTS, files)]),
        _joined([_fixed(file, MESSAGE, ("client", "outputs")) for file in _having(MESSAGE, files)]),
        _joined([_pairs(file, RENAMED, ("internal", "external")) for file in _having(RENAMED, files)]),
        _joined([_pairs(file, CHILD, ("child", "parent")) for file in _having(CHILD, files)]),
    )


def _having(code: int, files: list[EventFile]) -> list[EventFile]:
    """The files with lists of a code; the first where none has any, as a frame has columns without rows too."""
    return [file for file in files if len(file.lists[code][0])] or files[:1]


def _stopped(files: list[EventFile]) -> pd.DataFrame:
    """The requests that a front end ended at a stop string, and the key of the message that held it."""
    frames = []
    for file in _having(STOPPED, files):
        rows = _fixed(file, STOPPED, ("request",))
        frames.append(rows.assign(request=_text_of(file, rows["request"].to_numpy())).rename(columns={"step": "key"}))
    return _joined(frames)


def _device(file: EventFile) -> pd.DataFrame:
    """What the process's device worked on since its records are whole, of times in halves.

    What was announced before that and launched after it began in an earlier recording, or before a window.
    """
    edges = ("begin", "end", "given")
    rows = _fixed(file, DEVICE, (*(f"{edge}_{half}" for edge in edges for half in ("low", "high")), "uncertainty_ns"))
    times = {f"{edge}_ns": rows[f"{edge}_low"] + rows[f"{edge}_high"] * HALF for edge in edges}
    first_ns, begin = file.process.first_ns, times["begin_ns"]
    kept = (times["end_ns"] > first_ns) & ~((begin < first_ns) & (times["given_ns"] >= first_ns))
    times["begin_ns"] = begin.clip(lower=first_ns)
    return rows.assign(**times)[kept][["pid", "step", *times, "uncertainty_ns"]]


def _traced(file: EventFile) -> pd.DataFrame:
    """What was noted of a call's trace, and when."""
    heads, counts, _ = file.lists[TRACED]
    rows = _fixed(file, TRACED, ("external", "traceparent", "is_own"))
    texts = {name: _text_of(file, rows[name].to_numpy()) for name in ("external", "traceparent")}
    return rows.drop(columns="step").assign(at_ns=heads["start"][counts == 3], **texts)


def _costs(file: EventFile) -> pd.DataFrame:
    heads, counts, _ = file.lists[COST]
    rows, names = _fixed(file, COST, ("site", "ns")), np.array([site.name for site in file.process.sites])
    return rows.drop(columns="step").assign(site=names[rows["site"]], at_ns=heads["start"][counts == 2])


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled or frames[:1], ignore_index=True)


def _joined_batches(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """As `_joined`, and the requests of several cores are still one category."""
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    requests = union_categoricals([frame["request"] for frame in filled])
    return pd.concat(filled, ignore_index=True).assign(request=requests)


def _text_of(file: EventFile, numbers: np.ndarray) -> np.ndarray:
    """Texts by number, '' where one was lost."""
    return file.listed[np.where(numbers < len(file.listed), numbers, 0)]


def _batches(file: EventFile) -> pd.DataFrame:
    heads, counts, words = file.lists[BATCH]
    return pd.DataFrame(
        {
            "pid": np.full(len(words) // 2, file.process.pid, dtype=np.int32),
            "step": np.repeat(heads["step"], counts // 2),
            "request": pd.Categorical(_text_of(file, words[::2])),
            "tokens": words[1::2].astype(np.int64),
        }
    )


def _fixed(file: EventFile, code: int, names: tuple[str, ...]) -> pd.DataFrame:
    """Lists that all have these numbers; one of another length is none of ours."""
    heads, table = file.table(code, len(names))
    frame = pd.DataFrame(table.astype(np.int64), columns=list(names))
    frame.insert(0, "pid", file.process.pid)
    frame.insert(1, "step", heads["step"])
    if code == MESSAGE:
        frame.insert(2, "key", heads["end"])
    return frame


def _counts(file: EventFile) -> pd.DataFrame:
    """What each step scheduled; of an earlier trace with what stands for the counts that it does not tell."""
    for names in (COUNT_NAMES, (*EARLIER_COUNTS, *REASONS_NOT_TOLD), EARLIER_COUNTS):
        rows = _fixed(file, COUNTS, names)
        if len(rows):
            break
    return rows.assign(**{name: value for name, value in COUNTS_NOT_TOLD.items() if name not in names})


def _pairs(file: EventFile, code: int, names: tuple[str, str]) -> pd.DataFrame:
    _, table = file.table(code, len(names))
    frame = pd.DataFrame({name: _text_of(file, table[:, place]) for place, name in enumerate(names)}, dtype=object)
    frame.insert(0, "pid", file.process.pid)
    return frame
