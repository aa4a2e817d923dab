"""The one table of frames that tell what an engine's thread is about: whom it waits for, or what kind of work it does.

Frames in which a thread stands still, whatever it belongs to, are `tracing.pyspy.waitingframes`'. Names of vLLM and
torch are checked against their sources by a test; those of libraries that need not be installed are only prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tracing.pyspy.events import Frame, Stack
from tracing.pyspy.waitingframes import Key, key_of, with_bare
from tracing.sites.engine import SITES

CLIENT, FRONT_END, CORE, WORKER = "client", "front end", "core", "worker"

_QUEUE = "vllm/distributed/device_communicators/shm_broadcast.py"
_CORE = "vllm/v1/engine/core.py"
_CLIENT = "vllm/v1/engine/core_client.py"
_MULTIPROC = "vllm/v1/executor/multiproc_executor.py"
_GROUP = "vllm/distributed/parallel_state.py"


@dataclass(frozen=True)
class Awaited:
    """Who a thread waits for, by role, and for what."""

    role: str
    what: str


# By the role of the one that waits: the innermost of these on its stack says for whom.
WAITS: dict[str, dict[Key, Awaited]] = {
    FRONT_END: {
        (_CLIENT, "SyncMPClient.get_output"): Awaited(CORE, "outputs"),
        (_CLIENT, "SyncMPClient.call_utility"): Awaited(CORE, "the answer to a call"),
        ("vllm/v1/engine/utils.py", "wait_for_engine_startup"): Awaited(CORE, "its start"),
    },
    CORE: {
        (_QUEUE, "MessageQueue.dequeue"): Awaited(WORKER, "the answer to a call"),
        (_QUEUE, "MessageQueue.enqueue"): Awaited(WORKER, "room in the queue, which it does not read"),
        ("vllm/v1/executor/ray_utils.py", "FutureWrapper.result"): Awaited(WORKER, "the answer to a call"),
        (_MULTIPROC, "WorkerProc.wait_for_ready"): Awaited(WORKER, "its start"),
        (_CORE, "EngineCoreProc._process_input_queue"): Awaited(FRONT_END, "a request"),
    },
    WORKER: {
        (_QUEUE, "MessageQueue.dequeue"): Awaited(CORE, "the next call"),
        (_QUEUE, "MessageQueue.enqueue"): Awaited(CORE, "room in the queue, which it does not read"),
    },
}
# The threads without which an engine's process cannot go on; each stands in its function for life.
INPUT_THREAD: Key = (_CORE, "EngineCoreProc.process_input_sockets")
OUTPUT_THREAD: Key = (_CORE, "EngineCoreProc.process_output_sockets")
REPLY_THREAD: Key = (_MULTIPROC, "WorkerProc.async_output_busy_loop")
# A thread of a pool stands in this function as long as it computes what another thread may wait for.
POOL_WORK: Key = ("concurrent/futures/thread.py", "_WorkItem.run")
# A core that goes round here and has no batch for the workers: whatever waits in its scheduler cannot be scheduled.
STEP: Key = (_CORE, "EngineCoreProc._process_engine_step")
ROUNDS: tuple[Key, ...] = (STEP, (_CORE, "EngineCoreProc.run_busy_loop"))

# Anywhere on the stack: the operation that all ranks of a group must come to.
COLLECTIVES: tuple[Key, ...] = (
    *((_GROUP, f"GroupCoordinator.{name}") for name in ("all_reduce", "all_gather", "reduce_scatter", "gather")),
    *((_GROUP, f"GroupCoordinator.{name}") for name in ("broadcast", "broadcast_object", "broadcast_tensor_dict")),
    *((_GROUP, f"GroupCoordinator.{name}") for name in ("send_tensor_dict", "recv_tensor_dict", "barrier")),
    *((_GROUP, f"GroupCoordinator.{name}") for name in ("send", "recv", "send_object", "recv_object")),
    ("vllm/v1/worker/dp_utils.py", "coordinate_batch_across_dp"),
    ("vllm/v1/worker/gpu/dp_utils.py", "sync_cudagraph_and_dp_padding"),
    ("vllm/distributed/device_communicators/pynccl.py", "PyNcclCommunicator.__init__"),  # ends in a first all_reduce
    (_CORE, "DPEngineCoreProc._has_global_unfinished_reqs"),
)
# Anywhere on the stack: something compiles. What runs compiled code (`eval_frame`) is not among them.
COMPILERS: tuple[Key, ...] = (
    ("torch/_dynamo/convert_frame.py", None),
    ("torch/_inductor/compile_fx.py", "compile_fx"),
    ("torch/_inductor/compile_fx.py", "_compile_fx_inner"),
    ("torch/_inductor/async_compile.py", None),
    ("torch/_inductor/scheduler.py", None),
    ("torch/utils/cpp_extension.py", None),
    ("triton/compiler/compiler.py", None),
    ("triton/backends/nvidia/compiler.py", None),
    ("xgrammar/compiler.py", None),
)
COMPILING_FOLDERS = ("flashinfer/jit/", "tilelang/jit/")
# Where a thread of the engine itself (not one of the connector's own) waits for KV of another engine or store.
KV_FOLDERS = ("vllm/distributed/kv_transfer/", "lmcache/", "mooncake/", "nixl/", "flexkv/")
# Whatever else these call is a connector from elsewhere; neither stands on the stack while the model runs.
KV_CALLERS: tuple[Key, ...] = (
    ("vllm/v1/worker/kv_connector_model_runner_mixin.py", "KVConnectorModelRunnerMixin._get_kv_connector_output"),
    ("vllm/v1/worker/gpu/kv_connector.py", "ActiveKVConnector._start_load_kv"),
    ("vllm/v1/worker/gpu/kv_connector.py", "ActiveKVConnector.post_forward"),
)
# Files and network: a thread stands in a call of the system there.
IO_FILES = (
    "socket.py",
    "ssl.py",
    "http/client.py",
    "urllib/request.py",
    "urllib3/",
    "requests/",
    "httpx/",
    "httpcore/",
)
IO_FOLDERS = ("huggingface_hub/", "safetensors/", "fsspec/", "s3fs/", "boto3/", "botocore/", "runai_model_streamer/")

# The innermost frame of these calls a `synchronize` that is C and leaves none: the recorder's site says which they are.
DEVICE_WAITS: tuple[Key, ...] = tuple(
    (module.replace(".", "/") + ".py", function)
    for site in SITES
    if site.name == "device.wait"
    for module, _, function in (target.partition(":") for target in (*site.targets, *site.also))
)

SYNCHRONIZE = "synchronize"  # of an event that is written in Python, as those of other platforms are
WORKER_FOLDER = "vllm/v1/worker/"  # its code calls it

# The event loop itself: what stands inside one of these was called by it.
LOOPS: tuple[Key, ...] = (
    ("asyncio/events.py", "Handle._run"),
    ("asyncio/base_events.py", "BaseEventLoop.run_forever"),
    ("asyncio/runners.py", "Runner.run"),
    ("asyncio/runners.py", "run"),  # up to 3.10
    ("uvloop/__init__.py", "run"),
)

# Functions of C, by how their names begin; the innermost that is here counts (py-spy --native).
DEVICE, COLLECTIVE, COLLECTION, LOCK = "device", "collective", "garbage collection", "lock"
NATIVE: tuple[tuple[str, str], ...] = (
    *((name, DEVICE) for name in ("cuEventSynchronize", "cuStreamSynchronize", "cuCtxSynchronize", "cuMemcpyDtoH")),
    *((name, DEVICE) for name in ("cudaEventSynchronize", "cudaStreamSynchronize", "cudaDeviceSynchronize")),
    *((name, DEVICE) for name in ("hipEventSynchronize", "hipStreamSynchronize", "hipDeviceSynchronize")),
    *(
        (name, DEVICE) for name in ("cuLaunchKernel", "cuGraphLaunch", "hipLaunchKernel")
    ),  # it returns at once, else waits
    *((name, COLLECTIVE) for name in ("nccl", "gloo::", "c10d::", "rccl")),
    ("gc_collect_main", COLLECTION),
    ("PyThread_acquire_lock", LOCK),
    ("acquire_timed", LOCK),
    ("lock_PyThread_acquire_lock", LOCK),
)

# Functions of the kernel, by how their names begin, in which a thread waits for a file, a pipe, a socket or an event of
# one (wchan of /proc).
KERNEL_IO = (
    *("anon_pipe", "pipe_", "wait_for_partner", "wait_woken", "unix_", "inet_", "tcp_", "__skb_wait", "sk_"),
    *("poll_schedule", "do_epoll", "ep_poll", "do_select", "do_sys_poll", "locks_lock", "io_schedule", "folio_wait"),
    *("fuse_", "request_wait_answer", "nfs", "rpc_", "ceph_", "cifs_", "wait_for_response"),
)
KERNEL_SLEEP = ("hrtimer_nanosleep", "do_nanosleep")


_WAITS = {role: with_bare(keys) for role, keys in WAITS.items()}


def awaited_by(stack: Stack, role: str) -> tuple[Awaited, Frame] | None:
    """Whom a process of this role waits for in this stack, and the frame that shows it."""
    keys = _WAITS.get(role, {})
    return next(((keys[key], frame) for frame in reversed(stack) if (key := key_of(frame)) in keys), None)


def innermost_of(stack: Stack, keys: tuple[Key, ...], folders: tuple[str, ...] = ()) -> Frame | None:
    """The innermost frame that is one of these functions, or in one of these folders."""
    return next((frame for frame in reversed(stack) if is_one_of(frame, keys, folders)), None)


def is_one_of(frame: Frame, keys: tuple[Key, ...], folders: tuple[str, ...] = ()) -> bool:
    """Whether a frame is of one of these functions, its class named or not, or lies in one of these folders."""
    file, name = key_of(frame)
    named = any(file == own and (known is None or name in (known, known.rpartition(".")[2])) for own, known in keys)
    return named or file.startswith(folders)


def kv_connector(stack: Stack) -> Frame | None:
    """The innermost frame of a KV connector: by its folder, or by who has called it."""
    called = [frame for caller, frame in pairwise(stack) if is_one_of(caller, KV_CALLERS)]
    return innermost_of(stack, (), KV_FOLDERS) or next((each for each in reversed(called)), None)


def waits_for_device(stack: Stack) -> bool:
    """Whether the innermost frame is one that waits for the device, or a worker's code is in an event's wait."""
    if stack and is_one_of(stack[-1], DEVICE_WAITS):
        return True
    called = (frame for caller, frame in pairwise(stack) if caller.file.startswith(WORKER_FOLDER))
    return any(key_of(frame)[1].rpartition(".")[2] == SYNCHRONIZE for frame in called)


def native_kind(frame: Frame) -> str | None:
    """The kind of a function of C; None where it is not known."""
    return next((kind for name, kind in NATIVE if frame.name.startswith(name)), None)
