"""Situations that tests write down as dumps, and the first answer to one."""

from __future__ import annotations

from dataclasses import replace

from tests.tracing.hang.reports import MULTIPROC
from tracing.hang.chain import explain
from tracing.hang.explanation import HangAnswer
from tracing.hang.situation import Counters, ProcessState, Situation, of_reading
from tracing.hang.texts.dumptext import read_text

STUCK = Counters(5.0, 1, 0, ())


def worker(pid: int, title: str, *frames: str, state: str = "active") -> str:
    """A worker in a call; its frames are the innermost first."""
    shown = "\n".join(f"    {frame}" for frame in (*frames, f"worker_busy_loop ({MULTIPROC}:1041)"))
    return f'Process {pid}: VLLM::{title}\nThread {pid} ({state}): "MainThread"\n{shown}\n'


def situation(*texts: str) -> Situation:
    """What the texts tell; a process in two of them was looked at twice."""
    return of_reading(read_text("".join(texts), "test"))


def first(engine: Situation) -> HangAnswer:
    return explain(engine).answers[0]


def with_state(engine: Situation, pid: int, state: ProcessState) -> Situation:
    processes = tuple(replace(each, state=state) if each.pid == pid else each for each in engine.processes)
    return replace(engine, processes=processes)
