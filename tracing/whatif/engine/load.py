"""The load of an engine of our own: so many streams that each ask again once they have been answered, or requests that
arrive by themselves.

Streams wait for nobody else's arrival, so their throughput is what the engine can do. Their answers are long, so that
nearly all steps only decode, and end one after the other, as if the streams had run for long: a step takes longer the
more KV blocks it reads, and these should not grow and go all together. Arrivals are those of a Poisson process; their
answers are short, so that requests begin and end within a block.

Spawned processes of the engine import the program's main module again, and take the shape by that: so it has to be this
one (`started.ENTRY`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.serve.client import here, stream
from tracing.shapes import platform, start
from tracing.shapes.engine.conversation import engine_settings
from tracing.shapes.engine.server import served
from tracing.shapes.shape import Shape

LENGTH = 2048  # of a stream's prompt and its answer, in tokens
PROMPT_TOKENS, SHORT_TOKENS = 32, 32
ANSWER_TOKENS = LENGTH - PROMPT_TOKENS
FIRST_TOKEN, LAST_TOKEN = 100, 500  # ordinary ones, and there in a small vocabulary too
KV_BYTES = 1 << 30
ANSWER_S = 600.0  # until a server says something
APART_S = 0.5  # between the streams of a server

SHAPE = start.started_shape()
if SHAPE:
    platform.take_shape(SHAPE)


def main(streams: str, rate: str, model: str = "") -> None:
    """Keep so many streams running until Ctrl-C, or let so many requests a second arrive where streams are 0; on a
    model of the user's or on the shape's."""
    assert SHAPE is not None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script started us in the background
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as scratch:
        arguments = settings(SHAPE, model, Path(scratch))
        if SHAPE.front_end == "server":
            hold_server(arguments, int(streams), Path(scratch), SHAPE.front_ends)
        else:
            asyncio.run(hold(arguments, int(streams), float(rate), SHAPE.vocabulary is None))


def settings(shape: Shape, model: str, scratch: Path) -> dict[str, Any]:
    """The engine's arguments."""
    small = engine_settings(shape, scratch) | {"max_model_len": LENGTH}
    return small | {"model": model, "load_format": "auto", "kv_cache_memory_bytes": KV_BYTES} if model else small


def hold_server(arguments: dict[str, Any], streams: int, scratch: Path, front_ends: int) -> None:
    """A server under its load. Each request has a connection of its own, and they come one after the other: of several
    at once a front end takes all. Who asks ends with this process."""
    with served(arguments, scratch, front_ends) as port:
        askers = [
            threading.Thread(target=ask_server, args=(port, number, streams), daemon=True) for number in range(streams)
        ]
        for asker in askers:
            asker.start()
            time.sleep(APART_S)
        for asker in askers:
            asker.join()


def ask_server(port: int, number: int, streams: int) -> None:
    """One stream: a new prompt whenever the last answer is whole."""
    draw = random.Random(number)
    body = {"model": "m", "temperature": 0, "ignore_eos": True, "stream": True}
    for prompt, tokens in lengths(number, streams):
        request = {**body, "prompt": token_ids(draw, prompt), "max_tokens": tokens}
        for _ in stream(here(port), "/v1/completions", request, ANSWER_S):
            pass


def lengths(number: int, streams: int) -> Iterator[tuple[int, int]]:
    """The tokens of a stream's prompts and answers: of the first answer a part is in its prompt already."""
    begun = ANSWER_TOKENS * number // streams
    yield PROMPT_TOKENS + begun, ANSWER_TOKENS - begun
    yield from itertools.repeat((PROMPT_TOKENS, ANSWER_TOKENS))


async def hold(arguments: dict[str, Any], streams: int, rate: float, detokenize: bool) -> None:
    """The engine under its load."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    try:
        if streams:
            await asyncio.gather(*(ask_again(engine, number, streams, detokenize) for number in range(streams)))
        else:
            await arrive(engine, rate, detokenize)
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # while its modules are still there: vLLM's destructor needs them


async def ask_again(engine: Any, number: int, streams: int, detokenize: bool) -> None:
    """One stream: a new prompt whenever the last answer is whole."""
    draw = random.Random(number)
    for asked, (prompt, tokens) in enumerate(lengths(number, streams)):
        await ask(engine, f"stream-{number}-{asked}", token_ids(draw, prompt), tokens, detokenize)


async def arrive(engine: Any, rate: float, detokenize: bool) -> None:
    """Requests at so many a second, whatever became of those before."""
    draw = random.Random(0)
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            group.create_task(ask(engine, f"arrival-{number}", token_ids(draw), SHORT_TOKENS, detokenize))
            await asyncio.sleep(draw.expovariate(rate))


async def ask(engine: Any, name: str, prompt: list[int], tokens: int, detokenize: bool) -> None:
    """One request, read token by token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(
        max_tokens=tokens, temperature=0, ignore_eos=True, detokenize=detokenize, output_kind=RequestOutputKind.DELTA
    )
    async for _ in engine.generate({"prompt_token_ids": prompt}, params, name):
        pass


def token_ids(draw: random.Random, count: int = PROMPT_TOKENS) -> list[int]:
    """A new prompt."""
    return [draw.randint(FIRST_TOKEN, LAST_TOKEN) for _ in range(count)]
