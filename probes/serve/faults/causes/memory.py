"""Causes: not enough memory, on the GPU or on the host."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

MORE_MEMORY = "a smaller --kv-cache-memory-bytes=N, a smaller model, or end what else runs"

MEMORY = (
    FaultCause(
        r"which is larger than the available KV cache memory.*?(?:maximum model length is (\d+))",
        "out of memory: the KV cache has no room for one request of --max-model-len tokens",
        "--max-model-len {1}, or more memory for it: {more_kv}",
        "ValueError: To serve at least one request with the model's max seq len (8192), (0.34 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.12 GiB). Based on the available memory, the estimated "
        "maximum model length is 2944. Try increasing `gpu_memory_utilization`",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    FaultCause(
        r"which is larger than the available KV cache memory(?!.*maximum model length is)",
        "out of memory: the KV cache has no room for a request of even a few tokens",
        "more memory for it: {more_kv}; or a smaller --max-model-len",
        "ValueError: To serve at least one request with the model's max seq len (8192), (0.34 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.00 GiB). Try increasing `gpu_memory_utilization`",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    FaultCause(
        r"max seq len \(\d+\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)",
        "out of memory: the KV cache has no room for one request of --max-model-len tokens (as earlier versions of "
        "vLLM say it)",
        "--max-model-len {1}, or more memory for it: {more_kv}",
        "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that can be stored in "
        "KV cache (3664). Try increasing `gpu_memory_utilization` or decreasing `max_model_len`",
        "vllm-project/vllm#2418",
    ),
    FaultCause(
        r"No available memory for the cache blocks",
        "out of memory: the weights leave no room for a KV cache",
        "{more_kv}, or a smaller model or dtype, or more cards: --tensor-parallel-size",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    FaultCause(
        r"Free memory on device (?:\S*?:)?(\d*).*?less than (?:desired GPU memory utilization|the engine's budget)",
        "out of memory: other processes hold part of the memory of card {1}; where the other cards have enough, the "
        "cards are uneven",
        "a lower --gpu-memory-utilization, or end them: nvidia-smi (or amd-smi process) names them; or leave that card "
        "out with CUDA_VISIBLE_DEVICES=…; python -m probes.doctor finds left-over engines",
        "ValueError: Free memory on device cuda:1 (9.5/79.1 GiB) on startup is less than desired GPU memory "
        "utilization (0.92, 72.8 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "vllm/v1/worker/utils.py",
    ),
    FaultCause(
        r"Externally held weights on device",
        "out of memory: weights that another process holds on this card are already more than vLLM may take",
        "a higher --gpu-memory-utilization, or end that process",
        "ValueError: Externally held weights on device cuda:0 (60.1/79.1 GiB) exceed the desired GPU memory "
        "utilization (0.5, 39.6 GiB). Increase GPU memory utilization",
        "vllm/v1/worker/utils.py",
        versions=">=0.32",
    ),
    FaultCause(
        r"Error in memory profiling",
        "another process gave back memory of this card while vLLM measured what is free",
        "start the engines of one card one after the other, or give each its share by --kv-cache-memory-bytes=N",
        "AssertionError: Error in memory profiling. Initial free memory 60.1 GiB, current free memory 71.0 GiB. This "
        "happens when other processes sharing the same container release GPU memory",
        "vllm/v1/worker/gpu_worker.py",
    ),
    FaultCause(
        r"Available memory on node .*less than desired CPU memory utilization",
        "out of memory: less main memory is free than the share that vLLM was to take",
        "a lower --gpu-memory-utilization (on CPU it is the share of main memory), or --kv-cache-memory-bytes=N",
        "ValueError: Available memory on node 0 (10.2/23.5 GiB) on startup is less than desired CPU memory utilization "
        "(0.92, 21.6 GiB). On the CPU backend, the `--gpu-memory-utilization` flag",
        "vllm/v1/worker/cpu_worker.py",
        versions="<0.33",
    ),
    FaultCause(
        r"The worker already uses (\S+) GiB .* reserved for it on node",
        "out of memory: the weights and the worker itself ({1} GiB) are more than the share of main memory that vLLM "
        "was to take",
        "a higher --gpu-memory-utilization (on CPU it is the share of main memory), or --kv-cache-memory-bytes=N",
        "ValueError: The worker already uses 12.1 GiB (model weights and runtime), more than the 9.4 GiB of CPU memory "
        "reserved for it on node 0, leaving none for the KV cache.",
        "vllm/v1/worker/cpu_worker.py",
        versions=">=0.33",
    ),
    FaultCause(
        r"on kv cache allocation is less than requested memory for kv \(\S+/",
        "out of memory: the share of main memory that vLLM was to take is not free when the KV cache is laid out",
        "a lower --gpu-memory-utilization (on CPU it is the share of main memory), or end what else takes memory",
        "ValueError: Available memory on node 0 (8.2/23.5 GiB) on kv cache allocation is less than requested memory "
        "for kv (18.4/21.6 GiB). Reduce CPU memory used by other processes.",
        "vllm/v1/worker/cpu_worker.py",
    ),
    FaultCause(
        r"Decrease --kv-cache-memory-bytes|on kv cache allocation is less than requested memory for kv \([^/]*\)",
        "out of memory: less main memory is free than the KV cache needs",
        "a smaller --kv-cache-memory-bytes=N, or a smaller VLLM_CPU_KVCACHE_SPACE",
        "ValueError: Available memory on node 0 (1.2/23.5 GiB) on kv cache allocation is less than requested memory "
        "for kv (4.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory",
        "vllm/v1/worker/cpu_worker.py",
    ),
    FaultCause(
        r"out of memory occurred when warming up",
        "out of memory on the GPU: the sampler's warm-up with all --max-num-seqs requests did not fit beside the rest",
        "a smaller --max-num-seqs=N, or a lower --gpu-memory-utilization",
        "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try "
        "lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
        "vllm/v1/worker/gpu_model_runner.py",
    ),
    FaultCause(
        r"max_num_seqs \(\d+\) exceeds available Mamba cache blocks \((\d+)\)",
        "out of memory: each running request of this model needs a Mamba block, and there are fewer",
        "--max-num-seqs={1}, or a higher --gpu-memory-utilization",
        "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (412). Each decode sequence requires one "
        "Mamba cache block, so CUDA graph capture cannot proceed.",
        "vllm/config/compilation.py",
    ),
    FaultCause(
        r"(?:CUDA|HIP) out of memory(?! occurred)|(?:CUDA|HIP) error: out of memory"
        r"|torch\.OutOfMemoryError(?!: CUDA out)",
        "out of memory on the GPU",
        "a smaller --max-model-len or --max-num-seqs=N first, then a lower --gpu-memory-utilization, then more cards: "
        "--tensor-parallel-size",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 246.00 MiB. GPU 0 has a total capacity of 23.65 "
        "GiB of which 178.06 MiB is free.",
        "vllm-project/vllm#13045",
    ),
    FaultCause(
        r"CUBLAS_STATUS_(?:NOT_INITIALIZED|ALLOC_FAILED)",
        "out of memory on the GPU, most often: cuBLAS could not make its workspace; else a CUDA library that does not "
        "fit",
        "a lower --gpu-memory-utilization; unset LD_LIBRARY_PATH if it names another CUDA",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "QwenLM/Qwen#120",
    ),
    FaultCause(
        r"can't allocate memory|(?<!OutOf)MemoryError|Cannot allocate memory|^Killed$|OOMKilled",
        "out of main memory",
        MORE_MEMORY,
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4294967296 bytes.",
        "torch, compiled",
    ),
    FaultCause(
        r"(?:exit code|Failed core proc.*): -9\b",
        "out of main memory: the system killed a process of the engine (dmesg says so), or someone did",
        MORE_MEMORY,
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
        "{'EngineCore_DP0': -9}",
        "vllm/v1/engine/utils.py",
        general=True,
    ),
)
