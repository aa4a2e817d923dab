"""Lines of vLLM 0.32 that are read here, each with the file that says it: what `probes.serve.faults --check` looks up.

Lines that other versions word otherwise are read too; those stand in the tests.
"""

from __future__ import annotations

from probes.serve.faults.wording import SourceLine

SOURCE_LINES = (
    SourceLine("non-default args: {'model': 'm'}", "vllm/entrypoints/serve/utils/api_utils.py"),
    SourceLine("vLLM server version 0.32.0, serving model m", "vllm/entrypoints/serve/utils/api_utils.py"),
    SourceLine("Using max model len 1024", "vllm/config/model.py"),
    SourceLine("Initializing a V1 LLM engine (v0.32.0) with config: model='m'", "vllm/v1/engine/core.py"),
    SourceLine("Starting to load model m...", "vllm/v1/worker/gpu_model_runner.py"),
    SourceLine(
        "Time spent downloading weights for m: 33.1 seconds", "vllm/model_executor/model_loader/weight_utils.py"
    ),
    SourceLine("Loading weights took 2.51 seconds", "vllm/model_executor/model_loader/default_loader.py"),
    SourceLine("Model loading took 14.99 GiB memory and 3.402917 seconds", "vllm/v1/worker/gpu_model_runner.py"),
    SourceLine("Dynamo bytecode transform time: 7.11 s", "vllm/compilation/backends.py"),
    SourceLine("Compiling a graph for compile range (1, 2048) takes 33.10 s", "vllm/compilation/backends.py"),
    SourceLine("torch.compile took 40.20 s in total", "vllm/compilation/monitor.py"),
    SourceLine("Initial profiling/warmup run took 5.30 s", "vllm/compilation/monitor.py"),
    SourceLine("Available KV cache memory: 3.78 GiB", "vllm/v1/worker/gpu_worker.py"),
    SourceLine(
        "GPU KV cache size: 30,960 tokens, Maximum concurrency for 8,192 tokens per request: 3.78x",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    SourceLine("Graph capturing finished in 21 secs, took 0.60 GiB", "vllm/v1/worker/gpu_model_runner.py"),
    SourceLine("init engine (profile, create kv cache, warmup model) took 70.80 s", "vllm/v1/engine/core.py"),
    SourceLine(
        "Engine 000: Iteration(7): 1 context requests, 5 context tokens, 2 generation requests, 2 generation tokens, "
        "iteration elapsed time: 12.34 ms, GPU KV cache usage: 1.0%",
        "vllm/v1/metrics/loggers.py",
    ),
    SourceLine("Avg generation throughput: 812.0 tokens/s", "vllm/v1/metrics/loggers.py"),
    SourceLine("Prefix cache hit rate: 41.2%", "vllm/v1/metrics/loggers.py"),
    SourceLine("Added request chatcmpl-1.", "vllm/v1/engine/async_llm.py"),
    SourceLine("Aborted request(s) chatcmpl-1.", "vllm/v1/engine/async_llm.py"),
    SourceLine("Request chatcmpl-1 failed (engine dead).", "vllm/v1/engine/async_llm.py"),
    SourceLine("EngineCore failed to start.", "vllm/v1/engine/core.py"),
    SourceLine("EngineCore encountered a fatal error.", "vllm/v1/engine/core.py"),
    SourceLine("WorkerProc failed to start.", "vllm/v1/executor/multiproc_executor.py"),
)
