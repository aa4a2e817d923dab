"""AsyncLLM with eight streams that begin anew for ever, and a long one. Prints `ready` once they run."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any


async def talk(engine: Any, name: str, tokens: int) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(temperature=0.8, max_tokens=tokens, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    for number in itertools.count():
        async for _ in engine.generate(f"Hello, I am {name}, and", params, request_id=f"{name}-{number}"):
            pass
        if not number and name == "talker-0":
            print("ready", flush=True)


async def main(model: str) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = AsyncEngineArgs(
        model,
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=4096,
        kv_cache_memory_bytes=64 << 20,
    )
    engine = AsyncLLM.from_engine_args(args)
    talkers = [talk(engine, f"talker-{number}", 20 + 3 * number) for number in range(8)]
    await asyncio.gather(*talkers, talk(engine, "long", 4000))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
