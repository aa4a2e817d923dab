"""LLM with a KV cache of 11 blocks: a prompt that is evicted and comes again twice, then a batch that preempts.

Arguments: the model's folder. Prints the ids of the requests of each part.
"""

from __future__ import annotations

import sys

BLOCK = 32  # tokens, the least that the CPU backend takes


def main() -> None:
    from vllm import LLM, SamplingParams

    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=256,
        block_size=BLOCK,
        num_gpu_blocks_override=12,  # of which vLLM keeps one
        kv_cache_memory_bytes=64 << 20,
    )

    def run(name: str, first_tokens: list[int], length: int, output: int) -> None:
        """Requests whose prompts are one token each, repeated."""
        prompts = [{"prompt_token_ids": [token] * length} for token in first_tokens]
        params = SamplingParams(max_tokens=output, temperature=0, ignore_eos=True)
        outputs = llm.generate(prompts, params)
        print(f"{name}: {' '.join(each.request_id for each in outputs)}", flush=True)

    run("new", [2], 4 * BLOCK + 1, 1)
    for token in (3, 4):
        run("others", [token], 6 * BLOCK + 1, 1)
    run("evicted", [2], 4 * BLOCK + 1, 1)
    run("found", [2], 4 * BLOCK + 1, 1)
    run("preempting", list(range(5, 11)), 40, 80)


if __name__ == "__main__":
    main()
