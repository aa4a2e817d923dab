"""The SQLite export of Nsight Systems: opened, its layout checked, its NVTX events and CUDA activity read as frames.

Two layouts are known, and share the columns used here: that of 2022 (table `EXPORT_META_DATA`, as exported by 2022.4.2)
and that of later releases (`META_DATA_EXPORT`, as NVIDIA documents it). Both number their schema 3. Anything else is
refused with what is missing.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from probes.errors import usage_error
from tracing.nsys import capture

SCHEMA_MAJOR = 3
META = ("META_DATA_EXPORT", "EXPORT_META_DATA")
EVENT_TYPES = {"NvtxMark": 34, "NvtxPushPopRange": 59, "NvtxStartEndRange": 60, "NvtxDomainCreate": 75}
PAYLOADS = ("int64Value", "uint64Value", "int32Value", "uint32Value")
NVTX = "NVTX_EVENTS"
STRINGS = {"StringIds": ("id", "value")}
NVTX_COLUMNS = {
    NVTX: ("start", "end", "eventType", "text", "textId", "globalTid", "domainId"),
}
LAUNCHES = "CUPTI_ACTIVITY_KIND_RUNTIME"
ACTIVITIES = {
    "kernel": "CUPTI_ACTIVITY_KIND_KERNEL",
    "copy": "CUPTI_ACTIVITY_KIND_MEMCPY",
    "set": "CUPTI_ACTIVITY_KIND_MEMSET",
    "graph": "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",  # whole graphs, where nsys was not asked for their nodes
}
ACTIVITY_COLUMNS = ("start", "end", "deviceId", "streamId", "correlationId", "globalPid")


@dataclass(frozen=True)
class Report:
    """What an export holds. Times are nanoseconds since nsys began, pids and threads the operating system's.

    `ranges`: `start_ns`, `end_ns` (-1 where it never ended), `text`, `domain` ("" for none), `pid`, `thread`, `payload`
    (-1 where none). `marks`: the same without an end. `activity`, of the GPU: `start_ns`, `end_ns`, `kind`, `name`
    and `whole_name` (with what its templates are filled with; the same where that is not told), `pid`, `device`,
    `stream`, `correlation`, `bytes`; `launches`, the calls that started it: `start_ns`, `end_ns`,
    `pid`, `thread`, `correlation`. Both are empty where CUDA was not recorded.
    """

    path: Path
    version: str
    schema: str
    ranges: pd.DataFrame
    marks: pd.DataFrame
    activity: pd.DataFrame
    launches: pd.DataFrame


def read(path: Path) -> Report:
    """Read a `.sqlite`, or a `.nsys-rep` exported first; `EnginescopeError` where it is none of a known layout."""
    path = exported(path)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            tables = {name: _columns(file, name) for (name,) in file.execute("SELECT name FROM sqlite_master")}
            version, schema = _checked(file, path, tables)
            nvtx = _nvtx(file, path, tables)
            report = Report(path, version, schema, *_split(file, nvtx, tables), *_cuda(file, path, tables))
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise usage_error(f"{path} cannot be read as SQLite: {error}; export it again from the .nsys-rep") from None
    if not len(report.ranges) and not len(report.marks) and not len(report.activity):
        raise usage_error(
            f"{path} has no NVTX events and no CUDA activity: run nsys with --trace=nvtx,cuda, around the "
            "processes of interest"
        )
    return report


def has_activity(path: Path) -> bool:
    """Whether a `.sqlite` has a table of GPU activity, or cannot be read: `read` says then why."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error:
        return True
    return bool(tables & set(ACTIVITIES.values()))


def exported(path: Path) -> Path:
    """The SQLite file of a report, made where it is not there or older."""
    if path.is_dir():
        raise usage_error(f"{path} is a folder: name its {capture.STEM}.nsys-rep or {capture.STEM}.sqlite")
    if not path.is_file():
        raise usage_error(f"there is no file {path}: python -m tracing.record --nsys -- CMD makes one")
    if path.suffix != ".nsys-rep":
        return path
    sqlite = path.with_suffix(".sqlite")
    if not sqlite.exists() or sqlite.stat().st_mtime < path.stat().st_mtime:
        capture.export(path, sqlite)
    return sqlite


def _columns(file: sqlite3.Connection, table: str) -> tuple[str, ...]:
    return tuple(row[1] for row in file.execute(f'PRAGMA table_info("{table}")'))


def _checked(file: sqlite3.Connection, path: Path, tables: dict[str, tuple[str, ...]]) -> tuple[str, str]:
    """The release that exported the file and its schema number; refuses one that is not known."""
    meta = next((name for name in META if name in tables), None)
    about = dict(file.execute(f"SELECT name, value FROM {meta}")) if meta else {}
    version = about.get("EXPORT_PRODUCT_VERSION") or about.get("NSIGHT_SYSTEMS_VERSION") or "of an unknown version"
    schema = about.get("EXPORT_SCHEMA_VERSION") or "none"
    missing = [] if meta else [f"table {' or '.join(META)}"]
    for table, columns in (STRINGS | (NVTX_COLUMNS if NVTX in tables else {})).items():
        missing += _lacks(tables, table, columns)
    if NVTX in tables and not set(PAYLOADS) & set(tables[NVTX]):
        missing.append(f"{NVTX}.{PAYLOADS[0]}")
    if missing or schema.partition(".")[0] != str(SCHEMA_MAJOR):
        lacks = f"; missing: {', '.join(missing)}" if missing else ""
        raise usage_error(
            f"{path} is of an unknown layout: schema {schema}, Nsight Systems {version}{lacks}; "
            f"this reader knows schema {SCHEMA_MAJOR} as 2022.4 and later write it"
        )
    return version, schema


