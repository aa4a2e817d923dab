"""LLM.generate under vLLM's own torch profiler. Arguments: the model's folder, and the folder for the profiler."""

from __future__ import annotations

import sys


def main() -> None:
    from vllm import LLM, SamplingParams

    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=512,
        kv_cache_memory_bytes=64 << 20,
        profiler_config={
            "profiler": "torch",
            "torch_profiler_dir": sys.argv[2],
            "torch_profiler_with_stack": False,
        },
    )
    prompts = [f"A story about the number {number}." for number in range(4)]
    params = SamplingParams(max_tokens=12, temperature=0, ignore_eos=True)
    llm.generate(prompts, params, use_tqdm=False)
    llm.start_profile()
    print(len(llm.generate(prompts, params, use_tqdm=False)), "outputs", flush=True)
    llm.stop_profile()


if __name__ == "__main__":
    main()
