"""The run: both sides alive, one frozen while the other is timed, batches in rounds whose order is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from offline.baseline.memory import peak_bytes, resident_bytes
from offline.baseline.records import SIDES, TORCH, VLLM, SideMemory, SideRecord, SideStart, SideTrial
from offline.engine.process import start_process
from offline.spec.grid import Cell
from offline.spec.settings import EngineSettings
from probes.processes.dialogue import Message
from probes.processes.engine import EngineProcess

TORCH_ENTRY = "from offline.baseline.torchtrials import main; main()"
SEEDS = 1_000_003  # between two starts


@dataclass
class SideRunner:
    """What is compared, and where its lines go (`keep`); `progress` gets a line of text at each step."""

    batches: tuple[int, ...]
    input_len: int
    output_len: int
    rounds: int
    settings: Mapping[str, EngineSettings]  # of each side
    logs: Path
    limit_s: float
    seed: int
    keep: Callable[[SideRecord], None]
    progress: Callable[[str], None]
    open_process: Callable[[str, Path], EngineProcess] = field(default_factory=lambda: open_side)

    def run(self, start: int) -> None:
        """One start of both sides, and all rounds on it."""
        with ExitStack() as stack:
            sides = {side: stack.enter_context(self.open_process(side, self.logs)) for side in SIDES}
            for side, process in sides.items():
                self.progress(f"start {start}: {side}")
                self.begin(side, process, start)
                process.freeze()
            for number in range(self.rounds):
                draw = random.Random(f"{self.seed}/{start}/{number}")
                for side in draw.sample(SIDES, len(SIDES)):
                    self.progress(f"start {start}, round {number + 1} of {self.rounds}: {side}")
                    self.turn(side, sides[side], start, number, draw.sample(self.batches, len(self.batches)))
            for process in sides.values():
                process.thaw()
                process.stop()

    def begin(self, side: str, process: EngineProcess, start: int) -> None:
        """Start a side, warm each batch size up, and look at its memory during one more batch of each."""
        answer = process.ask({"do": "start", "settings": dict(self.settings[side])}, self.limit_s)
        reserved = self.settings[side].get("kv_cache_memory_bytes")
        self.keep(SideStart(side, start, startup_s(answer), resident_bytes(process.child), reserved))
        for batch in self.batches:
            self.ask(process, "warm_up", batch, self.seed_of(start, -1, batch))
        for batch in self.batches:
            with peak_bytes(process.child) as looks:
                self.ask(process, "warm_up", batch, self.seed_of(start, -2, batch))
            self.keep(SideMemory(side, start, batch, looks[0], max(looks), looks[-1]))

    def turn(self, side: str, process: EngineProcess, start: int, number: int, order: list[int]) -> None:
        """One side's part of a round: thawed, a batch that is not timed, then all batch sizes."""
        process.thaw()
        self.ask(process, "warm_up", min(order), self.seed_of(start, -3 - number, min(order)))
        for batch in order:
            seed = self.seed_of(start, number, batch)
            answer = self.ask(process, "trial", batch, seed)
            self.keep(side_trial(side, start, number, batch, seed, answer))
        process.freeze()

    def ask(self, process: EngineProcess, what: str, batch: int, seed: int) -> Message:
        """Run one batch; both sides get the same prompts for a seed."""
        cell = Cell(batch, "cold", self.input_len, self.output_len, 0)
        return process.ask({"do": what, "cell": asdict(cell), "seed": seed}, self.limit_s)

    def seed_of(self, start: int, number: int, batch: int) -> int:
        """A seed of its own for each batch of each round, from the run's."""
        return random.Random(f"{self.seed}/{start}/{number}/{batch}").randrange(SEEDS)


def open_side(side: str, logs: Path) -> EngineProcess:
    """The process of a side, whose output goes to a log of its own."""
    log = logs / f"{side}.log"
    return start_process(log) if side == VLLM else EngineProcess(TORCH_ENTRY, log, {"HF_HUB_OFFLINE": "1"})


def startup_s(answer: Message) -> float:
    """Seconds until a side was ready, its own imports left out where it does not tell them."""
    if "startup_s" in answer:
        return float(answer["startup_s"])
    return float(answer["ready_ns"] - answer["import_start_ns"]) / 1e9


def side_trial(side: str, start: int, number: int, batch: int, seed: int, answer: Message) -> SideTrial:
    """A timed batch from a side's answer. In a static batch all requests end with the last step."""
    elapsed_s = (answer["end_ns"] - answer["start_ns"]) / 1e9
    if side == TORCH:
        tokens, latencies = int(answer["tokens"]), (elapsed_s,) * batch
    else:
        requests = answer["requests"]
        tokens = sum(request["generated_tokens"] for request in requests)
        latencies = tuple(r["ttft_s"] + r["last_token_s"] - r["first_token_s"] for r in requests)
    return SideTrial(side, start, number, batch, seed, answer["start_ns"], answer["end_ns"], tokens, latencies)
