"""LLM that stands idle for some seconds and then generates for some. Arguments: the model's folder, seconds of each.

Prints one line of JSON: when each began and ended, in nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    from vllm import LLM, SamplingParams

    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=512,
        kv_cache_memory_bytes=64 << 20,
    )
    length_s = float(sys.argv[2])
    params = SamplingParams(max_tokens=64, temperature=0, ignore_eos=True)
    prompts = [f"A story about the number {number}." for number in range(64)]
    llm.generate(prompts, params, use_tqdm=False)
    idle = time.monotonic_ns()
    time.sleep(length_s)
    busy = time.monotonic_ns()
    while time.monotonic_ns() < busy + length_s * 1e9:
        llm.generate(prompts, params, use_tqdm=False)
    print(json.dumps({"idle": [idle, busy], "busy": [busy, time.monotonic_ns()]}), flush=True)


if __name__ == "__main__":
    main()
