"""Inside the process of the plain PyTorch side: it loads the model, and runs the batches that the engine runs too."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from offline.spec.grid import Cell
from offline.spec.prompts import workload
from offline.torchbaseline.batch import StaticBatch, batch_bytes
from offline.torchbaseline.model import TorchModel
from offline.variants.serving import ScheduledRequest
from probes.processes.dialogue import Message, answer_commands


class TorchTrials:
    """Answers `start`, then `warm_up` and `trial` in any number, as the process of an engine does."""

    def __init__(self) -> None:
        self.model: TorchModel | None = None

    def answer(self, command: Message) -> Message:
        """Do what a command says."""
        if command["do"] == "start":
            began = time.monotonic()
            self.model = TorchModel(Path(command["settings"]["model"]), command["settings"]["dtype"])
            return {"startup_s": time.monotonic() - began, "kv_bytes": self.model.memory.kv_bytes}
        assert self.model is not None, "the model is not loaded"
        return run_batch(self.model, Cell(**command["cell"]), command["seed"])


def run_batch(model: TorchModel, cell: Cell, seed: int) -> Message:
    """One static batch of the prompts that a seed gives every engine; all its requests end with its last step."""
    prompts = workload(cell, seed, model.vocabulary).prompts
    requests = (ScheduledRequest(i, 0.0, tuple(ids), cell.output_len) for i, ids in enumerate(prompts))
    batch, counts = StaticBatch(tuple(requests)), list[int]()
    gc.collect()  # so that a collection the trial did not earn does not fall into it
    start_ns = time.monotonic_ns()
    model.generate(batch, lambda tokens: counts.append(len(tokens)))
    end_ns = time.monotonic_ns()
    need = batch_bytes(batch, model.memory)
    return {"start_ns": start_ns, "end_ns": end_ns, "tokens": sum(counts), "batch_bytes": need}


def main() -> None:
    """Serve the command, which names two inherited file descriptors in `sys.argv`."""
    answer_commands(TorchTrials().answer)
