"""A timeline out of the NVTX ranges of an nsys report alone: the ranges and marks that `tracing.hooks.ranges` makes.

Each range is a span of the site that its message names. Marks say what a range could not know, and are the lists. Where
a process has no range of ours, vLLM's own scopes stand in for the sites that they surround; they carry no ids and no
step numbers, so there are stages and no requests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.events import layout
from tracing.events.file import EventFile
from tracing.events.layout import DETAILS, DOMAIN, INSTANT, NUMBERS, PROCESS
from tracing.events.processfile import ProcessRecord, RecordedSite
from tracing.nsys.file import Report
from tracing.sites.engine import ALL_SITES, CODES, SCOPE_SITE, SITES
from tracing.sites.site import Role
from tracing.timeline.spans import Timeline, assembled

# vLLM's scopes (0.31 to 0.33) by how they begin -> the site whose stage they are.
SCOPES = {
    "llm_engine step: get_output": "client.wait",
    "llm_engine step: process_outputs": "output.process",
    "llm_engine step: abort_requests": "output.abort",
    "llm_engine step: record_stats": "output.stats",
    "schedule: allocate_slots": "kv.allocate",
    "schedule: ": "scheduler.schedule",
    "gpu_model_runner: preprocess": "runner.prepare",
    "gpu_model_runner: forward": "runner.forward",
    "gpu_model_runner: postprocess": "model.logits",
    "gpu_model_runner: sample": "runner.sample",
    "gpu_model_runner: bookkeep": "runner.bookkeep",
}
SERVES: dict[Role, tuple[str, ...]] = {
    "worker": ("worker",),
    "core": ("core", "core input", "core output"),
    "front end": ("front end",),
}
OTHER = "other"  # the role of a process in which nothing is vLLM's
# What torch's ranges of operators carry after the name, the counts of vLLM's own profiler (`execute_context_2(64)_…`),
# and the number at the end of a range, as in `step_7` and `iteration[7]`: not part of a name. `MmBackward0` is one.
NUMBERED = re.compile(
    r"(, (op_id|seq|sizes|input_op_ids) = .*|(?<=^execute)_(\d+_)?context_\d+\(.*|[ #:=_\[(-]+\d+[\])]?)$"
)
NO_STEP = -1
# Of sites that share a function the first gives the range its name; what it was, the mark after it knows.
RANGE_OF = {
    site.name: next(s.name for s in SITES if s.targets == site.targets) for site in SITES if site.kind != "model"
}


def timeline(report: Report) -> Timeline:
    """The timeline of a report, on the clock of `clock`; without any range it has no spans."""
    marks = _parsed(report.marks[report.marks["domain"] == DOMAIN])
    offset, _ = clock(report)
    spans = _spans(report, marks)
    files = []
    for pid in sorted(set(spans["pid"])):
        mine = marks["pid"] == pid
        files.append(_file(int(pid), report, spans[spans["pid"] == pid], marks[mine], offset))
    files = _adopted(files, set(marks.loc[marks["word"] == PROCESS, "pid"]))
    return assembled(report.path.parent, files or [_file(0, report, spans, marks, offset)])


def clock(report: Report) -> tuple[int, int | None]:
    """What to add to the report's times for CLOCK_MONOTONIC, and by how much that may be off (None: not known, add 0).

    A mark of ours carries the clock read before it was made, so the offset is at least payload minus time of each, and
    at most the next one's payload minus this one's time. Where these contradict each other the clocks did not run
    alike, which is an `EnginescopeError`.
    """
    marks = report.marks[(report.marks["domain"] == DOMAIN) & report.marks["text"].str.startswith(f"['{PROCESS}'")]
    if not len(marks):
        return 0, None
    following = marks.groupby(["pid", "thread"])["payload"].shift(-1)
    least = int((marks["payload"] - marks["start_ns"]).max())
    most = (following - marks["start_ns"]).min()
    if np.isnan(most):
        return least, None
    if least > most:
        raise EnginescopeError(
            f"the clock marks of {report.path} contradict each other by {(least - most) / 1e3:,.1f} µs: its clock "
            "did not run like CLOCK_MONOTONIC, and no time in it is sure; record it again"
        )
    return (least + int(most)) // 2, (int(most) - least) // 2 + 1


def missing(report: Report, read: Timeline) -> list[str]:
    """What this report cannot say, a line each."""
    if not len(read.spans):
        return [
            "no NVTX ranges in this report: GPU work is summed without stages (python -m tracing.record --nsys -- CMD "
            "makes ranges)"
        ]
    if all(process.serves == (OTHER,) for process in read.processes):
        return ["no range in this report is enginescope's or vLLM's: stages are the names of the ranges, folded"]
    if not (report.ranges["domain"] == DOMAIN).any():
        return [
            "no ranges of the domain enginescope: stages are those of vLLM's own scopes; requests, steps and hops n/a "
            "(python -m tracing.record --nsys -- CMD records them)"
        ]
    if not len(read.renamed) and not len(read.steps):
        return ["no marks of the domain enginescope beside its ranges: requests, steps and hops n/a"]
    return []


def stage_names(timeline: Timeline) -> np.ndarray:
    """Each span's stage; of a scope its name without numbers, which is all that is known of it."""
    spans = timeline.spans
    stage = spans["stage"].astype(str).to_numpy(dtype=object)
    for place in np.flatnonzero(spans["site"] == SCOPE_SITE.name):
        text = timeline.texts.get((int(spans["pid"].iat[place]), int(spans["value"].iat[place])), stage[place])
        stage[place] = NUMBERED.sub("", text) or text
    return stage


