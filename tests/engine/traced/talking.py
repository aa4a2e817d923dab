"""AsyncLLM with eight streams that begin anew for ever, and a long one. Prints `ready` once they run.

A step takes 20 ms at least, so that what is recorded does not grow with the machine's speed.
With the address of a collector vLLM's own tracing is on, and each call of the first stream has a header of one trace.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from typing import Any

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


STEP_S = 0.02


def slow_steps() -> None:
    """The scheduler takes its time, here and in the processes that are forked."""
    from vllm.v1.core.sched.scheduler import Scheduler

    schedule = Scheduler.schedule

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(STEP_S)
        return schedule(*args, **kwargs)

    Scheduler.schedule = slow


async def talk(engine: Any, name: str, tokens: int, headers: dict[str, str] | None = None) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(temperature=0.8, max_tokens=tokens, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    for number in itertools.count():
        prompt = f"Hello, I am {name}, and"
        async for _ in engine.generate(prompt, params, request_id=f"{name}-{number}", trace_headers=headers):
            pass
        if not number and name == "talker-0":
            print("ready", flush=True)


async def main(model: str, collector: str | None = None) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = AsyncEngineArgs(
        model,
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=4096,
        kv_cache_memory_bytes=64 << 20,
        otlp_traces_endpoint=collector,
    )
    slow_steps()
    engine = AsyncLLM.from_engine_args(args)
    headers = {"traceparent": TRACEPARENT} if collector else None
    talkers = [talk(engine, f"talker-{number}", 20 + 3 * number, None if number else headers) for number in range(8)]
    await asyncio.gather(*talkers, talk(engine, "long", 4000))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
