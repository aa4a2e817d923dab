"""What is asked of a shape's engine: batches, or streams that arrive in two waves, so that all kinds of step occur."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tracing.shapes import quota
from tracing.shapes.engine import feature
from tracing.shapes.engine.model import model_of
from tracing.shapes.hindrance import busy_neighbours
from tracing.shapes.shape import Shape

WAVE = 6  # streams at once, and as many again one by one
APART_S = 0.03  # between the arrivals of the second wave
TOKENS = 32
PROMPT_TOKENS = 24


def engine_settings(shape: Shape, scratch: Path) -> dict[str, Any]:
    """The engine's arguments by vLLM's names: small and eager, so that it starts soon; `scratch` is for KV files."""
    return {
        "model": str(model_of(shape)),
        "load_format": "dummy",
        "enforce_eager": True,
        "dtype": "float32",
        "max_model_len": 512,
        "kv_cache_memory_bytes": 64 << 20,
        "skip_tokenizer_init": shape.vocabulary is not None,
        **shape.engine,
        **({"async_scheduling": True} if shape.async_scheduling else {}),
        **({"kv_transfer_config": feature.kv_over_files(scratch)} if shape.files == "KV" else {}),
    }


def prompt(shape: Shape, number: int) -> Any:
    """The prompt of a request: text, or token ids where there is no tokenizer.

    No two begin alike, but where KV blocks come from files: there the second wave asks again what the first has asked.
    """
    if shape.vocabulary is None:
        asked, times = (number % WAVE, 12) if shape.files == "KV" else (number, 1 + number % 4)
        text = f"Request {asked} asks: " + "how does an engine run? " * times
        return feature.with_picture(text, number) if shape.kind == "picture" else text
    return {"prompt_token_ids": [3 + number % 32 + 7 * position % 400 for position in range(PROMPT_TOKENS)]}


def import_engine() -> None:
    """Import all that an engine of any shape needs, for the processes that are forked off this one."""
    for name in ("v1.engine.async_llm", "v1.worker.cpu_worker", "model_executor.models.llama"):
        importlib.import_module(f"vllm.{name}")


def hold(shape: Shape) -> None:
    """Start the shape's engine, talk to it, and end it."""
    of_its_own = quota.own_group() if shape.quota else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="enginescope-shape-") as scratch, of_its_own:
        if shape.front_end == "batch":
            run_batches(shape, Path(scratch))
        else:
            asyncio.run(run_streams(shape, Path(scratch)))


def run_batches(shape: Shape, scratch: Path) -> None:
    """Two batches by `LLM`, the second of twice the requests."""
    from vllm import LLM

    llm = LLM(**engine_settings(shape, scratch))
    for first, count in ((0, WAVE), (WAVE, 2 * WAVE)):
        prompts = [prompt(shape, number) for number in range(first, first + count)]
        if shape.kind == "beams":
            searches = llm.beam_search([{"prompt": text} for text in prompts], feature.few_beams(TOKENS))
            print(f"{len(searches)} searches with {len(searches[0].sequences)} beams", flush=True)
        else:
            outputs = llm.generate(prompts, sampling(shape), use_tqdm=False)
            print(f"{len(outputs)} requests of {len(outputs[0].outputs[0].token_ids)} tokens", flush=True)


async def run_streams(shape: Shape, scratch: Path) -> None:
    """A stream alone that warms the engine up, then two waves by `AsyncLLM`."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_settings(shape, scratch)))
    adapter = feature.lora_request(model_of(shape), scratch) if shape.files == "LoRA" else None
    try:
        await stream(engine, shape, 0, adapter)
        with hindrance(shape):
            waves = (stream(engine, shape, number, adapter) for number in range(1, 2 * WAVE + 1))
            counts = await asyncio.gather(*waves)
        outputs = "vectors" if shape.kind == "vector" else "tokens"
        print(f"{len(counts)} streams, {min(counts)} {outputs} each", flush=True)
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # while its modules are still there: vLLM's destructor needs them


def hindrance(shape: Shape) -> AbstractContextManager[None]:
    """What holds the engine up while it has traffic."""
    if shape.quota:
        return quota.limit(shape.quota)
    return busy_neighbours() if shape.busy_neighbours else contextlib.nullcontext()


async def stream(engine: Any, shape: Shape, number: int, adapter: Any) -> int:
    """One request, read output by output; how many came. Those of the second wave arrive one after the other."""
    await asyncio.sleep(max(0, number - WAVE) * APART_S)
    count = 0
    request = f"{shape.name}-{number}"
    if shape.kind == "vector":
        return len([output async for output in engine.encode(prompt(shape, number), feature.a_vector(), request)])
    more = {"lora_request": adapter} | ({"priority": -number} if "scheduling_policy" in shape.engine else {})
    async for output in engine.generate(prompt(shape, number), sampling(shape), request, **more):
        count += len(output.outputs[0].token_ids)
    return count


def sampling(shape: Shape) -> Any:
    """Of every request: as many tokens, the likeliest ones."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=TOKENS,
        temperature=0,
        ignore_eos=True,
        detokenize=shape.vocabulary is None,
        structured_outputs=feature.long_list() if shape.kind == "grammar" else None,
        output_kind=RequestOutputKind.FINAL_ONLY if shape.front_end == "batch" else RequestOutputKind.DELTA,
    )
