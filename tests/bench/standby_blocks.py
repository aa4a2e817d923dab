"""What standby costs an engine, from inside it: blocks of steps with the hooks in place against blocks with vLLM's own
functions in theirs, in one process and one engine.

All of the engine runs in this process, so that the hooks of all its processes are on the one thread that counts. Rounds
of three blocks in random order, one with the hooks and two without, while a batch decodes; a block's figure is the
median of its steps but for the first ones, in which Python learns its functions anew. `in / out` is the block with the
hooks above the mean of the two without, `out / out` one of these above the other, which should read zero: medians over
rounds with their 95 % interval. How many records a step makes in either state, when the recorder is turned on for it,
proves that the hooks were in and out; the collector's own hook is in both.

example: python tests/bench/standby_blocks.py --batch-size 1 16 --seconds 120
"""

from __future__ import annotations

import os

# Threads of the model that wait for each other would be most of what is measured where other work is on their cores.
os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "ENGINESCOPE": "standby", "OMP_NUM_THREADS": "1"}

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from enginescope_plugin import PACKAGE, TRACE
from probes.checkpoint import two_layer_model
from tracing.events.standing import PAUSED, RECORDING, SWITCH
from tracing.hooks.patching import MARK
from tracing.overhead.ledger import interval
from tracing.sites.engine import LIVE_TARGETS, SCOPE_TARGET, SITES, TRACER_TARGET

STEPS, LEFT_OUT = 24, 4  # of a block
PROMPT_TOKENS, OUTPUT_TOKENS, WARM_UP = 32, 900, 20
STEP_NS = 3_000_000  # the step that the target is a share of
IN, OUT = True, False


@dataclass(frozen=True)
class Place:
    """A name of a class or a module of vLLM's, what hooks it, and vLLM's own function."""

    owner: Any
    name: str
    hooked: Any
    bare: Any


def places() -> list[Place]:
    """Every place of this process that is hooked."""
    targets = [target for site in SITES for target in (*site.targets, *site.also)]
    return [place for target in {*targets, *LIVE_TARGETS, SCOPE_TARGET, TRACER_TARGET} for place in _of_target(target)]


def _of_target(target: str) -> Iterator[Place]:
    module_name, _, path = target.partition(":")
    owner_name, _, name = path.rpartition(".")
    module = sys.modules.get(module_name)
    owner = getattr(module, owner_name, None) if owner_name else module
    attribute = vars(owner).get(name) if owner is not None else None
    hooked = attribute.__func__ if isinstance(attribute, staticmethod) else attribute
    if not hasattr(hooked, MARK):
        return
    bare: Any = hooked
    while hasattr(bare, MARK):
        bare = bare.__wrapped__
    if owner is module:
        copies = [each for each in list(sys.modules.values()) if isinstance(each, ModuleType)]
        yield from (Place(each, name, hooked, bare) for each in copies if vars(each).get(name) is hooked)
    else:
        yield Place(owner, name, attribute, staticmethod(bare) if isinstance(attribute, staticmethod) else bare)


def of_model(model: Any) -> list[Place]:
    """The model's own methods that are hooked, on the model itself."""
    hooks = {name: vars(model).get(name) for name in ("forward", "compute_logits")}
    return [Place(model, name, hook, hook.__wrapped__) for name, hook in hooks.items() if hook]


