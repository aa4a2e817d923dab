"""The process of one start of a variant: what runs in it, and how the load command starts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from offline.engine.process import start_process
from offline.engine.threads import shared_threads
from offline.load.planning.schedule import read_schedule
from offline.load.records import FINISHED, ServedRequest
from offline.spec.settings import EngineSettings
from offline.variants.ratework import RateName, RateWork
from offline.variants.serving import Serving
from offline.variants.variant import SPLIT, engine_count
from probes.client.loops import freeze_heap, quick_loop
from probes.jsonform import encoded
from probes.processes.dialogue import Message, answer_commands
from probes.processes.engine import EngineProcess

# By a variant's kind, the module whose `start_serving` makes it from its settings.
MODULES = {
    "vllm": "offline.variants.vllmserving",
    SPLIT: "offline.variants.splitserving",
    "torch": "offline.torchbaseline.start",
    "server": "offline.variants.serverserving",
}
ENTRY = "from {module} import start_serving; from offline.variants.process import main; main(start_serving)"
RESET_TRIES = 10
StartServing = Callable[[EngineSettings], Serving]


def start_variant(
    kind: str, log: Path, settings: EngineSettings | None = None, environment: Mapping[str, str] | None = None
) -> EngineProcess:
    """Start the process of a variant of these settings, with `environment` added to ours.

    Its output is appended to `log`; its scratch folder holds the sender's socket.
    """
    own = {**shared_threads(settings or {}, engine_count(kind)), **(environment or {})}
    return start_process(log, ENTRY.format(module=MODULES[kind]), own)


class VariantServer:
    """Answers the load command: `start`, then `warm_up` and `rate` in any number."""

    def __init__(self, start_serving: StartServing, runner: asyncio.Runner) -> None:
        self.start_serving, self.runner = start_serving, runner
        self.serving: Serving | None = None

    def answer(self, command: Message) -> Message:
        """Do what a command says."""
        if command["do"] == "start":
            return self.runner.run(self.start(command["settings"]))
        assert self.serving is not None, "the variant is not started"
        if command["do"] == "warm_up":
            return self.runner.run(warm_up(self.serving, Path(command["schedule"])))
        return self.runner.run(rate(self.serving, command))

    async def start(self, settings: Message) -> Message:
        """Start the variant; what a `VariantStart` says of it."""
        began = time.monotonic()
        self.serving = self.start_serving(settings)
        facts: Message = getattr(self.serving, "start_facts", dict)()
        return facts | {
            "resolved": asdict(self.serving.resolved),
            "vocabulary": self.serving.vocabulary or None,
            "startup_s": time.monotonic() - began,
        }


async def warm_up(serving: Serving, path: Path) -> Message:
    """Run a schedule's requests, the first alone and the others together, unmeasured."""
    first, *others = read_schedule(path).requests
    endings = [await serving.submit(first, lambda *_: None)]
    endings += await asyncio.gather(*(serving.submit(each, lambda *_: None) for each in others))
    for ending in endings:
        if ending.finish not in FINISHED:
            raise RuntimeError(f"a warm-up request ended with {ending.finish}: {ending.error or 'no reason given'}")
    return {}


async def empty(serving: Serving) -> bool:
    """Forget all cached prefixes; requests of the last rate that were given up may hold some for a moment yet."""
    for _ in range(RESET_TRIES):
        if await serving.reset():
            return True
        await asyncio.sleep(0.1)
    return False


async def rate(serving: Serving, command: Message) -> Message:
    """Serve one schedule; its requests and steps go to the start's files as they end."""
    folder, schedule = Path(command["folder"]), read_schedule(Path(command["schedule"]))
    name = RateName(command["variant"], command["start"], schedule.head.rate_req_s)
    reset = await empty(serving)
    serving.steps()
    experts: Callable[[], list[list[int]]] = getattr(serving, "expert_tokens", list)
    experts()
    freeze_heap()
    with (folder / "requests.jsonl").open("ab") as requests, (folder / "steps.jsonl").open("ab") as steps:

        def write(request: ServedRequest) -> None:  # while others run, on the loop that stamps their tokens
            requests.write(encoded(request) + b"\n")
            requests.flush()

        work = RateWork(serving, schedule, name, write)
        measured = await work.run(Path(command["socket"]), command["drain_s"], reset)
        lines, lost = serving.steps()
        steps.writelines(encoded(line) + b"\n" for line in lines)
    tokens = tuple(map(tuple, experts()))
    return asdict(replace(measured, steps_lost=lost, expert_tokens=tokens))


def main(start_serving: StartServing) -> None:
    """Serve the load command, which names two inherited file descriptors in `sys.argv`."""
    with asyncio.Runner(loop_factory=quick_loop()) as runner:
        server = VariantServer(start_serving, runner)
        try:
            answer_commands(server.answer)
        finally:
            if server.serving is not None:
                server.serving.close()
