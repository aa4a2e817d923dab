"""A short conversation with the real engine to look at: some streams at once from AsyncLLM on the default model.

With --shape, an engine in the shape of another deployment, on a two-layer model; --device-ms gives it a pretend device
whose steps take so long.

examples:
  python -m tracing.record                                             which runs this, watched
  python -m tracing.record -- python -m tracing.demo --shape one-gpu   the processes and the scheduling of one GPU
  python -m tracing.record -- python -m tracing.demo --shape one-gpu --device-ms 10
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error
from tracing.shapes import platform, start
from tracing.shapes.pretend.work import parse_work
from tracing.shapes.shape import SHAPES, Shape, shape_named

SHAPE = start.started_shape()
if SHAPE:  # in each of the engine's processes: spawned ones import this module again
    platform.take_shape(SHAPE)

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


def run_shape(shape: Shape) -> None:
    """The conversation with a shape's engine."""
    from tracing.shapes.engine import conversation, server

    server.serve(shape) if shape.front_end == "server" else conversation.hold(shape)


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    lines = "\n".join(f"  {shape.name:15s} {shape.meaning}" for shape in SHAPES.values())
    arguments.epilog = f"shapes:\n{lines}"
    arguments.add_argument(
        "--shape", choices=tuple(SHAPES), help="the shape of the engine (default: what vLLM has here)"
    )
    arguments.add_argument("--device-ms", metavar="MS", help="a pretend device: a step's work, or PREFILL,MIXED,DECODE")
    arguments.add_argument(
        "--seed", type=int, default=0, help="of the device's work, which varies by 10 %% (default 0)"
    )
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.device_ms and not args.shape:
        raise usage_error("--device-ms needs a shape: --shape one-gpu --device-ms 10")
    if SHAPE:
        run_shape(SHAPE)
        return 0
    if args.shape:
        shape = shape_named(args.shape)
        work = parse_work(args.device_ms, args.seed) if args.device_ms else shape.work
        start.become("tracing.demo", replace(shape, work=work))
    from probes.checkpoint import default_model

    asyncio.run(talk(default_model()))
    return 0


if __name__ == "__main__":
    run_main(main)
