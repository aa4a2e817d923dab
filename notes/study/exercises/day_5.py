"""Day 5, the process split: the core's clients, the five stations of a request, what carries it between them, and who
is busy when."""

from __future__ import annotations

import ast
import random
from itertools import pairwise
from typing import Any

from notes.study import recording
from notes.study.exercises import Exercise, WrongAnswer, expect, same
from tracing.source.tree import SourceTree

STATIONS = ("core", "core input", "core output", "front end", "worker")  # as the day's text lists them
CARRIERS = ("ZMQ", "queue", "shared memory")
HOPS = {
    ("front end", "core input"): "ZMQ",
    ("core input", "core"): "queue",
    ("core", "worker"): "shared memory",
    ("worker", "core"): "shared memory",
    ("core", "core output"): "queue",
    ("core output", "front end"): "ZMQ",
}

CLIENTS_FILE = "v1/engine/core_client.py"
ROOT_CLASS = "EngineCoreClient"


def clients() -> dict[str, str]:
    """The classes below `EngineCoreClient` in the installed vLLM, each with its base."""
    bases: dict[str, str] = {}
    for node in ast.parse((SourceTree.find().root / CLIENTS_FILE).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.bases:
            base = ast.unparse(node.bases[0])
            if base == ROOT_CLASS or base in bases:
                bases[node.name] = base
    return bases


def hierarchy_right(mine: Any) -> str:
    """every client of the core stands there with the class that it is made from, and no other"""
    expected, answer = clients(), mine.CLIENTS
    expect(isinstance(answer, dict), "CLIENTS is no dict: {'InprocClient': 'EngineCoreClient', …}")
    for name, base in expected.items():
        expect(
            name in answer,
            f"CLIENTS misses a class: {len(set(expected) - set(answer))} of {len(expected)} are not there",
        )
        expect(
            answer[name] == base, f"{name} is not made from {answer[name]}", f"its `class` line in vllm/{CLIENTS_FILE}"
        )
    strange = sorted(set(answer) - set(expected))
    expect(not strange, f"{', '.join(strange)} is no client of the core", f"only what comes from {ROOT_CLASS}")
    return f"{len(expected)} clients in vLLM {SourceTree.find().version}"


def order_as_recorded(mine: Any) -> str:
    """the stations stand in the order in which a recorded request first came to them"""
    story = recording.read().first_token
    roles = list(dict.fromkeys(span.role for span in story))
    answer = list(mine.STATIONS)
    same(sorted(answer), sorted(roles), "STATIONS, sorted,", "each of the five, once")
    arrival_ms = {role: next(span.start_ns for span in story if span.role == role) / 1e6 for role in roles}
    for earlier, later in pairwise(answer):
        expect(
            arrival_ms[earlier] < arrival_ms[later],
            f"the recorded request came to {later} before it came to {earlier}",
            "python -m tracing.walk prints the role beside every place",
        )
    return ", ".join(f"{role} {at:.2f} ms" for role, at in arrival_ms.items())


def carriers_right(mine: Any) -> None:
    """each hop is carried by what you name"""
    expect(isinstance(mine.HOPS, dict), "HOPS is no dict: {('front end', 'core input'): …}")
    for pair in HOPS:
        expect(pair in mine.HOPS, f"HOPS has no hop from {pair[0]} to {pair[1]}")
    for pair in mine.HOPS:
        expect(pair in HOPS, f"nothing hops from {pair[0]} to {pair[1]}" if len(pair) == 2 else f"{pair} is no pair")
    for pair, carrier in HOPS.items():
        answer = mine.HOPS[pair]
        expect(answer in CARRIERS, f"{answer!r} is none of {', '.join(CARRIERS)}")
        expect(
            answer == carrier,
            f"it is not {answer} that carries {pair[0]} → {pair[1]}",
            "two threads of a process share a queue.Queue; two processes need a socket or a shared memory",
        )


def union_ns(spans: list[tuple[int, int]]) -> int:
    """How long at least one of the spans was running."""
    total, until = 0, -(10**18)
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0)
        until = max(until, end)
    return total


def counts_once(mine: Any) -> None:
    """it is right for 300 random sets of spans, also inside each other"""
    rng = random.Random(5)
    for case in range(300):
        starts = [rng.randint(0, 20) for _ in range(case // 40 + case % 3)]
        spans = [(start, start + rng.randint(0, 9)) for start in starts]
        busy_ns = mine.busy_ns(list(spans))
        if busy_ns == union_ns(spans):
            continue
        plain = sum(end - start for start, end in spans)
        raise WrongAnswer(
            f"busy_ns({spans}) is {busy_ns!r}, not {union_ns(spans)}",
            "a function inside another counts once: sort by start, and keep how far you have counted"
            if busy_ns == plain
            else "sort by start, and keep how far you have counted",
        )


def on_the_record(mine: Any) -> str:
    """it says who was busy while the first token of a recorded request was made"""
    story = [span for span in recording.read().first_token if not span.wait]
    whole_ns = max(span.end_ns for span in story)
    parts = []
    for role in dict.fromkeys(span.role for span in story):
        spans = [(span.start_ns, span.end_ns) for span in story if span.role == role]
        busy_ns = mine.busy_ns(list(spans))
        same(busy_ns, union_ns(spans), f"busy_ns of the {role}'s recorded spans")
        parts.append(f"{role} {busy_ns / 1e6:.2f} ms")
    return f"of {whole_ns / 1e6:.2f} ms to the first token: " + ", ".join(parts)


EXERCISES = (
    Exercise("CLIENTS", (hierarchy_right,)),
    Exercise("STATIONS", (order_as_recorded,)),
    Exercise("HOPS", (carriers_right,)),
    Exercise("busy_ns", (counts_once, on_the_record)),
)
