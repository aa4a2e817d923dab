"""AsyncLLM with 8 streams at once, one left half-way, one with n=2, one stopped by a word, and a request refused."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


async def stream(engine: Any, name: str, leave_after: int = 0, **sampling: Any) -> int:
    """Read a stream to its end, or leave it; how many outputs came."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(temperature=0.8, seed=1, output_kind=RequestOutputKind.DELTA, **sampling)
    count = 0
    async for _ in engine.generate(f"Hello, I am {name}, and", params, request_id=name):
        count += 1
        if leave_after and count == leave_after:
            break
    return count


async def talk(model: str) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = AsyncEngineArgs(
        model,
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=512,
        kv_cache_memory_bytes=64 << 20,
    )
    engine = AsyncLLM.from_engine_args(args)
    try:
        await stream(engine, "warm-up", max_tokens=8, ignore_eos=True)
        whole = [stream(engine, f"stream-{number}", max_tokens=24, ignore_eos=True) for number in range(6)]
        left = stream(engine, "left", leave_after=5, max_tokens=300, ignore_eos=True)
        twice = stream(engine, "twice", n=2, max_tokens=12, ignore_eos=True)
        print("outputs:", await asyncio.gather(*whole, left, twice), flush=True)
        try:
            await asyncio.wait_for(engine_refuses(engine), 30)
        except Exception as error:
            print("refused:", type(error).__name__, flush=True)
        await asyncio.sleep(0.2)  # the abort of the stream that was left reaches the core
    finally:
        engine.shutdown()


async def engine_refuses(engine: Any) -> None:
    """A prompt longer than the model's length: the front end says no before the core hears of it."""
    from vllm import SamplingParams

    async for _ in engine.generate({"prompt_token_ids": [1] * 600}, SamplingParams(max_tokens=4), request_id="refused"):
        pass


if __name__ == "__main__":
    asyncio.run(talk(sys.argv[1]))