# --- spans ---


def _parsed(marks: pd.DataFrame) -> pd.DataFrame:
    """Marks with their items; a text that is no mark of ours is left out."""
    known = {text: _items(text) for text in marks["text"].unique()}
    items = marks["text"].map(known)
    there = items.notna()
    ours = marks[there].assign(items=items[there])
    return ours.assign(word=[item[0] for item in ours["items"]])


def _items(text: str) -> list[Any] | None:
    try:
        items = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return items if isinstance(items, list) and items and items[0] in (DETAILS, INSTANT, NUMBERS, PROCESS) else None


def _spans(report: Report, marks: pd.DataFrame) -> pd.DataFrame:
    """A row a span: `start_ns`, `end_ns`, `pid`, `thread`, `site`, `request`, `value`, `extra`, `step`, `raised`."""
    ranges = report.ranges[report.ranges["end_ns"] >= 0]
    ours = ranges["domain"] == DOMAIN
    own = ranges[ours].assign(value=0, extra=0, raised=0, step=ranges.loc[ours, "payload"])
    words = own["text"].str.split(" ", n=1)
    own = own.assign(site=words.str[0], request=words.str[1].astype(object))
    own = _with_details(own[own["site"].isin(CODES)], marks[marks["word"] == DETAILS])
    others = ranges[~ours]
    others = others.assign(site=SCOPE_SITE.name, request=None, value=others["text"], extra=0, raised=0, step=NO_STEP)
    strangers = ~others["pid"].isin(own["pid"])
    others.loc[strangers, "site"] = others.loc[strangers, "text"].map(_site_of_scope)
    instants = _numbered(marks[marks["word"] == INSTANT])
    instants["end_ns"] = instants["start_ns"]
    columns = ["start_ns", "end_ns", "pid", "thread", "site", "request", "value", "extra", "step", "raised"]
    filled = [frame[columns] for frame in (own, others, instants) if len(frame)]
    return pd.concat(filled or [own[columns]], ignore_index=True)


def _site_of_scope(text: str) -> str:
    return next((site for start, site in SCOPES.items() if text.startswith(start)), SCOPE_SITE.name)


def _numbered(marks: pd.DataFrame) -> pd.DataFrame:
    """Marks that say a span's numbers, with these as columns."""
    names = ["site", "value", "extra", "request", "raised"]
    items = pd.DataFrame([item[1:6] for item in marks["items"]], columns=names, index=marks.index, dtype=object)
    return marks[["start_ns", "pid", "thread"]].assign(step=marks["payload"]).join(items)


def _with_details(spans: pd.DataFrame, marks: pd.DataFrame) -> pd.DataFrame:
    """Spans with what the marks after them say: a mark is about the last range of its function on its thread."""
    spans = spans.reset_index(drop=True)  # by start, as read
    numbers = _numbered(marks)
    if not len(numbers) or not len(spans):
        return spans
    numbers["range"] = numbers["site"].map(RANGE_OF).fillna(numbers["site"]).astype(str)
    begun = spans[["start_ns", "pid", "thread"]].assign(range=spans["site"].astype(str), row=np.arange(len(spans)))
    pairs = pd.merge_asof(numbers, begun, on="start_ns", by=["pid", "thread", "range"])
    pairs = pairs[pairs["row"].notna()].drop_duplicates("row", keep="last")
    rows = pairs["row"].astype(np.int64).to_numpy()
    for name in ("site", "value", "extra", "step", "raised"):
        spans[name] = spans[name].astype(object)
        spans.loc[rows, name] = pairs[name].to_numpy()
    named = pairs["request"].notna().to_numpy()
    spans.loc[rows[named], "request"] = pairs["request"].to_numpy()[named]
    return spans


# --- one process's part, as its event file would have it ---


