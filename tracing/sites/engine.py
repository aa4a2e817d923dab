"""The map of the engine: every function of vLLM that this room hooks, in the order in which a request meets them.

This table is the only place that names them. A site has alternatives where a name moved between versions; all that are
there are hooked. `python -m tracing.sites` prints the table with the lines in the installed vLLM, without importing it.
"""

from __future__ import annotations

from .site import Site

_GENERATOR = "vllm.v1.engine.async_llm:AsyncLLM"
_CORE = "vllm.v1.engine.core:EngineCore"
_PROC = "vllm.v1.engine.core:EngineCoreProc"
_CLIENT = "vllm.v1.engine.core_client:"
_SCHEDULER = "vllm.v1.core.sched.scheduler:Scheduler"
_BLOCKS = "vllm.v1.core.kv_cache_manager:KVCacheManager"
_OUTPUTS = "vllm.v1.engine.output_processor:"
_WIRE = "vllm.v1.serial_utils:"
_MULTIPROC = "vllm.v1.executor.multiproc_executor:"
_UNIPROC = "vllm.v1.executor.uniproc_executor:UniProcExecutor"
_WORKER = "vllm.v1.worker.gpu_worker:Worker"
_RUNNER_V1 = "vllm.v1.worker.gpu_model_runner:GPUModelRunner"
_RUNNER_V2 = "vllm.v1.worker.gpu.model_runner:GPUModelRunner"


