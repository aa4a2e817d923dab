"""The load of a measurement: an engine, and so many streams that each ask it again once they have been answered.

Nobody waits for anybody else's arrival, so its throughput is what the engine can do. Answers are long, so that nearly
all steps only decode.

Spawned processes of the engine import the program's main module again, and take the shape by that: so it has to be this
one (`started.ENTRY`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import tempfile
from pathlib import Path
from typing import Any

from tracing.shapes import platform, start
from tracing.shapes.engine.conversation import engine_settings
from tracing.shapes.shape import Shape

LENGTH = 2048  # of a prompt and its answer, in tokens
PROMPT_TOKENS = 32
FIRST_TOKEN, LAST_TOKEN = 100, 500  # ordinary ones, and there in a small vocabulary too
KV_BYTES = 1 << 30

SHAPE = start.started_shape()
if SHAPE:
    platform.take_shape(SHAPE)


def main(streams: str, model: str = "") -> None:
    """Keep so many streams running until Ctrl-C, on a model of the user's or on the shape's."""
    assert SHAPE is not None
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as scratch:
        asyncio.run(hold(settings(SHAPE, model, Path(scratch)), int(streams), SHAPE.vocabulary is None))


def settings(shape: Shape, model: str, scratch: Path) -> dict[str, Any]:
    """The engine's arguments."""
    small = engine_settings(shape, scratch) | {"max_model_len": LENGTH}
    return small | {"model": model, "load_format": "auto", "kv_cache_memory_bytes": KV_BYTES} if model else small


async def hold(arguments: dict[str, Any], streams: int, detokenize: bool) -> None:
    """The engine, and so many streams."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    try:
        await asyncio.gather(*(ask_again(engine, number, detokenize) for number in range(streams)))
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # while its modules are still there: vLLM's destructor needs them


async def ask_again(engine: Any, number: int, detokenize: bool) -> None:
    """One stream: a new prompt whenever the last answer is whole, read token by token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    draw, asked = random.Random(number), 0
    params = SamplingParams(
        max_tokens=LENGTH - PROMPT_TOKENS,
        temperature=0,
        ignore_eos=True,
        detokenize=detokenize,
        output_kind=RequestOutputKind.DELTA,
    )
    while True:
        prompt = {"prompt_token_ids": [draw.randint(FIRST_TOKEN, LAST_TOKEN) for _ in range(PROMPT_TOKENS)]}
        async for _ in engine.generate(prompt, params, f"stream-{number}-{asked}"):
            pass
        asked += 1
