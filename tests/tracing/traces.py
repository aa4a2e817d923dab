"""Synthetic trace folders with known spans, in the recorder's layout but by another hand than the recorder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracing.events import layout
from tracing.sites.engine import ALL_SITES, CODES
from tracing.timeline.spans import COUNT_NAMES

SITE_KEYS = ("name", "stage", "role", "share", "numbers")


def text_entry(item: tuple[str, int]) -> bytes:
    """A text and its number, as they stand in the file of texts."""
    payload = item[0].encode()
    padding = b"\0" * (-len(payload) % layout.TEXT_ALIGNMENT)
    return layout.TEXT.pack(item[1], len(payload)) + payload + padding


def process_file(folder: Path, pid: int, **fields: Any) -> Path:
    """Write what a process says of itself, where nothing else is given a core's that ended in order; the file."""
    process = {
        "schema": layout.SCHEMA,
        "pid": pid,
        "parent": 1,
        "title": "synthetic",
        "serves": ["core"],
        "sites": [{key: getattr(site, key) for key in SITE_KEYS} for site in ALL_SITES],
        "hooked": list(CODES),
        "missing": [],
        "modes": [],
        "threads": {"1": "MainThread"},
        "anchor": {"monotonic_ns": 0, "wall_ns": 0, "uncertainty_ns": 1},
        "boot_id": "the only one",
        "started_ns": 0,
        "stopped_ns": 1,
        "dropped": 0,
        "error": None,
    }
    path = folder / f"process-{pid}.json"
    path.write_text(json.dumps(process | fields))
    return path


class TraceWriter:
    """One process of a synthetic trace: tell it spans and lists in any order, then `close` it."""

    def __init__(
        self, folder: Path, pid: int, serves: Sequence[str], parent: int = 1, threads: Mapping[int, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.pid, self.parent, self.serves = folder, pid, parent, list(serves)
        self.threads = dict(threads or {1: "MainThread"})
        self.pieces: list[np.ndarray] = []
        self.texts: dict[str, int] = {}

    def text(self, words: str | None) -> int:
        """The number of a text, written where it is new."""
        if words is None:
            return 0
        if words not in self.texts:
            self.texts[words] = len(self.texts) + 1
        return self.texts[words]

    def span(
        self,
        site: str,
        start: int,
        end: int,
        request: str | None = None,
        step: int = -1,
        value: int = 0,
        extra: int | str = 0,
        thread: int = 1,
        raised: bool = False,
    ) -> TraceWriter:
        """One span, times in nanoseconds; returns itself, so that calls can be chained."""
        kind = layout.RAISED if raised else layout.SPAN
        self._record(
            kind,
            start,
            end=end,
            request=self.text(request),
            step=step,
            value=value,
            extra=self.text(extra) if isinstance(extra, str) else extra,
            thread=thread,
            site=CODES[site],
        )
        return self

    def many(self, sites: np.ndarray, starts: np.ndarray, ends: np.ndarray, steps: np.ndarray) -> TraceWriter:
        """Spans by the million: site codes, times and steps as arrays of one length."""
        records = np.zeros(len(sites), layout.RECORD)
        records["site"], records["start"], records["end"], records["step"] = sites, starts, ends, steps
        records["thread"], records["kind"] = 1, layout.SPAN
        self.pieces.append(records)
        return self

    def batch(self, step: int, tokens: Mapping[str, int]) -> TraceWriter:
        """What a step scheduled: tokens by request."""
        words = [word for request, count in tokens.items() for word in (self.text(request), count)]
        return self._list(layout.BATCH, step, 0, words)

    def counts(self, step: int, counts: Mapping[str, int]) -> TraceWriter:
        """A step's counts, by the names of `COUNT_NAMES`; those that are not named are 0."""
        return self._list(layout.COUNTS, step, 0, [counts.get(name, 0) for name in COUNT_NAMES])

    def message(self, step: int, key: int, client: int = 0, outputs: int = 1) -> TraceWriter:
        return self._list(layout.MESSAGE, step, key, [client, outputs])

    def renamed(self, internal: str, external: str) -> TraceWriter:
        return self._list(layout.RENAMED, -1, 0, [self.text(internal), self.text(external)])

    def stopped(self, request: str, key: int) -> TraceWriter:
        """The front end found a stop string of a request in the message with this key."""
        return self._list(layout.STOPPED, key, 0, [self.text(request)])

    def device(self, step: int, begin: int, end: int, uncertainty: int = 1, given: int | None = None) -> TraceWriter:
        """A piece of a step's work on the device, in nanoseconds; all was launched at `given`, or at once."""
        times = (begin, end, begin if given is None else given)
        halves = (half for time in times for half in (time & 0xFFFFFFFF, time >> 32))
        return self._list(layout.DEVICE, step, 0, [*halves, uncertainty])

    def child(self, child: str, parent: str) -> TraceWriter:
        return self._list(layout.CHILD, -1, 0, [self.text(child), self.text(parent)])

    def traced(self, external: str, traceparent: str, is_own: bool, at: int) -> TraceWriter:
        """What OpenTelemetry calls the parent of a call with this id, noted at a time in nanoseconds."""
        return self._list(layout.TRACED, -1, 0, [self.text(external), self.text(traceparent), int(is_own)], at)

    def cost(self, site: str, ns: int) -> TraceWriter:
        """What watching a call cost."""
        return self._list(layout.COST, -1, 0, [CODES[site], ns])

    def close(self, **said: Any) -> Path:
        """Write the event file and the process file (`said` overrides what is in it); the event file's path."""
        header = np.zeros(1, layout.HEADER)
        header["magic"], header["schema"], header["pid"] = layout.MAGIC, layout.SCHEMA, self.pid
        header["written"] = sum(len(piece) for piece in self.pieces)
        path = self.folder / f"events-{self.pid}.bin"
        path.with_suffix(".texts").write_bytes(layout.TEXTS_MAGIC + b"".join(map(text_entry, self.texts.items())))
        with path.open("wb") as file:
            header.tofile(file)
            for piece in self.pieces:
                piece.tofile(file)
        known = {"parent": self.parent, "serves": self.serves, "threads": self.threads}
        process_file(self.folder, self.pid, **known | said)
        return path

    def _record(self, kind: int, start: int, **fields: int) -> None:
        record = np.zeros(1, layout.RECORD)
        record["kind"], record["start"] = kind, start
        for name, value in fields.items():
            record[name] = value
        self.pieces.append(record)

    def _more(self, payload: bytes) -> None:
        for at in range(0, len(payload), layout.PAYLOAD_BYTES):
            piece = payload[at : at + layout.PAYLOAD_BYTES].ljust(layout.PAYLOAD_BYTES, b"\0")
            tail = b"\0\0" + layout.MORE.to_bytes(2, "little")
            self.pieces.append(np.frombuffer(piece + tail, layout.RECORD))

    def _list(self, code: int, step: int, key: int, words: Sequence[int], at: int = 1) -> TraceWriter:
        self._record(layout.LIST, at, end=key, step=step, value=len(words), site=code)
        self._more(np.array(words, "<u4").tobytes())
        return self
