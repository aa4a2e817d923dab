"""Makes the KV cache of a few models, one engine in this process after the other: kv_pools.py FOLDER MODEL=DTYPE….

Writes FOLDER/MODEL's name.json for each, with a cache of that dtype: the blocks, tokens and settings that vLLM came
to. No request is sent.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

KV_BYTES = 2**26
LENGTH_TOKENS = 700  # no multiple of a block


def pool(model: Path, cache_dtype: str) -> dict[str, Any]:
    from vllm import LLM

    llm = LLM(
        str(model),
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=LENGTH_TOKENS,
        max_num_batched_tokens=256,
        max_num_seqs=2,
        kv_cache_memory_bytes=KV_BYTES,
        kv_cache_dtype=cache_dtype,
        async_scheduling=False,
    )
    config = llm.llm_engine.vllm_config
    cache = config.cache_config
    return {
        "blocks": cache.num_gpu_blocks,
        "tokens": cache.kv_cache_size_tokens,
        "concurrency": cache.kv_cache_max_concurrency,
        "block_size": cache.block_size,
        "in_flight": config.max_in_flight_tokens,
    }


if __name__ == "__main__":
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for word in sys.argv[2:]:
        model, _, cache_dtype = word.rpartition("=")
        answer = pool(Path(model), cache_dtype)
        (Path(sys.argv[1]) / f"{Path(model).name}.json").write_text(json.dumps(answer))
        gc.collect()
