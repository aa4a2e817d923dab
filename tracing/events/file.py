"""One process's event file, taken apart, with what the process said of itself beside it.

Whatever a killed process leaves is read as far as it goes: a record, text or list that was cut is counted as torn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from probes.errors import EnginescopeError
from tracing.events import processfile
from tracing.events.layout import (
    HEADER,
    LIST,
    LISTS,
    MAGIC,
    MORE,
    PAYLOAD_BYTES,
    RAISED,
    RECORD,
    SPAN,
)
from tracing.events.processfile import KNOWN, READ, ProcessRecord, RecordedSite
from tracing.events.schemaone import SCHEMA_ONE, from_schema_one
from tracing.events.texts import read_texts
from tracing.sites.engine import ALL_SITES

WORDS = PAYLOAD_BYTES // 4
KIND_MASK, LAP_MASK, LAP_SHIFT = 0xFF, 0xFF, 8
SHARED_SITES = ("queue.put", "queue.get", "gc", "scope", "delay")  # on both sides: their role is that of the process


@dataclass
class EventFile:
    """One process's event file, taken apart."""

    process: ProcessRecord
    spans: np.ndarray
    texts: Mapping[int, str]
    lists: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]  # code -> headers, counts of words, all words
    torn: int
    dropped: int

    def table(self, code: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The heads of the lists of a code, and their integers, a row a list; one of another length is none of ours."""
        heads, counts, words = self.lists[code]
        right = counts == width
        return heads[right], words[np.repeat(right, counts)].reshape(-1, width)

    @cached_property
    def listed(self) -> np.ndarray:
        """The texts by number, '' where one was lost."""
        return np.array([self.texts.get(n, "") for n in range(max(self.texts, default=0) + 1)], dtype=object)


def read(path: Path, last: int | None = None) -> EventFile:
    """Take one file apart, or only its `last` records; raises `EnginescopeError` where it is none of ours or of
    another schema."""
    raw = np.fromfile(path, dtype=np.uint8)
    whole = len(raw) // RECORD.itemsize * RECORD.itemsize
    torn = int(raw[whole:].any())
    head = raw[: RECORD.itemsize].view(HEADER)[0] if whole else np.zeros(1, HEADER)[0]
    if head.tobytes().strip(b"\0"):  # without one it was killed at birth, before it wrote anything
        _check_head(path, head)
    records = raw[RECORD.itemsize : whole].view(RECORD)
    if head["schema"] == SCHEMA_ONE:
        records, texts, cut_texts = from_schema_one(records)
    else:
        records = _in_order(records, head)
        texts, cut_texts = read_texts(path.with_suffix(".texts"))
    records = records[-last:] if last else records
    process = processfile.read(path) or _guessed(processfile.pid_of(path), records)
    return apart(process, records, texts, torn + cut_texts, int(head["dropped"]))


def apart(
    process: ProcessRecord, records: np.ndarray, texts: Mapping[int, str], torn: int = 0, dropped: int = 0
) -> EventFile:
    """Take apart what a process wrote, the oldest first; those records that were cut have kind 0."""
    kinds = records["kind"].copy()  # side by side: all are looked at several times
    torn += int(np.count_nonzero(kinds == 0))
    lists, cut_lists = _all_lists(records, kinds)
    spans = records[(kinds == SPAN) | (kinds == RAISED)]
    known = spans["site"] < len(process.sites)
    torn += cut_lists + int(np.count_nonzero(~known))
    dropped = max(dropped, process.dropped)
    return EventFile(process, spans if known.all() else spans[known], texts, lists, torn, dropped)


def _in_order(records: np.ndarray, head: np.void) -> np.ndarray:
    """The records that were written and not overwritten, the oldest first; those that were cut have kind 0."""
    written, ring = int(head["written"]), int(head["ring"])
    if not ring:
        return records[:written]
    slot, lap = written % ring, written // ring
    records = records[:ring].copy()  # in its first lap the file may still be shorter
    laps = lap - (np.arange(len(records)) >= slot)
    stale = (records["kind"] >> LAP_SHIFT != laps & LAP_MASK) | (laps < 0)
    records["kind"] = np.where(stale, 0, records["kind"] & KIND_MASK)
    return np.roll(records, -slot) if lap else records[:slot]


def _check_head(path: Path, head: np.void) -> None:
    if head["magic"] != MAGIC:
        raise EnginescopeError(f"{path} is no event file of enginescope: remove it, or name another folder")
    if head["schema"] not in READ:
        raise EnginescopeError(f"{path} is of schema {head['schema']}, this reader knows {KNOWN}: record it again")


def _guessed(pid: int, records: np.ndarray) -> ProcessRecord:
    """What stands for a process file that is lost: the roles are those of the sites of this version that were seen."""
    sites = tuple(map(RecordedSite.of, ALL_SITES))
    spans = records[np.isin(records["kind"], (SPAN, RAISED))]
    present = [sites[number] for number in np.unique(spans["site"]) if number < len(sites)]
    serves = tuple(dict.fromkeys(site.role for site in present if site.name not in SHARED_SITES))
    return ProcessRecord(pid, serves=serves, sites=sites, is_lost=True)


def _payload(records: np.ndarray, heads: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the records at `heads`, whose payload has `value` words: which are whole, and their places of
    MORE records, one after the other. `others` are the places of all records that are none of these."""
    more = -(-records["value"][heads] // WORDS)
    ends = heads + 1 + more
    whole = (more >= 0) & (ends <= len(records))
    whole &= np.searchsorted(others, ends) == np.searchsorted(others, heads + 1)
    heads, more = heads[whole], more[whole]
    firsts = np.concatenate(([0], np.cumsum(more)))[:-1]
    places = np.repeat(heads + 1 - firsts, more) + np.arange(more.sum())
    return whole, places


def _bytes_at(records: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The payload bytes of the records at `places`: shape (len(places), 44)."""
    return records[places].view(np.uint8).reshape(-1, RECORD.itemsize)[:, :PAYLOAD_BYTES]


def _all_lists(
    records: np.ndarray, kinds: np.ndarray
) -> tuple[dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]], int]:
    lists, cut = {}, 0
    heads, others = np.flatnonzero(kinds == LIST), np.flatnonzero(kinds != MORE)
    for code in LISTS:
        mine = heads[records["site"][heads] == code]
        whole, places = _payload(records, mine, others)
        cut += int(np.count_nonzero(~whole))
        mine = mine[whole]
        counts = records["value"][mine]
        words = np.ascontiguousarray(_bytes_at(records, places)).view("<u4").reshape(-1)
        firsts = np.concatenate(([0], np.cumsum(-(-counts // WORDS) * WORDS)))[:-1]
        starts = np.concatenate(([0], np.cumsum(counts)))[:-1]
        kept = np.repeat(firsts - starts, counts) + np.arange(counts.sum())
        lists[code] = (records[mine], counts, words[kept])
    return lists, cut
