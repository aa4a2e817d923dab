"""Generated exports of Nsight Systems with known content, in the layout of 2022.4 and in that of later releases."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracing import timeline
from tracing.timeline.spans import Timeline

VM = 0x0001000000000000  # above pid and thread an id has the machine and the kind of it
TYPES = {"mark": 34, "push": 59, "start": 60, "domain": 75}
ENUM = {33: "NvtxCategory", 34: "NvtxMark", 59: "NvtxPushPopRange", 60: "NvtxStartEndRange", 75: "NvtxDomainCreate"}
NVTX = "start INTEGER, end INTEGER, eventType INTEGER, rangeId INTEGER, category INTEGER, color INTEGER, text TEXT, "
NVTX += "globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER, domainId INTEGER, uint64Value INTEGER, "
NVTX += "int64Value INTEGER, doubleValue REAL, uint32Value INTEGER, int32Value INTEGER, floatValue REAL, "
NVTX += "jsonTextId INTEGER, jsonText TEXT"
LATER_NVTX = NVTX + ", binaryData TEXT"
ACTIVITY = "start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, correlationId INTEGER, "
ACTIVITY += "globalPid INTEGER"
TABLES = {
    "kernel": ("CUPTI_ACTIVITY_KIND_KERNEL", ", demangledName INTEGER, shortName INTEGER, graphNodeId INTEGER"),
    "copy": ("CUPTI_ACTIVITY_KIND_MEMCPY", ", bytes INTEGER, copyKind INTEGER"),
    "set": ("CUPTI_ACTIVITY_KIND_MEMSET", ", value INTEGER, bytes INTEGER"),
    "graph": ("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", ", graphId INTEGER, graphExecId INTEGER"),
}
LAUNCHES = "start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER, correlationId INTEGER, nameId INTEGER"


class NsysWriter:
    """A report: tell it ranges, marks and GPU activity in any order, then `close` it."""

    def __init__(self, path: Path, later: bool = False, schema: str | None = None) -> None:
        self.path, self.later = path, later
        self.file = sqlite3.connect(path)
        self.strings: dict[str, int] = {}
        self.domains: dict[tuple[int, str], int] = {}
        meta = "META_DATA_EXPORT" if later else "EXPORT_META_DATA"
        self.file.execute(f"CREATE TABLE {meta} (name TEXT, value TEXT)")
        version, known = ("2025.3.1.90", "3.20.4") if later else ("2022.4.2.1", "3.0.0")
        facts = {"EXPORT_PRODUCT_VERSION": version, "EXPORT_SCHEMA_VERSION": schema or known}
        self.file.executemany(f"INSERT INTO {meta} VALUES (?, ?)", facts.items())
        self.file.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        self.file.execute(f"CREATE TABLE NVTX_EVENTS ({LATER_NVTX if later else NVTX})")
        self.file.execute("CREATE TABLE ENUM_NSYS_EVENT_TYPE (id INTEGER PRIMARY KEY, name TEXT, label TEXT)")
        self.file.executemany("INSERT INTO ENUM_NSYS_EVENT_TYPE VALUES (?, ?, ?)", [(i, n, n) for i, n in ENUM.items()])

    def range(
        self,
        pid: int,
        thread: int,
        start: int,
        end: int | None,
        text: str,
        payload: int | None = None,
        domain: str = "enginescope",
        kind: str = "push",
    ) -> NsysWriter:
        self._nvtx(TYPES[kind], pid, thread, start, end, text, payload, self._domain(pid, domain))
        return self

    def mark(self, pid: int, thread: int, at: int, items: Sequence[Any], payload: int | None = None) -> NsysWriter:
        return self.range(pid, thread, at, None, repr(list(items)), payload, kind="mark")

    def launch(self, pid: int, thread: int, start: int, end: int, correlation: int) -> NsysWriter:
        self._insert("CUPTI_ACTIVITY_KIND_RUNTIME", LAUNCHES, start, end, 0, VM | pid << 24 | thread, correlation, 0)
        return self

    def activity(
        self,
        kind: str,
        pid: int,
        start: int,
        end: int,
        correlation: int = 0,
        name: str = "",
        size: int = 0,
        gpu: int = 0,
    ) -> NsysWriter:
        """A kernel, copy, set or whole graph on a device."""
        table, more = TABLES[kind]
        rest = {
            "kernel": (self._string(name), self._string(name), None),
            "copy": (size, 1),
            "set": (0, size),
            "graph": (1, 1),
        }[kind]
        self._insert(table, ACTIVITY + more, start, end, gpu, 1, 7, correlation, VM | pid << 24, *rest)
        return self

    def whole_name(self, name: str, whole: str) -> NsysWriter:
        """Give the kernels so called another whole name: with what their templates are filled with."""
        change = "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET demangledName = ? WHERE shortName = ?"
        self.file.execute(change, (self._string(whole), self._string(name)))
        return self

    def close(self) -> Path:
        self.file.commit()
        self.file.close()
        return self.path

    def _insert(self, table: str, columns: str, *values: Any) -> None:
        self.file.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        self.file.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    def _nvtx(self, *event: Any) -> None:
        kind, pid, thread, start, end, text, payload, domain = event
        row = {"start": start, "end": end, "eventType": kind, "globalTid": VM | pid << 24 | thread, "domainId": domain}
        # The name of a domain is in the row; messages of ours are registered strings.
        row |= {"text": text} if kind == TYPES["domain"] else {"textId": self._string(text)}
        row["int64Value"] = payload
        places = ", ".join("?" * len(row))
        self.file.execute(f"INSERT INTO NVTX_EVENTS ({', '.join(row)}) VALUES ({places})", tuple(row.values()))

    def _string(self, text: str) -> int:
        if text not in self.strings:
            self.strings[text] = len(self.strings) + 1
            self.file.execute("INSERT INTO StringIds VALUES (?, ?)", (self.strings[text], text))
        return self.strings[text]

    def _domain(self, pid: int, name: str) -> int:
        """The number of a domain in a process: each numbers its own; 0 is none."""
        if name and (pid, name) not in self.domains:
            self.domains[pid, name] = 1 + sum(1 for known, _ in self.domains if known == pid)
            self._nvtx(TYPES["domain"], pid, 1, 0, None, name, None, self.domains[pid, name])
        return self.domains[pid, name] if name else 0


def as_captured(read: Timeline, writer: NsysWriter, clock_ns: int = 0) -> NsysWriter:
    """A timeline as nsys would have captured it: each span a range and the mark after it, each list a mark.

    nsys's clock is behind CLOCK_MONOTONIC by `clock_ns`.
    """
    numbered = {process.pid: process for process in read.processes}
    for pid, process in numbered.items():
        for at in (1, 2, 3):  # in the clock's first nanoseconds
            writer.mark(pid, 1, at - clock_ns, ["process", process.parent, *process.serves], at)
    for row in read.spans.to_dict("records"):
        pid, thread, start, end = row["pid"], row["thread"], row["start_ns"] - clock_ns, row["end_ns"] - clock_ns
        name = row["request"] if isinstance(row["request"], str) else None
        extra = read.texts.get((pid, row["extra"]), "") if row["site"] == "scheduler.free" else row["extra"]
        contents = [row["site"], row["value"], extra, name, int(row["raised"])]
        if row["start_ns"] == row["end_ns"]:
            writer.mark(pid, thread, start, ["instant", *contents], row["step"])
        else:
            key_later = (
                row["site"] == "client.receive"
            )  # shares its function with core.receive, and is told apart after
            text, payload = ("core.receive", -1) if key_later else (row["site"], row["step"])
            writer.range(pid, thread, start, end, text, payload)
            writer.mark(pid, thread, end, ["told", *contents], row["step"])
    _lists(read, writer, clock_ns)
    return writer


def captured(folder: Path, later: bool = False, clock_ns: int = 0) -> tuple[Timeline, Path]:
    """A synthetic trace folder's timeline, and the same as a report."""
    read = timeline.read(folder)
    return read, as_captured(read, NsysWriter(folder / "nsys.sqlite", later), clock_ns).close()


def _lists(read: Timeline, writer: NsysWriter, clock_ns: int) -> None:
    schedules = read.spans[read.spans["site"] == "scheduler.schedule"].set_index(["pid", "step"])["end_ns"]
    for row in read.batches.to_dict("records"):
        at = int(schedules[row["pid"], row["step"]]) - clock_ns
        contents = ["instant", "kv.allocate", row["tokens"], 0, row["request"], 0]
        writer.mark(row["pid"], 1, at, contents, row["step"])
    for values in read.steps.itertuples(index=False):
        writer.mark(int(values[0]), 1, 5, ["list", 2, 0, *map(int, values[2:])], int(values[1]))
    for row in read.messages.to_dict("records"):
        writer.mark(row["pid"], 1, 5, ["list", 3, row["key"], row["client"], row["outputs"]], row["step"])
    for row in read.renamed.to_dict("records"):
        writer.mark(row["pid"], 1, 5, ["list", 4, 0, row["internal"], row["external"]], -1)
    for row in read.children.to_dict("records"):
        writer.mark(row["pid"], 1, 5, ["list", 5, 0, row["child"], row["parent"]], -1)
