"""AsyncLLM with eight streams that begin anew for ever, which stalls when it is told to. Prints `ready` once they run.

Arguments: the model's folder, and a file of one `ORDER`: what is to be done (0 when it is done), and for how long in
nanoseconds. What is done in the core is done inside the function that the recorder watches.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import mmap
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

ORDER = struct.Struct("<qq")
SLEEP, COLLECT, SLOW_CLIENT, LONG_PROMPT, FULL_CACHE = range(1, 6)  # the first two in the core
LONGEST, KV_BYTES = 7168, 16 << 20  # tokens of a request and of a step; 64 blocks of 128 tokens
LONG_TOKENS = 6400  # of one step, and with the eight streams no more than the KV cache has
FULL_PROMPT, FULL_TOKENS, FULL_REQUESTS = 500, 40, 12  # prompts that fit together; each soon needs a block more


def taken(page: mmap.mmap, *whats: int) -> tuple[int, int]:
    """The order, where it is one of those; (0, 0) else. Nobody else takes it then."""
    what, ns = ORDER.unpack_from(page)
    if what not in whats:
        return 0, 0
    ORDER.pack_into(page, 0, 0, 0)
    return what, ns


def collect(ns: int) -> None:
    """Collect heaps of cycles for so long."""
    heap = []
    for _ in range(200_000):
        node: list[Any] = []
        node.append(node)
        heap.append(node)
    until = time.monotonic_ns() + ns
    while time.monotonic_ns() < until:
        gc.collect()


def patch(page: mmap.mmap) -> None:
    """Let the core's scheduler do what it is told; forked processes have this too."""
    from vllm.v1.core.sched.scheduler import Scheduler

    schedule: Callable[..., Any] = Scheduler.schedule

    def stalled(self: Scheduler, *args: Any, **kwargs: Any) -> Any:
        what, ns = taken(page, SLEEP, COLLECT)
        if what == SLEEP:
            time.sleep(ns / 1e9)
        elif what == COLLECT:
            collect(ns)
        return schedule(self, *args, **kwargs)

    Scheduler.schedule = stalled


async def talk(engine: Any, name: str, tokens: int, page: mmap.mmap) -> None:
    for number in itertools.count():
        await ask(engine, f"{name}-{number}", f"Hello, I am {name}, and", tokens, page)
        if not number and name == "talker-0":
            print("ready", flush=True)


async def ask(engine: Any, name: str, prompt: Any, tokens: int, page: mmap.mmap | None = None) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(temperature=0.8, max_tokens=tokens, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    async for output in engine.generate(prompt, params, request_id=name):
        what, ns = taken(page, SLOW_CLIENT) if page and not output.finished else (0, 0)  # behind the last none waits
        if what:
            await asyncio.sleep(ns / 1e9)


def prompt_of(tokens: int, number: int) -> dict[str, list[int]]:
    return {"prompt_token_ids": [1 + (7 * number + place) % 1000 for place in range(tokens)]}


async def obey(engine: Any, page: mmap.mmap) -> None:
    """Send the requests that it is told to."""
    for number in itertools.count():
        what, _ = taken(page, LONG_PROMPT, FULL_CACHE)
        if what == LONG_PROMPT:
            await ask(engine, f"long-{number}", prompt_of(LONG_TOKENS, number), 2)
        elif what == FULL_CACHE:
            prompts = [prompt_of(FULL_PROMPT, number + place) for place in range(FULL_REQUESTS)]
            names = [f"full-{number}-{place}" for place in range(FULL_REQUESTS)]
            await asyncio.gather(*(ask(engine, *each, FULL_TOKENS) for each in zip(names, prompts, strict=True)))
        await asyncio.sleep(0.02)


async def main(model: str, path: str) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    with open(path, "r+b") as file:
        page = mmap.mmap(file.fileno(), ORDER.size)
    patch(page)
    args = AsyncEngineArgs(
        model,
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=LONGEST,
        max_num_batched_tokens=LONGEST,
        kv_cache_memory_bytes=KV_BYTES,
        enable_prefix_caching=False,
    )
    engine = AsyncLLM.from_engine_args(args)
    talkers = [talk(engine, f"talker-{number}", 20 + 3 * number, page) for number in range(8)]
    await asyncio.gather(*talkers, obey(engine, page))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
