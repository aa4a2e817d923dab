"""Claimed edges: by the source alone, and in synthetic traces in which one thing at a time is not as claimed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notes.walkthrough.anchors import Anchor
from notes.walkthrough.chapters import Stop
from notes.walkthrough.edges import Edge, Evidence, edges, in_source
from notes.walkthrough.fragment import Fragment
from notes.walkthrough.tracededges import Trace
from tests.needs import needs_vllm
from tests.tracing.source.test_source import write_tree
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.source.tree import SourceTree

ROOT = Path(__file__).resolve().parents[3]
SCHEDULE = "vllm.v1.core.sched.scheduler:Scheduler.schedule"
EXECUTE = "vllm.v1.worker.gpu_worker:Worker.execute_model"
PREEMPT = "vllm.v1.core.sched.scheduler:Scheduler._preempt_request"
RECEIVE = "vllm.v1.serial_utils:MsgpackDecoder.decode"


def stop(fragment: str = "self.go()", **claims: str) -> Stop:
    return Stop("stop", Anchor("vllm.v1.engine.core:EngineCore.step", Fragment(fragment)), **claims)


CALL = stop(role="core", site="core.step", calls=SCHEDULE)
SEND = stop(role="core", site="executor.dispatch", sends_to=EXECUTE)


# --- by the source ---


@pytest.mark.parametrize(
    ("fragment", "target", "words"),
    [
        ("self.pack(1)", "vllm.shop:Shop.pack", ""),
        ("self.pick(1)", "vllm.shop:Shop.pack", "the fragment does not name pack, which it claims to call"),
        ("self.pack(1)", "vllm.shop:Shop.packs", "calls what is not there: vllm.shop:Shop.packs: class Shop"),
        ("self.pack(1)", "../shop:pack", "calls what cannot be looked up: '../shop:pack' is not a target"),
        ("self.pack(1)", "vllm.mall:Shop.pack", ""),  # it has moved
    ],
)
def test_a_call_is_in_the_fragment_and_its_end_is_there(tmp_path: Path, fragment: str, target: str, words: str) -> None:
    tree = SourceTree.find(write_tree(tmp_path, {"shop.py": "class Shop:\n    def pack(self, n): ...\n"}))
    (edge,) = edges(stop(fragment, role="core", calls=target))
    problem = in_source(edge, tree)
    assert problem.startswith(words) if words else problem == ""


# --- in a trace ---


def trace(
    folder: Path,
    schedule: tuple[int, int] = (1010, 1100),
    execute: int = 1250,
    thread: int = 1,
    core_serves: str = "core",
    other_flow: bool = False,
) -> Path:
    """Two requests of one step each. The core: step 1000-1900, with `schedule` in it, dispatch at 1200; then the same
    2000 later. What differs is a parameter."""
    front = TraceWriter(folder, 10, ["front end"])
    core = TraceWriter(folder, 11, [core_serves], parent=10, threads={1: "MainThread", 2: "Thread-1 (else)"})
    worker = TraceWriter(folder, 12, ["worker"], parent=11)
    for number in range(2):
        name, at = f"r{number}-ab", 2000 * number
        front.renamed(name, f"r{number}").span("llm.add_request", at + 100, at + 200, f"r{number}")
        front.span("input.assign_id", at + 110, at + 120, name)
        core.span("core.receive", at + 250, at + 260, name).span("core.add_request", at + 300, at + 350, name)
        core.span("core.step", at + 1000, at + 1900, step=number, thread=thread)
        of = 1 - number if other_flow else number
        core.span("scheduler.schedule", at + schedule[0], at + schedule[1], step=number).batch(number, {name: 1})
        core.span("executor.dispatch", at + 1200, at + 1240, step=number)
        worker.span("worker.execute", at + execute, at + execute + 300, step=of if other_flow else number)
        core.span("scheduler.free", at + 1850, at + 1860, name, step=number, extra="FINISHED_LENGTH_CAPPED")
        core.counts(number, {"decode_requests": 1}).message(number, 10**9 + number)
        front.span("output.process", at + 1950, at + 1990, step=10**9 + number)
    for process in (front, core, worker):
        process.close()
    return folder


def evidence(folder: Path, claimed: Stop) -> Evidence:
    (edge,) = edges(claimed)
    proof = Evidence(edge)
    Trace(timeline.read(folder), folder.name).hold(edge, proof)
    return proof


@pytest.mark.parametrize("claimed", [CALL, SEND], ids=["call", "send"])
def test_an_edge_is_seen_in_every_flow(tmp_path: Path, claimed: Stop) -> None:
    proof = evidence(trace(tmp_path), claimed)
    assert (proof.standing, proof.flows, proof.against) == ("seen", 2, [])


@pytest.mark.parametrize(
    ("claimed", "differs", "words"),
    [
        (CALL, {"schedule": (900, 990)}, "no scheduler.schedule inside a core.step on its thread"),
        (CALL, {"schedule": (1010, 1950)}, "no scheduler.schedule inside a core.step on its thread"),
        (CALL, {"thread": 2}, "core.step ran in thread Thread-1 (else) of the core process, not in the core"),
        (CALL, {"core_serves": "front end"}, "core.step ran in thread MainThread of the front end process"),
        (SEND, {"execute": 1150}, "worker.execute began before executor.dispatch"),
    ],
)
def test_an_edge_is_contradicted(tmp_path: Path, claimed: Stop, differs: dict[str, object], words: str) -> None:
    proof = evidence(trace(tmp_path, **differs), claimed)  # type: ignore[arg-type]
    assert proof.standing == "contradicted"
    assert f"{tmp_path.name}, request r0-ab: {words}" in (proof.against + proof.apart)[0]


def test_what_is_sent_runs_on_another_thread(tmp_path: Path) -> None:
    itself = stop(role="core", site="core.step", sends_to=SCHEDULE)
    proof = evidence(trace(tmp_path), itself)
    assert proof.standing == "contradicted" and "ran on one thread" in proof.apart[0]


def test_a_claimed_thread_counts(tmp_path: Path) -> None:
    named = stop(role="core", site="core.step", calls=SCHEDULE, thread="IOThread")
    proof = evidence(trace(tmp_path), named)
    assert "not in the core, thread IOThread" in proof.against[0]


def test_both_ends_are_in_one_flow(tmp_path: Path) -> None:
    """The worker ran a step of neither request: each end is there, but not in one flow."""
    folder = trace(tmp_path)
    worker = TraceWriter(folder, 12, ["worker"], parent=11)
    worker.span("worker.execute", 1250, 1500, step=7).close()
    proof = evidence(folder, SEND)
    assert proof.standing == "contradicted"
    assert proof.against == [f"{folder.name}: executor.dispatch and worker.execute were never in one flow"]


def test_another_caller_in_another_flow_is_no_contradiction(tmp_path: Path) -> None:
    folder = trace(tmp_path)
    proof = evidence(folder, CALL)
    Trace(timeline.read(trace(tmp_path / "apart", schedule=(900, 990))), "apart").hold(proof.edge, proof)
    assert (proof.standing, proof.flows, len(proof.apart)) == ("seen", 2, 2)


def test_what_did_not_happen_is_not_passed_and_what_has_no_site_not_measured(tmp_path: Path) -> None:
    folder = trace(tmp_path)
    assert evidence(folder, stop(role="core", site="scheduler.schedule", calls=PREEMPT)).standing == "not passed"
    assert evidence(folder, stop(role="core", site="core.step", calls="vllm.v1.engine.core:EngineCore.step")).standing
    unmeasured = Edge(stop(role="core"), "calls", SCHEDULE)
    assert Evidence(unmeasured).standing == "not measured"


# --- the command ---

CHAPTER = """+++
title = "One step"
summary = "A step."
+++

