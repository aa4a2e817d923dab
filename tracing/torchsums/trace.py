"""Reads traces of the torch profiler, vLLM's own among them, event by event: a file of any size in bounded memory.

They lie in a trace folder's `torch/`: `.json` or `.json.gz` in the Chrome trace format, one a rank. A time in them is
`baseTimeNanoseconds` + `ts` microseconds of the wall clock (seen in torch 2.13: marks whose wall time was known lay
within 10 µs); an anchor of the recorder turns it into CLOCK_MONOTONIC.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import ijson  # type: ignore[import-untyped]

from probes.errors import EnginescopeError
from tracing.timeline.spans import Timeline

FOLDER = "torch"
Kind = Literal["operator", "launch", "kernel", "copy"]
# Kineto's categories. On AMD GPUs it writes those of CUDA, in some versions `hip_…`; Intel's, MTIA's and other devices'
# differ in their launches, MTIA's in its kernels too.
KINDS: dict[str, Kind] = {
    "cpu_op": "operator",
    "cuda_runtime": "launch",
    "cuda_driver": "launch",
    "hip_runtime": "launch",
    "hip_driver": "launch",
    "xpu_runtime": "launch",
    "xpu_driver": "launch",
    "mtia_runtime": "launch",
    "privateuse1_runtime": "launch",
    "privateuse1_driver": "launch",
    "kernel": "kernel",
    "mtia_ccp_events": "kernel",
    "gpu_memcpy": "copy",
    "gpu_memset": "copy",
}
READ_BYTES = 1 << 18
# Without `baseTimeNanoseconds`, as in older versions, `ts` is the wall clock's time itself: not before the year 2001.
LEAST_WALL_NS = 10**18


class Event(NamedTuple):
    """One interval of a torch trace, on the timeline's clock."""

    kind: Kind
    name: str
    pid: int  # of a kernel or a copy: the device
    thread: int  # the operating system's; of a kernel or a copy: the stream
    start_ns: int
    end_ns: int
    correlation: int  # the same in a launch and in what it launched; 0 for none

    @classmethod
    def read(cls, item: dict[str, Any], base_ns: int) -> Event | None:  # `item` is JSON
        """An event of the file whose times start at `base_ns`; None where it is of no kind in `KINDS`.

        Raises `LookupError`, `TypeError` or `ValueError` where it is no event of the torch profiler.
        """
        kind = KINDS.get(item.get("cat", ""))
        if kind is None or item.get("ph") != "X":
            return None
        start_ns = base_ns + round(item["ts"] * 1000)
        end_ns = start_ns + round(item.get("dur", 0) * 1000)
        arguments = item.get("args", {})
        correlation = 0 if kind == "operator" else int(arguments.get("correlation", 0))
        pid, thread = _number(item["pid"], arguments.get("device")), _number(item["tid"], arguments.get("stream"))
        return cls(kind, str(item["name"]), pid, thread, start_ns, end_ns, correlation)


def _number(label: Any, inside: Any) -> int:  # of the JSON of an event
    """A process or thread; where a device's is a text (`GPU 0`, `stream 7`), what the event's arguments say, or the
    number in it."""
    if isinstance(label, str) and not label.lstrip("-").isdigit():
        digits = re.search(r"\d+", label)
        return int(inside) if isinstance(inside, int) else int(digits[0]) if digits else 0
    return int(label)


class Clock(NamedTuple):
    """The wall clock less CLOCK_MONOTONIC, and by how much the processes of a trace disagree on it."""

    ahead_ns: int
    uncertainty_ns: int


def paths(folder: Path) -> list[Path]:
    """The torch traces of a trace folder."""
    return files(folder / FOLDER)


def files(folder: Path) -> list[Path]:
    """The torch traces in a folder and below."""
    return sorted(path for path in folder.rglob("*.json*") if path.name.endswith((".json", ".json.gz")))


def clock(timeline: Timeline) -> Clock | None:
    """The clock of a recorded run: the tightest anchor; None where no process wrote one.

    Anchors are taken as each process starts. A wall clock that is set meanwhile shows as disagreement.
    """
    anchors = [process.anchor for process in timeline.processes if process.anchor]
    if not anchors:
        return None
    best = min(anchors, key=lambda anchor: anchor.uncertainty_ns)
    disagreement_ns = max(abs(anchor.ahead_ns - best.ahead_ns) for anchor in anchors)
    return Clock(best.ahead_ns, disagreement_ns + best.uncertainty_ns)


def events(path: Path, ahead_ns: int) -> Iterator[Event]:
    """The operators, launches, kernels and copies of a file, in its order.

    Raises `EnginescopeError` where the file is cut short, or is none of the torch profiler's; what came before has then
    been yielded.
    """
    try:
        base_ns = _base_ns(path)
        with _opened(path) as file:
            items = ijson.items(file, "traceEvents.item", use_float=True, buf_size=READ_BYTES)
            for event in filter(None, (Event.read(item, base_ns - ahead_ns) for item in items)):
                if event.start_ns + ahead_ns < LEAST_WALL_NS:
                    raise EnginescopeError(
                        f"{path.name}: it has no baseTimeNanoseconds, and its times are not wall-clock times"
                    )
                if event.end_ns < event.start_ns:
                    raise EnginescopeError(f"{path.name}: its event {event.name} ends before it begins")
                yield event
    except (EOFError, ijson.IncompleteJSONError) as error:
        if "lexical error" in str(error):  # ijson calls every broken file incomplete
            raise EnginescopeError(f"{path.name} is not valid JSON: {' '.join(str(error).split())[:80]}") from None
        raise EnginescopeError(f"{path.name} ends in the middle: its profiler was not stopped (stop_profile)") from None
    except (LookupError, TypeError, ValueError, AttributeError):
        raise EnginescopeError(f"{path.name}: its events are not those of the torch profiler") from None
    except (OSError, zlib.error, ijson.JSONError) as error:
        raise EnginescopeError(f"{path.name} cannot be read as a trace of the torch profiler: {error}") from None


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _base_ns(path: Path) -> int:
    """The file's `baseTimeNanoseconds`, else 0.

    It stands before the events, or after them as some versions write it: the whole file is looked through then.
    """
    with _opened(path) as file:
        try:
            return int(next(ijson.items(file, "baseTimeNanoseconds", buf_size=READ_BYTES), 0))
        except ijson.IncompleteJSONError:
            return 0
