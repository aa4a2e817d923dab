"""Makes the KV cache of a few models, one engine in this process after the other: python kv_pools.py FOLDER MODEL….

Writes FOLDER/MODEL's name.json for each: the blocks, tokens and settings that vLLM came to. No request is sent.
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


def pool(model: Path) -> dict[str, Any]:
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
        answer = pool(Path(word))
        (Path(sys.argv[1]) / f"{Path(word).name}.json").write_text(json.dumps(answer))
        gc.collect()
