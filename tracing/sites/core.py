"""The core's sites: its input thread, its main thread, its queue to the worker, and its output thread."""

from __future__ import annotations

from .site import Site

_CORE = "vllm.v1.engine.core:EngineCore"
_PROC = "vllm.v1.engine.core:EngineCoreProc"
_SCHEDULER = "vllm.v1.core.sched.scheduler:Scheduler"
_BLOCKS = "vllm.v1.core.kv_cache_manager:KVCacheManager"
_POOL = "vllm.v1.core.block_pool:BlockPool"
_WIRE = "vllm.v1.serial_utils:"
_MULTIPROC = "vllm.v1.executor.multiproc_executor:"
_UNIPROC = "vllm.v1.executor.uniproc_executor:UniProcExecutor"
_RAY = "vllm.v1.executor.ray_executor:RayDistributedExecutor"  # its successor is a `MultiprocExecutor`

# The same decoder as the front end's, told apart by what it decoded.
INPUT: tuple[Site, ...] = (
    Site("core.receive", "deserialize", "core input", (f"{_WIRE}MsgpackDecoder.decode",), numbers=("bytes", "")),
    Site("core.preprocess", "preprocess", "core input", (f"{_CORE}.preprocess_add_request",)),
)

MAIN: tuple[Site, ...] = (
    Site("core.input_queue", "engine loop", "core", (f"{_PROC}._process_input_queue",), share="frame"),
    Site("core.dequeue", "admit", "core", (f"{_PROC}._handle_client_request",), numbers=("", "request type")),
    Site("core.add_request", "admit", "core", (f"{_CORE}.add_request",), numbers=("prompt tokens", "max tokens")),
    Site("core.abort", "abort", "core", (f"{_CORE}.abort_requests",), numbers=("requests", "")),
    Site("core.engine_step", "engine loop", "core", (f"{_PROC}._process_engine_step",), share="frame"),
    Site("core.step", "engine loop", "core", (f"{_CORE}.step", f"{_CORE}.step_with_batch_queue"), share="loop"),
    Site("scheduler.schedule", "schedule", "core", (f"{_SCHEDULER}.schedule",), numbers=("tokens", "running requests")),
    Site(
        "kv.lookup",
        "prefix lookup",
        "core",
        (f"{_BLOCKS}.get_computed_blocks",),
        numbers=("cached tokens", "evicted tokens"),
    ),
    Site("kv.allocate", "allocate", "core", (f"{_BLOCKS}.allocate_slots",), numbers=("new tokens", "refused")),
    # Without spans: it is called for each cached block that is taken for other content.
    Site("kv.evict", "allocate", "core", (f"{_POOL}._emit_block_removed_events",), required=False),
    Site("scheduler.preempt", "preempt", "core", (f"{_SCHEDULER}._preempt_request",), numbers=("computed tokens", "")),
    Site(
        "executor.dispatch",
        "dispatch",
        "core",
        (f"{_MULTIPROC}MultiprocExecutor.execute_model", f"{_UNIPROC}.execute_model"),
        also=(f"{_RAY}.execute_model",),
    ),
    Site("scheduler.grammar", "grammar", "core", (f"{_SCHEDULER}.get_grammar_bitmask",)),
    Site(
        "executor.sample",
        "dispatch",
        "core",
        (f"{_MULTIPROC}MultiprocExecutor.sample_tokens", f"{_UNIPROC}.sample_tokens"),
        also=(f"{_RAY}.sample_tokens",),
    ),
    Site(
        "executor.wait",
        "wait: worker",
        "core",
        (f"{_MULTIPROC}FutureWrapper.result",),
        also=("vllm.v1.executor.ray_utils:FutureWrapper.result",),
        share="wait",
    ),
    # With several engines, so that those with requests need not wait for one that has none.
    Site(
        "executor.dummy",
        "dummy batch",
        "core",
        (
            f"{_MULTIPROC}MultiprocExecutor.execute_dummy_batch",
            "vllm.v1.executor.abstract:Executor.execute_dummy_batch",
        ),
    ),
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
)

# The shared-memory queue between core and worker; the role is that of the process.
QUEUE: tuple[Site, ...] = (
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
)

OUTPUT: tuple[Site, ...] = (
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
)
