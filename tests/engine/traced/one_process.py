"""LLM in one process (`VLLM_ENABLE_V1_MULTIPROCESSING=0`), with a KV cache too small for its batch: it preempts.

Then the offline example of the study plan, on the same engine: python one_process.py MODEL EXAMPLE.
"""

from __future__ import annotations

import os
import sys

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def main() -> None:
    import vllm
    from vllm import LLM, SamplingParams

    blocks = 12  # of 32 tokens, the least that the CPU backend takes
    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=256,
        block_size=32,
        num_gpu_blocks_override=blocks,
        kv_cache_memory_bytes=64 << 20,
    )
    prompts = [{"prompt_token_ids": [2 + number] * 40} for number in range(6)]
    outputs = llm.generate(prompts, SamplingParams(max_tokens=80, temperature=0, ignore_eos=True))
    print(len(outputs), "outputs", flush=True)
    if len(sys.argv) > 2:
        vllm.LLM = lambda **settings: llm  # the example makes an engine of its own, and one is enough here
        exec(sys.argv[2], {"MODEL": sys.argv[1]})


if __name__ == "__main__":
    main()