SITES: tuple[Site, ...] = (
    # --- front end, on the way in ---
    Site("llm.generate", "generate", "front end", ("vllm.entrypoints.llm:LLM.generate",), share="frame"),
    Site(
        "llm.render",
        "tokenize",
        "front end",
        (
            "vllm.entrypoints.common.offline:OfflineInferenceMixin._preprocess_cmpl_one",
            "vllm.entrypoints.offline_utils:OfflineInferenceMixin._preprocess_cmpl_one",
        ),
        required=False,
    ),
    Site("llm.add_request", "accept", "front end", ("vllm.v1.engine.llm_engine:LLMEngine.add_request",)),
    Site(
        "async.generate",
        "yield",
        "front end",
        (f"{_GENERATOR}.generate",),
        kind="async generator",
        numbers=("suspended 0, yielded 1, ended 2", "call * 2 + finished"),
    ),
    Site("async.add_request", "accept", "front end", (f"{_GENERATOR}.add_request",), kind="coroutine"),
    Site("input.process", "tokenize", "front end", ("vllm.v1.engine.input_processor:InputProcessor.process_inputs",)),
    Site(
        "input.assign_id",
        "accept",
        "front end",
        ("vllm.v1.engine.input_processor:InputProcessor.assign_request_id",),
        kind="static",
    ),
    Site("output.register", "register", "front end", (f"{_OUTPUTS}OutputProcessor.add_request",)),
    Site("client.send", "send", "front end", (f"{_CLIENT}SyncMPClient._send_input",), numbers=("", "request type")),
    Site(
        "client.send_async",
        "send",
        "front end",
        (f"{_CLIENT}AsyncMPClient._send_input",),
        numbers=("", "request type"),
    ),
    Site("wire.encode", "serialize", "front end", (f"{_WIRE}MsgpackEncoder.encode",), numbers=("bytes", "")),
    # --- core input thread; the same decoder as the front end's, told apart by what it decoded ---
    Site("core.receive", "deserialize", "core input", (f"{_WIRE}MsgpackDecoder.decode",), numbers=("bytes", "")),
    Site("core.preprocess", "preprocess", "core input", (f"{_CORE}.preprocess_add_request",)),
    # --- core main thread ---
    Site("core.input_queue", "engine loop", "core", (f"{_PROC}._process_input_queue",), share="frame"),
    Site("core.dequeue", "admit", "core", (f"{_PROC}._handle_client_request",), numbers=("", "request type")),
    Site("core.add_request", "admit", "core", (f"{_CORE}.add_request",), numbers=("prompt tokens", "max tokens")),
    Site("core.abort", "abort", "core", (f"{_CORE}.abort_requests",), numbers=("requests", "")),
    Site("core.engine_step", "engine loop", "core", (f"{_PROC}._process_engine_step",), share="frame"),
    Site("core.step", "engine loop", "core", (f"{_CORE}.step", f"{_CORE}.step_with_batch_queue"), share="frame"),
    Site("scheduler.schedule", "schedule", "core", (f"{_SCHEDULER}.schedule",), numbers=("tokens", "running requests")),
    Site("kv.lookup", "prefix lookup", "core", (f"{_BLOCKS}.get_computed_blocks",), numbers=("cached tokens", "")),
    Site("kv.allocate", "allocate", "core", (f"{_BLOCKS}.allocate_slots",), numbers=("new tokens", "refused")),
    Site("scheduler.preempt", "preempt", "core", (f"{_SCHEDULER}._preempt_request",)),
    Site(
        "executor.dispatch",
        "dispatch",
        "core",
        (f"{_MULTIPROC}MultiprocExecutor.execute_model", f"{_UNIPROC}.execute_model"),
    ),
    Site("scheduler.grammar", "grammar", "core", (f"{_SCHEDULER}.get_grammar_bitmask",)),
    Site(
        "executor.sample",
        "dispatch",
        "core",
        (f"{_MULTIPROC}MultiprocExecutor.sample_tokens", f"{_UNIPROC}.sample_tokens"),
    ),
    Site("executor.wait", "wait: worker", "core", (f"{_MULTIPROC}FutureWrapper.result",), share="wait"),
    Site(
        "scheduler.update",
        "update",
        "core",
        (f"{_SCHEDULER}.update_from_output",),
        numbers=("outputs", "finished requests"),
    ),
    Site(
        "scheduler.free",
        "free",
        "core",
        (f"{_SCHEDULER}._free_request",),
        numbers=("output tokens", "status"),
    ),
    Site("core.post_step", "engine loop", "core", (f"{_CORE}.post_step",)),
    # --- the shared-memory queue between core and worker; the role is that of the process ---
    Site(
        "queue.put", "dispatch", "core", ("vllm.distributed.device_communicators.shm_broadcast:MessageQueue.enqueue",)
    ),
    Site(
        "queue.get",
        "wait: worker",
        "core",
        ("vllm.distributed.device_communicators.shm_broadcast:MessageQueue.dequeue",),
        share="wait",
    ),
    # --- worker ---
    Site("worker.execute", "execute", "worker", (f"{_WORKER}.execute_model",), numbers=("tokens", "")),
    Site("runner.update", "prepare", "worker", (f"{_RUNNER_V1}._update_states", f"{_RUNNER_V2}.update_requests")),
    Site("runner.prepare", "prepare", "worker", (f"{_RUNNER_V1}._prepare_inputs", f"{_RUNNER_V2}.prepare_inputs")),
    Site(
        "runner.attention",
        "prepare",
        "worker",
        (f"{_RUNNER_V1}._build_attention_metadata", f"{_RUNNER_V2}.prepare_attn"),
    ),
    Site("runner.forward", "forward", "worker", (f"{_RUNNER_V1}._model_forward",), required=False),
    Site("model.forward", "forward", "worker", (f"{_WORKER}.load_model",), kind="model"),
    Site("model.logits", "logits", "worker", (f"{_WORKER}.load_model",), kind="model", required=False),
    Site("worker.sample", "sample", "worker", (f"{_WORKER}.sample_tokens",)),
    Site("runner.sample", "sample", "worker", (f"{_RUNNER_V1}._sample", f"{_RUNNER_V2}.sample")),
    Site(
        "runner.bookkeep",
        "bookkeep",
        "worker",
        (f"{_RUNNER_V1}._bookkeeping_sync", f"{_RUNNER_V2}.postprocess_sampled"),
    ),
    Site("worker.hand_over", "reply", "worker", (f"{_MULTIPROC}WorkerProc.handle_output",)),
    Site("worker.reply", "reply", "worker", (f"{_MULTIPROC}WorkerProc.enqueue_output",)),
    # --- core output thread ---
    Site("core.encode", "serialize", "core output", (f"{_WIRE}MsgpackEncoder.encode_into",), numbers=("bytes", "")),
    Site(
        "core.send",
        "send",
        "core output",
        (f"{_PROC}._send_msg_tracking_payload",),
        kind="static",
        required=False,
        numbers=("bytes", ""),
    ),
    # --- front end, on the way back ---
    Site("client.receive", "deserialize", "front end", (f"{_WIRE}MsgpackDecoder.decode",), numbers=("bytes", "")),
    Site("client.wait", "wait: core", "front end", (f"{_CLIENT}SyncMPClient.get_output",), share="wait"),
    Site("llm.step", "engine loop", "front end", ("vllm.v1.engine.llm_engine:LLMEngine.step",), share="frame"),
    Site(
        "output.process",
        "process outputs",
        "front end",
        (f"{_OUTPUTS}OutputProcessor.process_outputs",),
        numbers=("outputs", ""),
    ),
    Site(
        "output.detokenize",
        "detokenize",
        "front end",
        ("vllm.v1.engine.detokenizer:BaseIncrementalDetokenizer.update",),
        numbers=("new tokens", ""),
    ),
    Site("output.deliver", "deliver", "front end", (f"{_OUTPUTS}RequestOutputCollector.put",)),
    Site(
        "output.stats", "statistics", "front end", ("vllm.v1.metrics.loggers:StatLoggerManager.record",), required=False
    ),
    Site(
        "output.abort", "abort", "front end", (f"{_OUTPUTS}OutputProcessor.abort_requests",), numbers=("requests", "")
    ),
    Site("async.abort", "abort", "front end", (f"{_GENERATOR}.abort",), kind="coroutine"),
)

# Spans without a function of vLLM's at their place: the interpreter's own pauses, and vLLM's named scopes.
GC_SITE = Site("gc", "garbage collection", "core", (), numbers=("generation", "collected"))
SCOPE_SITE = Site("scope", "vLLM scope", "core", (), share="frame", numbers=("name", ""))
SCOPE_TARGET = "vllm.v1.utils:record_function_or_nullcontext"

# The roles of a process that vLLM starts, by the module of the function that it runs.
PROCESS_ROLES: dict[str, list[str]] = {
    "vllm.v1.engine.core": ["core", "core input", "core output"],
    "vllm.v1.executor.multiproc_executor": ["worker"],
}

ALL_SITES: tuple[Site, ...] = (*SITES, GC_SITE, SCOPE_SITE)
CODES: dict[str, int] = {site.name: code for code, site in enumerate(ALL_SITES)}
