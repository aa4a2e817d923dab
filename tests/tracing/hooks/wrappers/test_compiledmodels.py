"""What is hooked of a loaded model, by what vLLM does to it: nothing, torch.compile inside it, or around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import needs_vllm
from tracing import timeline

ROOT = Path(__file__).resolve().parents[4]
# Compiled by vLLM's own classes, but with the backend that leaves the graph as it is. Prints what two calls gave, and
# how many graphs were made and broken.
PROGRAM = """
import sys
import torch
from torch._dynamo.utils import counters
from vllm.compilation.decorators import support_torch_compile
from vllm.compilation.wrapper import compile_model_with_stock_torch
from vllm.config import CompilationMode, VllmConfig, set_current_vllm_config
from tracing.hooks import _recorder, recorder
from tracing.hooks.wrappers.models import after_load

class Model(torch.nn.Module):
    def forward(self, hidden):
        return 2 * hidden

    def compute_logits(self, hidden):
        return hidden + 1

class Worker:
    def load_model(self):
        with set_current_vllm_config(config):
            self.model = Model()
            if mode is CompilationMode.STOCK_TORCH_COMPILE:  # as its model runner does
                compile_model_with_stock_torch(self.model, config)

    def get_model(self):
        return self.model

config, mode = VllmConfig(), CompilationMode[sys.argv[2]]
if mode is CompilationMode.DYNAMO_TRACE_ONCE:  # its class has a call of its own
    Model = support_torch_compile(dynamic_arg_dims={"hidden": 0})(Model)
config.compilation_config.mode, config.compilation_config.backend = mode, "eager"
recorder.begin(sys.argv[1], ["worker"])
worker = Worker()
after_load(Worker.load_model)(worker)
for step in (3, 4):
    _recorder.set_step(step)
    print(worker.model.compute_logits(worker.model(torch.ones(step))).tolist())
print(counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))
"""


@needs_vllm
@pytest.mark.slow(20)
@pytest.mark.parametrize(("mode", "graphs"), [("NONE", 0), ("DYNAMO_TRACE_ONCE", 1), ("STOCK_TORCH_COMPILE", 2)])
def test_every_call_of_a_model_is_a_span_and_its_graph_is_whole(tmp_path: Path, mode: str, graphs: int) -> None:
    """With a hook inside what is compiled, the compiler would refuse it. torch's own makes a graph a shape."""
    environment = {"VLLM_USE_AOT_COMPILE": "0"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), mode]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    answers = [[3.0] * 3, [3.0] * 4]
    assert ended.stdout.splitlines()[-3:] == [*map(str, answers), f"{graphs} 0"], ended.stderr[-3000:]
    read = timeline.read(tmp_path)
    spans = read.spans[read.spans["site"] != "gc"]
    assert spans[["site", "step"]].to_numpy().tolist() == [
        [site, step] for step in (3, 4) for site in ("model.forward", "model.logits")
    ]
    assert read.processes[0].hooked == ("model.forward", "model.logits")
