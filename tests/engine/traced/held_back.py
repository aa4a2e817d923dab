"""LLM in its usual processes, whose small limits keep requests in the queue for one reason after another.

Arguments: the model's folder. Prints the ids of each reason's requests.
"""

from __future__ import annotations

import sys

TOKENS = 128  # of a step at most, and of a request


def main() -> None:
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=TOKENS,
        max_num_batched_tokens=TOKENS,
        max_num_seqs=4,
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        block_size=32,
        num_gpu_blocks_override=12,  # of which vLLM keeps one
        kv_cache_memory_bytes=64 << 20,
    )

    def run(name: str, *requests: tuple[int, int], grammar: StructuredOutputsParams | None = None) -> None:
        """Requests of so many prompt tokens and output tokens; the last one has the grammar."""
        prompts = [{"prompt_token_ids": [2 + number] * length} for number, (length, _) in enumerate(requests)]
        params = [SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True) for _, tokens in requests]
        if grammar:
            params[-1] = SamplingParams(max_tokens=4, structured_outputs=grammar)
        outputs = llm.generate(prompts, params)
        print(f"{name}: {' '.join(output.request_id for output in outputs)}", flush=True)

    run("sequence limit", *[(4, 12)] * 8)
    # The first decodes; with it a prompt of 127 fills the step to the last token.
    run("token budget", (4, 12), *[(TOKENS - 1, 1)] * 5)
    run("chunk threshold", (4, 12), *[(100, 1)] * 3)
    run("KV blocks", *[(100, 20)] * 3)
    words = [f"answer {number} of a long list of answers" for number in range(2000)]
    run("grammar not ready", (4, 100), (4, 4), grammar=StructuredOutputsParams(choice=words))


if __name__ == "__main__":
    main()
