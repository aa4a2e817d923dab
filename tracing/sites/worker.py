"""The worker's sites: from a step's batch to its sampled tokens, of both model runners."""

from __future__ import annotations

from .site import Site

_MULTIPROC = "vllm.v1.executor.multiproc_executor:"
_WORKER = "vllm.v1.worker.gpu_worker:Worker"
_RAY_WORKER = "vllm.v1.executor.ray_utils:RayWorkerWrapper"
RUNNER_V1 = "vllm.v1.worker.gpu_model_runner:GPUModelRunner"
RUNNER_V2 = "vllm.v1.worker.gpu.model_runner:GPUModelRunner"

WORKER: tuple[Site, ...] = (
    Site(
        "worker.execute",
        "execute",
        "worker",
        (f"{_WORKER}.execute_model",),
        also=(f"{_RAY_WORKER}.execute_model_ray",),
        numbers=("tokens", ""),
    ),
    Site("runner.update", "prepare", "worker", (f"{RUNNER_V1}._update_states", f"{RUNNER_V2}.update_requests")),
    # Of V2 its numbers are those of `graph.dispatch`, of V1 none.
    Site(
        "runner.prepare",
        "prepare",
        "worker",
        (f"{RUNNER_V1}._prepare_inputs", f"{RUNNER_V2}.prepare_inputs"),
        numbers=("padded tokens", "graph mode"),
    ),
    Site(
        "graph.dispatch",
        "prepare",
        "worker",
        (f"{RUNNER_V1}._determine_batch_execution_and_padding",),
        required=False,
        numbers=("padded tokens", "graph mode"),
    ),
    Site(
        "runner.attention",
        "prepare",
        "worker",
        (f"{RUNNER_V1}._build_attention_metadata", f"{RUNNER_V2}.prepare_attn"),
    ),
    Site("runner.forward", "forward", "worker", (f"{RUNNER_V1}._model_forward",), required=False),
    Site(
        "graph.run",
        "forward",
        "worker",
        (
            "vllm.v1.worker.gpu.cudagraph_utils:ModelCudaGraphManager.run_fullgraph",
            "vllm.v1.worker.gpu.cudagraph_utils:CudaGraphManager.run_pw_graph",
            "vllm.v1.worker.gpu.ubatch_utils:UBatchRunner.run",
        ),
        required=False,
    ),
    Site("model.forward", "forward", "worker", (f"{_WORKER}.load_model",), kind="model"),
    Site("model.logits", "logits", "worker", (f"{_WORKER}.load_model",), kind="model", required=False),
    Site("worker.sample", "sample", "worker", (f"{_WORKER}.sample_tokens",)),
    Site("runner.sample", "sample", "worker", (f"{RUNNER_V1}._sample", f"{RUNNER_V2}.sample")),
    Site(
        "runner.bookkeep",
        "bookkeep",
        "worker",
        (f"{RUNNER_V1}._bookkeeping_sync", f"{RUNNER_V2}.postprocess_sampled"),
    ),
    Site("worker.hand_over", "reply", "worker", (f"{_MULTIPROC}WorkerProc.handle_output",)),
    # What it waits for the device in here is `device.wait`, and what it writes to the core is `queue.put`.
    Site("worker.reply", "reply", "worker", (f"{_MULTIPROC}WorkerProc.enqueue_output",)),
    Site(
        "device.wait",
        "wait: GPU",
        "worker",
        (
            "vllm.v1.executor.uniproc_executor:AsyncOutputFuture.result",
            "vllm.v1.worker.gpu_model_runner:AsyncGPUModelRunnerOutput.get_output",
            "vllm.v1.worker.gpu_model_runner:AsyncGPUPoolingModelRunnerOutput.get_output",
            "vllm.v1.worker.gpu.async_utils:AsyncOutput.get_output",
            "vllm.v1.worker.gpu.async_utils:AsyncPoolingOutput.get_output",
            f"{RUNNER_V1}._to_list",
            f"{RUNNER_V1}._get_draft_token_ids_cpu",
            f"{RUNNER_V1}._get_valid_sampled_token_count",
            f"{RUNNER_V1}._sync_device",
        ),
        share="wait",
        # `torch.Event` is written in C and takes no hook: what waits for one has to be a target.
        also=("torch.cuda.streams:Event.synchronize", "torch.cuda.streams:Stream.synchronize"),
    ),
    # Without async scheduling the drafts' verdict is copied off the device here, and all of the step is waited for; the
    # lists that are made of it after that are of the wait too, as in the functions above.
    Site(
        "device.parse",
        "wait: GPU",
        "worker",
        ("vllm.v1.sample.rejection_sampler:RejectionSampler.parse_output",),
        kind="static",
        share="wait",
        required=False,
    ),
    Site("worker.dummy", "dummy batch", "worker", (f"{_WORKER}.execute_dummy_batch",)),
)
