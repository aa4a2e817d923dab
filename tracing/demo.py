"""A short conversation with the real engine to look at: some streams at once from AsyncLLM on the default model.

Example: python -m tracing.record        (which runs this, watched)
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from pathlib import Path
from typing import Any

from probes.arguments import CommandParser

STREAMS = 4
TOKENS = 32
PROMPTS = (
    "The three primary colors are",
    "Tell me something about the city of Paris.",
    "Once upon a time there was a small robot that",
    "What is the difference between a process and a thread?",
)


def engine_args(model: Path) -> Any:
    """The engine of the demonstration: eager, with a small KV cache, so that it starts soon."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    return AsyncEngineArgs(
        model=str(model), enforce_eager=True, max_model_len=1024, kv_cache_memory_bytes=256 << 20, dtype="float32"
    )


async def stream(engine: Any, number: int) -> str:
    """One request, read token by token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    text, params = "", SamplingParams(max_tokens=TOKENS, temperature=0, output_kind=RequestOutputKind.DELTA)
    async for output in engine.generate(PROMPTS[number % len(PROMPTS)], params, request_id=f"demo-{number}"):
        text += output.outputs[0].text
    return text


async def talk(model: Path) -> None:
    """All streams at once, after one alone that warms the engine up."""
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(engine_args(model))
    try:
        await stream(engine, 0)
        texts = await asyncio.gather(*(stream(engine, number) for number in range(1, STREAMS + 1)))
        for number, text in enumerate(texts, 1):
            print(f"demo-{number}: {text.strip()[:70]!r}", flush=True)
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # while its modules are still there: vLLM's destructor needs them


def main() -> None:
    """The command."""
    parser = CommandParser(
        prog="python -m tracing.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    from probes.checkpoint import default_model

    asyncio.run(talk(default_model()))


if __name__ == "__main__":
    main()
