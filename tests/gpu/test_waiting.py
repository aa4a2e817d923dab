"""What py-spy sees of threads that wait for a GPU, launch on it, or work beside it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest

from tests.needs import needs_gpu
from tracing.pyspy import attribution, samples
from tracing.pyspy.__main__ import attach
from tracing.pyspy.waitingframes import GPU, LAUNCH, WORKING

pytestmark = needs_gpu
# Each function of the program lasts about a second: it is the one whose name the samples of that time carry.
PROGRAM = """
import time
import torch

matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
event = torch.cuda.Event()
started = time.monotonic()

def give_work(count=8):
    for _ in range(count):
        torch.mm(matrix, matrix)

def for_a_second(act):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        act()

def waits_for_all():
    give_work(); torch.cuda.synchronize()

def waits_for_an_event():
    give_work(); event.record(); event.synchronize()

def waits_for_the_stream():
    give_work(); torch.cuda.current_stream().synchronize()

def replays_a_graph():
    graph.replay()

def works():
    sum(range(100_000))

give_work(); torch.cuda.synchronize()
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    give_work()
print("ready", flush=True)
input()
for act in (waits_for_all, waits_for_an_event, waits_for_the_stream, replays_a_graph, works):
    for_a_second(act)
    torch.cuda.synchronize()
"""
EXPECTED = {
    "waits_for_all": GPU,
    "waits_for_an_event": GPU,
    "waits_for_the_stream": GPU,
    "replays_a_graph": LAUNCH,
    "works": WORKING,
}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.Series]:
    """Of each function of the program: the shares of its time by state."""
    folder = tmp_path_factory.mktemp("waiting")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, program], stdin=-1, stdout=-1, text=True, bufsize=1) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        read = samples.read(attach(process.pid, 6, 200, folder / "samples"))
        process.kill()
    frame = attribution.attributed(read, None)
    functions = [next((f.name for f in stack if f.name in EXPECTED), "") for stack in read.stacks]
    frame["function"] = [functions[stack] for stack in frame["stack"]]
    innermost = Counter((functions[stack], read.stacks[stack][-1][:2]) for stack in frame["stack"])
    print(*innermost.most_common(20), sep="\n")
    weights = frame[frame["function"] != ""].groupby(["function", "state"])["weight_ns"].sum()
    return {name: weights[name] / weights[name].sum() for name in weights.index.unique("function")}


@pytest.mark.parametrize("function", EXPECTED)
def test_most_of_a_functions_time_is_what_it_does(function: str, states: dict[str, pd.Series]) -> None:
    assert states[function].idxmax() == EXPECTED[function], states[function]
    assert states[function].max() > 0.8
