"""py-spy's events: it writes one where a thread's stack changes, so that between two the stack stood as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tracing.pyspy.sampler import BEACON

CHUNK = 1 << 20
PROCESS = re.compile(r'process (\d+):"(.*)"$', re.S)
THREAD = re.compile(r"thread \((\d+)\)(?:: (.*))?$", re.S)
INSTALLED = re.compile(r".*/(?:site-packages|dist-packages|lib/python3\.\d+)/")


class Frame(NamedTuple):
    """A Python frame; `path` as py-spy gave it, `file` from the package or the standard library on."""

    name: str
    path: str
    line: int

    @property
    def file(self) -> str:
        return _short(self.path)

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})"


@cache
def _short(path: str) -> str:
    return INSTALLED.sub("", path)


Stack = tuple[Frame, ...]  # the outermost first
JsonEvent = dict[str, Any]  # as py-spy writes it: `name`, `ph`, `ts`, `args` and more


def events(path: Path) -> Iterator[JsonEvent | None]:
    """The events of a JSON array of any size, one by one; None at the end where the file breaks off."""
    decoder, buffer = json.JSONDecoder(), ""
    with path.open(encoding="utf-8", errors="replace") as file:
        while chunk := file.read(CHUNK):
            buffer += chunk
            at = 0
            while (start := buffer.find("{", at)) >= 0:
                try:
                    event, at = decoder.raw_decode(buffer, start)
                except ValueError:
                    break
                yield event
            buffer = buffer[at:]
    if not buffer.strip().endswith("]"):
        yield None


class EventReader:
    """Turns events into runs: (pid, thread, begin µs, end µs, stack) of an unchanged stack."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int, int, int]] = []
        self.beacon: list[tuple[int, int]] = []  # stamp in µs, the beacon's time
        self.stamps: set[int] = set()
        self.names: dict[tuple[int, int], str] = {}
        self.titles: dict[int, str] = {}
        self._nodes: dict[tuple[int, Frame], int] = {}
        self._stacks: list[tuple[int, Frame]] = []  # a stack is its caller's and a frame

    def read(self, path: Path) -> bool:
        """Read all; whether the file breaks off."""
        # py-spy ends and begins frames against the last sample with the same thread handle, of whatever process: forked
        # ones share the handles of their parent.
        open_: dict[int, list[int]] = {}
        latest: dict[tuple[int, int], int] = {}  # the stack of each thread after its last event
        since: dict[tuple[int, int], int] = {}
        threads: dict[tuple[int, int], int] = {}
        for event in events(path):
            if event is None:
                return True
            key, stamp = (event["pid"], event["tid"]), event["ts"]
            stack = open_.setdefault(event["tid"], [])
            if key in latest and stamp > since.get(key, stamp) and key in threads:
                self.runs.append((key[0], threads[key], since[key], stamp, latest[key]))
            since[key] = stamp
            self.stamps.add(stamp)
            if not self._is_label(event, key, threads):
                self._step(event, stack)
            if stack:
                latest[key] = stack[-1]
            else:
                latest.pop(key, None)
        return False

    def _is_label(self, event: JsonEvent, key: tuple[int, int], threads: dict[tuple[int, int], int]) -> bool:
        """The outermost frames are no frames: they name the process, its parents before it, and the thread."""
        if event["args"]["filename"]:
            return False
        if process := PROCESS.match(event["name"]):
            self.titles[int(process[1])] = process[2]
        elif thread := THREAD.match(event["name"]):
            if event["ph"] == "B":  # what ends may be a thread of another process
                threads[key] = int(thread[1])
                self.names[key[0], threads[key]] = thread[2] or ""
        else:
            return False
        return True

    def _step(self, event: JsonEvent, stack: list[int]) -> None:
        if event["ph"] == "E":
            if stack:
                stack.pop()
            return
        if event["name"].startswith(BEACON):
            self.beacon.append((event["ts"], int(event["name"].removeprefix(BEACON))))
        frame = Frame(event["name"], event["args"]["filename"], event["args"]["line"] or 0)
        node = (stack[-1] if stack else -1, frame)
        if node not in self._nodes:
            self._nodes[node] = len(self._stacks)
            self._stacks.append(node)
        stack.append(self._nodes[node])

    def all_stacks(self) -> list[Stack]:
        stacks: list[Stack] = []
        for caller, frame in self._stacks:  # a caller is always numbered before what it calls
            stacks.append((*(stacks[caller] if caller >= 0 else ()), frame))
        return stacks
