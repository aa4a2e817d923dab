"""Prints the default model's greedy token ids, as our own adapter gets them from vLLM: `greedy.py JOB.json`."""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from offline.engine.adapter import Engine

    with open(sys.argv[1]) as file:
        job = json.load(file)
    settings = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 28, "max_model_len": 256}
    engine = Engine({"model": job["model"], "dtype": "float32", **settings})
    answers = engine.tokens(job["ids"], job["output_len"])
    engine.close()
    print(json.dumps(answers), flush=True)
    os._exit(0)  # Python takes seconds to put vLLM's modules away