```stop
name = "step"
anchor = "vllm.v1.engine.core:EngineCore.step"
fragment = "scheduler_output = self.scheduler.schedule(self._should_throttle_prefills())"
role = "core"
site = "core.step"
calls = "vllm.v1.core.sched.scheduler:Scheduler.schedule"
```
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "notes.check", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@needs_vllm
def test_the_command_says_what_the_traces_say(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "01-step.md").write_text(CHAPTER)
    good, bad = trace(tmp_path / "good"), trace(tmp_path / "bad", thread=2)
    notes = ("--notes", str(tmp_path / "notes"))
    done = run(*notes, "--trace", str(good))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 edges in good: 1 seen"
    done = run(*notes, "--trace", str(good), "--trace", str(bad))
    assert done.returncode == 1
    assert "contradicted  01-step.md:6  step" in done.stdout
    done = run(*notes, "--trace", str(tmp_path / "none"))
    assert done.returncode == 2 and "there is no folder" in done.stderr and "Traceback" not in done.stderr


@needs_vllm
def test_an_edge_that_no_trace_passed_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "01-step.md").write_text(CHAPTER)
    core = TraceWriter(tmp_path / "idle", 11, ["core"])
    core.span("core.add_request", 1, 2).close()
    done = run("--notes", str(tmp_path / "notes"), "--trace", str(tmp_path / "idle"))
    assert done.returncode == 3
    assert "never passed here: core.step, scheduler.schedule" in done.stdout
