"""What one span costs: a hooked method against the bare one, with its request, step and numbers, beside other tracers.

Every way records the same small method. In each round all take their turn; the figures are medians over rounds, with
the 5th and 95th percentile. `list and thread` is the other way to build a recorder, a tuple appended to a list that a
thread packs and writes, and pays for that thread as well. What a tool that hears the ranges adds shows under it:
nsys profile -t nvtx -s none python tests/bench/recorder.py
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nvtx
from viztracer import VizTracer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from probes.devices import nvtxlibrary
from tracing.events import layout
from tracing.hooks import _recorder, ranges
from tracing.sites.engine import ALL_SITES

Method = Callable[[Any, Any], int]
PERIOD_S = 0.05


def allocate(blocks: Any, request: Any) -> int:
    return 1


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Method]:
    yield allocate


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[None]:
    """An event file, kept ahead as in an engine."""
    _recorder.start(str(folder / f"{time.monotonic_ns()}.bin"), layout.SCHEMA, 1 << 24)
    done = threading.Event()

    def keep() -> None:
        while not done.wait(0.02):
            _recorder.extend()

    thread = threading.Thread(target=keep)
    thread.start()
    yield
    done.set()
    thread.join()
    written, dropped = _recorder.counts()
    assert dropped == 0, f"{dropped} of {written} spans dropped"
    _recorder.stop()


def make_ranges() -> None:
    named: list[tuple[str | None, int]] = [(site.name, ranges.color(site.stage)) for site in ALL_SITES]
    _recorder.make_ranges(str(nvtxlibrary.library()), layout.DOMAIN, named)


@contextlib.contextmanager
def hook(folder: Path, numbers: bool = False, ranged: bool = False) -> Iterator[Method]:
    if ranged:
        make_ranges()
    read = (lambda result, *_: (result, 0)) if numbers else None
    with recording(folder):
        yield _recorder.Hook(allocate, 1, 1, "request", "request_id", read)  # type: ignore[misc]


@contextlib.contextmanager
def list_and_thread(folder: Path) -> Iterator[Method]:
    buffer: list[tuple[Any, ...]] = []
    append, now, ident, done = buffer.append, time.monotonic_ns, threading.get_ident, threading.Event()
    record = struct.Struct("<qqqq")

    @functools.wraps(allocate)
    def recorded(blocks: Any, request: Any) -> int:
        start = now()
        result = allocate(blocks, request)
        append((1, start, now(), ident(), request.request_id, result))
        return result

    def drain(file: Any) -> None:
        while not done.wait(PERIOD_S):
            batch = buffer[:]
            del buffer[: len(batch)]
            file.write(b"".join(record.pack(site, start, end, thread) for site, start, end, thread, _, _ in batch))

    with (folder / "list.bin").open("wb") as file:
        thread = threading.Thread(target=drain, args=(file,))
        thread.start()
        yield recorded
        done.set()
        thread.join()


@contextlib.contextmanager
def nvtx_decorator(folder: Path) -> Iterator[Method]:
    yield nvtx.annotate("allocate", domain="bench")(allocate)


@contextlib.contextmanager
def viztracer(folder: Path) -> Iterator[Method]:
    with VizTracer(output_file=str(folder / "viz.json"), verbose=0, tracer_entries=2_000_000) as tracer:
        tracer.save = lambda *args, **kwargs: None  # type: ignore[method-assign]
        yield allocate


WAYS = {
    "bare": bare,
    "hook: request and step": hook,
    "hook: request, step, numbers": functools.partial(hook, numbers=True),
    "hook: request, step; NVTX range": functools.partial(hook, ranged=True),
    "hook: all three; NVTX range, mark": functools.partial(hook, numbers=True, ranged=True),
    "list and thread": list_and_thread,
    "nvtx.annotate, no tool attached": nvtx_decorator,
    "viztracer": viztracer,
}


def round_ns(way: Callable[[Path], Any], folder: Path, calls: int) -> float:
    """Nanoseconds a call of one round of one way, the thread that writes included."""
    request = SimpleNamespace(request_id="cmpl-1")
    with way(folder) as method:
        owner = type("Blocks", (), {"allocate": method})()
        start = time.perf_counter_ns()
        for _ in range(calls):
            owner.allocate(request)
        return (time.perf_counter_ns() - start) / calls


def apart(way: Callable[[Path], Any], folder: Path, calls: int) -> float:
    """The same in a process of its own: ranges, once made, are made from then on."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(round_ns(way, folder, calls)))
    child.start()
    theirs.close()  # so that a child that fails is the end of it
    took = float(ours.recv())
    child.join()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/recorder.py --rounds 20")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100_000)
    args = parser.parse_args()
    costs: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            plain = apart(bare, Path(scratch), args.calls)
            for name, way in WAYS.items():
                costs[name].append(apart(way, Path(scratch), args.calls) - (0 if way is bare else plain))
    print(f"nanoseconds a call above the bare method, {args.rounds} rounds of {args.calls} calls")
    for name, values in costs.items():
        low, *_, high = statistics.quantiles(values, n=20)
        print(f"  {name:34} {statistics.median(values):7.0f}   [{low:.0f}, {high:.0f}]")


if __name__ == "__main__":
    main()
