"""A stand-in for vLLM that only keeps time, so that the sweep's own handling of faults is tested in seconds.

It loads the toolkit's plugin and steps a scheduler, as the real one does; everything it measures is made up. What
happens with real engines is tested with real engines, in `test_sweep_engine.py`.
"""

import os
import signal
import time
from types import SimpleNamespace

STEP_S = 0.001


class SamplingParams:
    def __init__(self, **settings):
        self.settings = settings


class LLM:
    def __init__(self, model, block_size, enable_prefix_caching, max_model_len, kv_cache_memory_bytes, **settings):
        from enginescope_plugin import load

        load()
        from vllm.v1.core.sched.scheduler import Scheduler

        time.sleep(float(os.environ.get("FAKE_START_S", "0.05")))
        if os.environ.get("FAKE_HANG_BLOCK") == str(block_size):
            time.sleep(3600)
        if str(block_size) in os.environ.get("FAKE_REFUSE_BLOCKS", "").split(","):
            raise ValueError(f"No common block size for {block_size}")
        self.scheduler = Scheduler()
        cache = SimpleNamespace(block_size=block_size, num_gpu_blocks=4096, enable_prefix_caching=False)
        scheduler = SimpleNamespace(
            policy="fcfs", max_num_batched_tokens=4096, max_num_seqs=256, enable_chunked_prefill=True
        )
        model_config = SimpleNamespace(max_model_len=max_model_len, get_vocab_size=lambda: 5000)
        device = SimpleNamespace(device_type="cuda" if "FAKE_GPU" in os.environ else None)
        config = SimpleNamespace(
            cache_config=cache, scheduler_config=scheduler, model_config=model_config, device_config=device
        )
        core = SimpleNamespace(shutdown=lambda: None)
        self.llm_engine = SimpleNamespace(vllm_config=config, model_config=model_config, engine_core=core)

    def collective_rpc(self, method):
        if os.environ.get("FAKE_GPU") != "H100":
            raise RuntimeError(f"{method} failed: CUDA error")
        parts = {"memory_ns": [1_000_000] * 5, "compute_ns": [2_000_000] * 5}
        return [{"name": "H100", "uuid": "GPU-a", "compute_mhz": 1980.0, "throttle_reasons": ["power cap"]} | parts]

    def reset_prefix_cache(self):
        return True

    def get_metrics(self):
        return []

    def generate(self, inputs, parameters, use_tqdm=False):
        if os.environ.get("FAKE_DYING_BLOCK") == str(self.llm_engine.vllm_config.cache_config.block_size):
            os.kill(os.getpid(), signal.SIGKILL)
        steps = parameters.settings["max_tokens"]
        for step in range(steps):
            scheduled = self.scheduler.schedule(len(inputs), step)
            time.sleep(STEP_S * (1 + parameters.settings["temperature"]))  # so that a temperature can be measured
            self.scheduler.update_from_output(scheduled, None)
        now = time.monotonic()
        stats = SimpleNamespace(
            queued_ts=now, scheduled_ts=now, first_token_ts=now, last_token_ts=now + 0.1, first_token_latency=0.01
        )
        output = SimpleNamespace(token_ids=[1] * steps, finish_reason="length")
        return [
            SimpleNamespace(
                metrics=stats, outputs=[output], prompt_token_ids=i["prompt_token_ids"], num_cached_tokens=0
            )
            for i in inputs
        ]
