"""The load of a measurement: an engine, and so many streams that each ask it again once they have been answered.

Nobody waits for anybody else's arrival, so its throughput is what the engine can do. Answers are long, so that nearly
all steps only decode.
"""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
from pathlib import Path
from typing import Any

from tracing.shapes.engine.conversation import engine_settings
from tracing.shapes.shape import Shape

LENGTH = 2048  # of a prompt and its answer, in tokens
PROMPT_TOKENS = 32
FIRST_TOKEN, LAST_TOKEN = 100, 500  # ordinary ones, and there in a small vocabulary too
KV_BYTES = 1 << 30


def run(model: Path | None, shape: Shape, streams: int) -> None:
    """Be the engine's front end until Ctrl-C; without a `model` of the user's, that of the shape."""
    with tempfile.TemporaryDirectory(prefix="enginescope-whatif-") as scratch:
        settings = engine_settings(shape, Path(scratch)) | {"max_model_len": LENGTH}
        if model:
            settings |= {"model": str(model), "load_format": "auto", "kv_cache_memory_bytes": KV_BYTES}
        asyncio.run(hold(settings, streams))


async def hold(settings: dict[str, Any], streams: int) -> None:
    """Keep so many streams running."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))
    try:
        await asyncio.gather(*(ask_again(engine, number) for number in range(streams)))
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # while its modules are still there: vLLM's destructor needs them


async def ask_again(engine: Any, number: int) -> None:
    """One stream: a new prompt whenever the last answer is whole, read token by token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    draw, asked = random.Random(number), 0
    params = SamplingParams(
        max_tokens=LENGTH - PROMPT_TOKENS, temperature=0, ignore_eos=True, output_kind=RequestOutputKind.DELTA
    )
    while True:
        prompt = {"prompt_token_ids": [draw.randint(FIRST_TOKEN, LAST_TOKEN) for _ in range(PROMPT_TOKENS)]}
        async for _ in engine.generate(prompt, params, f"stream-{number}-{asked}"):
            pass
        asked += 1