def _lacks(tables: dict[str, tuple[str, ...]], table: str, columns: tuple[str, ...]) -> list[str]:
    if table not in tables:
        return [f"table {table}"]
    return [f"{table}.{column}" for column in columns if column not in tables[table]]


def _processes(serialized: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Pid and thread of a serialized id: bits 24 to 47 and 0 to 23; above them stand the machine and the kind."""
    return serialized // 0x1000000 % 0x1000000, serialized % 0x1000000


# --- NVTX ---


def _nvtx(file: sqlite3.Connection, path: Path, tables: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    if NVTX not in tables:  # nsys ran without --trace=nvtx, or nothing made a range
        columns = ["start_ns", "end_ns", "type", "domain_id", "payload", "pid", "thread"]
        return pd.DataFrame({name: np.zeros(0, np.int64) for name in columns}).assign(text=np.zeros(0, object))
    payload = ", ".join(f"e.{name}" for name in PAYLOADS if name in tables[NVTX])
    frame = pd.read_sql_query(
        f"""SELECT e.start AS start_ns, iif(e.end >= e.start, e.end, -1) AS end_ns, e.eventType AS type,
                   coalesce(e.text, s.value, '') AS text, coalesce(e.domainId, 0) AS domain_id,
                   e.globalTid AS tid, coalesce({payload}, -1) AS payload
            FROM NVTX_EVENTS AS e LEFT JOIN StringIds AS s ON s.id = e.textId
            WHERE e.globalTid IS NOT NULL AND e.start IS NOT NULL
            ORDER BY e.start""",
        file,
    )
    frame["pid"], frame["thread"] = _processes(frame.pop("tid"))
    return frame


def _split(
    file: sqlite3.Connection, nvtx: pd.DataFrame, tables: dict[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ranges and marks, with the names of their domains: these are numbered by each process for itself."""
    types = dict(EVENT_TYPES)
    if "ENUM_NSYS_EVENT_TYPE" in tables:
        types |= {name: number for number, name in file.execute("SELECT id, name FROM ENUM_NSYS_EVENT_TYPE")}
    domains = nvtx[nvtx["type"] == types["NvtxDomainCreate"]].set_index(["pid", "domain_id"])["text"]
    named = pd.MultiIndex.from_frame(nvtx[["pid", "domain_id"]])
    nvtx["domain"] = domains[~domains.index.duplicated(keep="last")].reindex(named).fillna("").to_numpy()
    columns = ["start_ns", "end_ns", "text", "domain", "pid", "thread", "payload"]
    ranges = nvtx["type"].isin((types["NvtxPushPopRange"], types["NvtxStartEndRange"]))
    marks = nvtx["type"] == types["NvtxMark"]
    return nvtx.loc[ranges, columns].reset_index(drop=True), nvtx.loc[marks, columns].reset_index(drop=True)


# --- CUDA ---


def _cuda(
    file: sqlite3.Connection, path: Path, tables: dict[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The GPU's activity and the calls that launched it; tables are there only where something was recorded."""
    there = {kind: table for kind, table in ACTIVITIES.items() if table in tables}
    missing = [lack for table in there.values() for lack in _lacks(tables, table, ACTIVITY_COLUMNS)]
    if there:
        missing += _lacks(tables, LAUNCHES, ("start", "end", "globalTid", "correlationId"))
    if missing:
        raise usage_error(f"{path} has CUDA activity of an unknown layout; missing: {', '.join(missing)}")
    frames = [_activity(file, kind, table, tables[table]) for kind, table in there.items()]
    empty = ("start_ns", "end_ns", "kind", "name", "whole_name", "pid", "device", "stream", "correlation", "bytes")
    activity = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(empty))
    launches = pd.DataFrame(columns=["start_ns", "end_ns", "pid", "thread", "correlation"], dtype=np.int64)
    if there:
        launches = pd.read_sql_query(
            f"SELECT start AS start_ns, end AS end_ns, globalTid AS tid, correlationId AS correlation FROM {LAUNCHES} "
            "WHERE end >= start AND globalTid IS NOT NULL",
            file,
        )
        launches["pid"], launches["thread"] = _processes(launches.pop("tid"))
    return activity.sort_values("start_ns", ignore_index=True), launches


def _activity(file: sqlite3.Connection, kind: str, table: str, columns: tuple[str, ...]) -> pd.DataFrame:
    size = "a.bytes" if "bytes" in columns else "0"
    text, join = "''", ""
    if "shortName" in columns:
        text, join = "s.value", "LEFT JOIN StringIds AS s ON s.id = a.shortName"
    whole = "a.demangledName" if "demangledName" in columns else "0"
    frame = pd.read_sql_query(
        f"""SELECT a.start AS start_ns, a.end AS end_ns, coalesce({text}, '') AS name, a.deviceId AS device,
                   a.streamId AS stream, a.correlationId AS correlation, {size} AS bytes, a.globalPid AS process,
                   {whole} AS whole_name
            FROM {table} AS a {join} WHERE a.end >= a.start AND a.globalPid IS NOT NULL""",
        file,
    )
    frame["kind"], frame["pid"] = kind, _processes(frame.pop("process"))[0]
    whole_names = frame["whole_name"].map(_texts(file, frame["whole_name"])).astype(object)
    frame["whole_name"] = whole_names.where(whole_names.notna(), frame["name"])
    return frame


def _texts(file: sqlite3.Connection, numbers: pd.Series) -> dict[int, str]:
    """The texts of some numbers, one object for each: a kernel's whole name may be thousands of characters long."""
    distinct = [int(number) for number in numbers.dropna().unique()]
    rows = (file.execute("SELECT id, value FROM StringIds WHERE id = ?", (number,)).fetchone() for number in distinct)
    return {row[0]: row[1] for row in rows if row}