class Engine:
    """The engine of this process; `put` takes the hooks out and in again."""

    def __init__(self, batch_size: int) -> None:
        from vllm import LLM

        self.batch_size, self.count = batch_size, 0
        self.engine = LLM(
            str(two_layer_model()),
            load_format="dummy",
            enforce_eager=True,
            dtype="float32",
            max_model_len=1024,
            kv_cache_memory_bytes=64 << 20,
            enable_prefix_caching=False,
        ).llm_engine
        self.core = self.engine.engine_core.engine_core
        self.places = [*places(), *of_model(self.core.model_executor.driver_worker.worker.get_model())]

    def put(self, state: bool) -> None:
        for place in self.places:
            setattr(place.owner, place.name, place.hooked if state is IN else place.bare)
        self.core.step_fn = getattr(self.core, self.core.step_fn.__name__)  # it was bound when the engine was made

    def add(self) -> None:
        from vllm import SamplingParams

        params = SamplingParams(temperature=0, max_tokens=OUTPUT_TOKENS, ignore_eos=True, detokenize=False)
        for _ in range(self.batch_size):
            self.count += 1
            prompt = {"prompt_token_ids": [1 + (7 * self.count + place) % 1000 for place in range(PROMPT_TOKENS)]}
            self.engine.add_request(str(self.count), prompt, params)

    def steps(self, count: int) -> list[int]:
        """Nanoseconds of each of some steps."""
        took = []
        for _ in range(count):
            start = time.perf_counter_ns()
            self.engine.step()
            took.append(time.perf_counter_ns() - start)
        return took

    def block(self, state: bool) -> float:
        self.put(state)
        return statistics.median(self.steps(STEPS)[LEFT_OUT:])

    def records(self, state: bool) -> float:
        """Records that a step makes while the recorder is on."""
        recorder, switch = sys.modules[f"{PACKAGE}.hooks._recorder"], Path(os.environ[TRACE], SWITCH)
        self.put(state)
        before = recorder.counts()[0]
        for byte in (RECORDING, PAUSED):
            with switch.open("r+b") as file:
                file.write(bytes([byte]))
            self.steps(10 if byte == RECORDING else 0)
        return (recorder.counts()[0] - before) / 10

    def drain(self) -> None:
        while self.engine.has_unfinished_requests():
            self.engine.step()


Round = tuple[float, float, float]  # with the hooks, and twice without


def rounds(engine: Engine, seconds: float) -> Iterator[Round]:
    """Rounds of blocks, batch after batch."""
    until_s, order = time.monotonic() + seconds, [IN, OUT, OUT]
    while time.monotonic() < until_s:
        engine.add()
        engine.steps(WARM_UP)
        for _ in range((OUTPUT_TOKENS - WARM_UP - 1) // (len(order) * STEPS)):
            random.shuffle(order)
            took = [(state, engine.block(state)) for state in order]
            [hooked] = [ns for state, ns in took if state is IN]
            first, second = random.sample([ns for state, ns in took if state is OUT], 2)  # later steps are longer
            yield hooked, first, second
        engine.drain()


def lines(done: list[Round]) -> Iterator[str]:
    """What came of it."""
    plain = statistics.median((first + second) / 2 for _, first, second in done)
    yield f"a step of {plain / 1e6:.2f} ms, {len(done)} rounds"
    for name, values in (
        ("in / out", [hooked - (first + second) / 2 for hooked, first, second in done]),
        ("out / out", [second - first for _, first, second in done]),
    ):
        change = interval(values)
        assert change.lo is not None and change.hi is not None
        shares = f"{change.median / STEP_NS:+.2%} [{change.lo / STEP_NS:+.2%}, {change.hi / STEP_NS:+.2%}] of 3 ms"
        yield f"{name:9}  {change.median / 1e3:+.1f} µs [{change.lo / 1e3:+.1f}, {change.hi / 1e3:+.1f}], {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=120.0, help="for each batch size (default 120)")
    args = parser.parse_args()
    engine = Engine(max(args.batch_size))
    print(f"{len(engine.places)} places are hooked", flush=True)
    for batch_size in args.batch_size:
        engine.batch_size = batch_size
        engine.add()
        records = [engine.records(state) for state in (IN, OUT)]
        engine.drain()
        print(f"batch {batch_size}: records a step with the hooks {records[0]:.1f}, without {records[1]:.1f}")
        print(*lines(list(rounds(engine, args.seconds))), sep="\n", flush=True)


if __name__ == "__main__":
    main()