def _file(pid: int, report: Report, spans: pd.DataFrame, marks: pd.DataFrame, offset: int) -> EventFile:
    texts: dict[str, int] = {}

    def number(item: str | int) -> int:
        """An integer as it is, a text by its number, as the recorder has it."""
        return texts.setdefault(item, len(texts) + 1) if isinstance(item, str) else int(item)

    records = np.zeros(len(spans), layout.RECORD)
    for field, name in (("start", "start_ns"), ("end", "end_ns")):
        records[field] = spans[name].to_numpy(dtype=np.int64) + offset
    records["step"], records["thread"] = spans["step"].to_numpy(dtype=np.int64), spans["thread"]
    records["site"] = spans["site"].map(CODES).to_numpy(dtype=np.int64)
    for name in ("value", "extra"):
        records[name] = [number(item) for item in spans[name]]
    records["request"] = [number(name) if isinstance(name, str) else 0 for name in spans["request"]]
    records["kind"] = np.where(spans["raised"].astype(bool), layout.RAISED, layout.SPAN)
    lists = _lists(marks[marks["word"] == NUMBERS], number, offset)
    lists[layout.BATCH] = _batches(records)
    ended = report.ranges[(report.ranges["end_ns"] < 0) & (report.ranges["domain"] == DOMAIN)]
    torn = int((ended["pid"] == pid).sum())
    names = {number: text for text, number in texts.items()}
    return EventFile(_process(pid, report, spans, marks), records, names, lists, torn, 0)


def _process(pid: int, report: Report, spans: pd.DataFrame, marks: pd.DataFrame) -> ProcessRecord:
    """What the process's marks say of it; where it made none, what its sites say. Without a site of vLLM's: other."""
    mark = next(iter(marks.loc[marks["word"] == PROCESS, "items"]), None)
    roles = {ALL_SITES[CODES[site]].role for site in spans["site"].unique() if site != SCOPE_SITE.name}
    serves = next((names for role, names in SERVES.items() if role in roles), (OTHER,))
    return ProcessRecord(
        pid,
        parent=mark[1] if mark else 0,
        serves=tuple(mark[2:]) if mark else serves,
        sites=tuple(map(RecordedSite.of, ALL_SITES)),
        hooked=tuple(sorted(set(spans["site"]))),
        modes=(f"nsys {report.version}",),
    )


def _adopted(files: list[EventFile], claimed: set[int]) -> list[EventFile]:
    """Workers that did not say whose they are, as those in `claimed` did, belong to the core, if there is one only."""
    cores = [file.process.pid for file in files if "core" in file.process.serves]
    if len(cores) != 1:
        return files
    strangers = [file for file in files if file.process.pid not in claimed]
    adopted = {file.process.pid: replace(file, process=replace(file.process, parent=cores[0])) for file in strangers}
    return [adopted.get(file.process.pid, file) for file in files]


Listed = tuple[np.ndarray, np.ndarray, np.ndarray]


def _lists(marks: pd.DataFrame, number: Callable[[str | int], int], offset_ns: int) -> dict[int, Listed]:
    """The lists of every code, as an event file holds them; those of no mark are empty."""
    code_of, lists = marks["items"].map(itemgetter(1)), {}
    for code in layout.LISTS:
        mine = marks[code_of == code]
        heads = np.zeros(len(mine), layout.RECORD)
        heads["start"] = mine["start_ns"].to_numpy(dtype=np.int64) + offset_ns
        heads["end"] = [items[2] for items in mine["items"]]
        heads["step"] = mine["payload"].to_numpy(dtype=np.int64)
        words = [[number(item) for item in items[3:]] for items in mine["items"]]
        counts = np.array([len(row) for row in words], dtype=np.int64)
        lists[code] = (heads, counts, np.array([word for row in words for word in row], dtype="<u4"))
    return lists


def _batches(records: np.ndarray) -> Listed:
    """What each step scheduled: the requests that got blocks in it, and were not preempted again in the same step."""
    taken = (records["site"] == CODES["kv.allocate"]) & (records["extra"] == 0) & (records["step"] >= 0)
    tokens_of = {(int(r["step"]), int(r["request"])): int(r["value"]) for r in np.sort(records[taken], order="start")}
    for lost in records[records["site"] == CODES["scheduler.preempt"]]:
        tokens_of.pop((int(lost["step"]), int(lost["request"])), None)
    heads = np.zeros(len(tokens_of), layout.RECORD)
    heads["step"] = [step for step, _ in tokens_of]
    words = [word for (_, request), tokens in tokens_of.items() for word in (request, tokens)]
    return heads, np.full(len(tokens_of), 2, dtype=np.int64), np.array(words, dtype="<u4")
