"""Inside the process of one engine start: it starts the engine and serves trials to the sweep."""

from __future__ import annotations

import gc
import os
from dataclasses import asdict
from pathlib import Path

from enginescope_plugin import STEP_LOG
from offline.engine.adapter import Engine
from offline.engine.reference import time_kernel
from offline.engine.startfacts import start_facts
from offline.spec.grid import Cell
from offline.spec.prompts import workload
from offline.spec.settings import EngineSettings
from probes.processes.dialogue import Message, answer_commands
from tracing.events.step import STEP_FIELDS
from tracing.events.steplog import StepLog

ANSWERED_PROMPTS = 8


def start(settings: EngineSettings, steps: StepLog) -> tuple[Engine, Message]:
    """Start the engine; with it comes what a `StartRecord` says of it."""
    engine = Engine(settings)
    proof = steps.proof()
    kernels = engine.device_kernels()  # the first call takes its buffers and loads its code
    return engine, start_facts(steps, proof) | {
        "resolved": asdict(engine.resolved()),
        "model_config": engine.model_config(),
        "vocabulary": engine.vocabulary,
        "unhooked": sorted({name for process in proof for name in process.missing}),
        "import_start_ns": engine.import_start_ns,
        "engine_start_ns": engine.start_ns,
        "ready_ns": engine.ready_ns,
        "plugin_ns": {str(process.pid): process.plugin_ns for process in proof},
        "gpu_kernel_note": "; ".join(dict.fromkeys(each["note"] for each in kernels if "note" in each)),
    }


def prepare(engine: Engine, cell: Cell, seed: int) -> list[list[int]]:
    """Reset the prefix cache, and prime it for a warm cell; the prompts of the batch."""
    work = workload(cell, seed, engine.vocabulary)
    if not engine.reset_prefix_cache():
        raise RuntimeError("the engine did not reset its prefix cache: blocks are still held")
    if work.primer is not None:
        engine.generate([work.primer], 1)
    return work.prompts


def trial(engine: Engine, steps: StepLog, cell: Cell, seed: int, gpu: bool) -> Message:
    """One timed repeat, as a `TrialRecord` holds it: run the batch, and read what the core wrote about it.

    `gpu`: the fixed kernel is timed on the engine's devices too.
    """
    prompts = prepare(engine, cell, seed)
    gc.collect()  # so that a collection the trial did not earn does not fall into it; no other batch needs one
    before, mark = engine.counters(), steps.mark()
    kernels, reference = engine.device_kernels() if gpu else [], [time_kernel()]
    result = engine.generate(prompts, cell.output_len, cell.temperature)
    reference.append(time_kernel())
    kernels += engine.device_kernels() if gpu else []
    after, (log, lost) = engine.counters(), steps.since(mark)
    return asdict(result) | {
        "reference_ns": reference,
        "gpu_kernels": [each for each in kernels if "note" not in each],
        # Not before the timer: where the core lives in this process, our own collection before it is in the log too.
        "step_fields": STEP_FIELDS,
        "steps": [list(vars(step).values()) for step in log if step.start_ns >= result.start_ns],
        "steps_lost": lost,
        **{name: after[name] - before[name] for name in after},
    }


def answers(engine: Engine, length: int) -> Message:
    """Greedy answers to fixed prompts of `length` tokens, as many tokens each, as an `AnswersRecord` holds them."""
    cell = Cell(ANSWERED_PROMPTS, "cold", length, length, 0)
    tokens, log_probs = engine.answers(prepare(engine, cell, seed=0), length)
    return {"tokens": tokens, "log_probs": log_probs if all(log_probs) else []}


class TrialServer:
    """Answers the sweep's commands: one `start`, then any number of warm-ups and trials."""

    def __init__(self, steps: StepLog) -> None:
        self.steps = steps
        self.engine: Engine | None = None
        self.gpu = False

    def answer(self, command: Message) -> Message:
        """Do what a command says."""
        if command["do"] == "start":
            self.engine, started = start(command["settings"], self.steps)
            self.gpu = not started["gpu_kernel_note"]
            return started
        assert self.engine is not None, "the engine is not started"
        if command["do"] == "answers":
            return answers(self.engine, command["length"])
        cell = Cell(**command["cell"])
        if command["do"] == "trial":
            return trial(self.engine, self.steps, cell, command["seed"], self.gpu)
        prompts = prepare(self.engine, cell, command["seed"])
        self.engine.generate(prompts, cell.output_len, cell.temperature)  # a warm-up
        return {}


def main() -> None:
    """Serve the sweep, which names two inherited file descriptors in `sys.argv`."""
    server = TrialServer(StepLog(Path(os.environ[STEP_LOG])))
    answer_commands(server.answer)
    if server.engine is not None:
        server.engine.close()
