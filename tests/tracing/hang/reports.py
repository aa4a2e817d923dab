"""Hangs that were reported in public, rebuilt small: the frames that tell, the cause that was found, and the thread.

Every line is written for these tests; only the names of functions and files are the reports'.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracing.hang.doing import HangCause

VLLM = "https://github.com/vllm-project/vllm/"


@dataclass(frozen=True)
class Report:
    """What was pasted, and what it should be called: the first answer's cause, whose it is, words of it."""

    address: str
    text: str
    cause: HangCause
    process: str
    words: str = ""


QUEUE = "vllm/distributed/device_communicators/shm_broadcast.py"
MULTIPROC = "vllm/v1/executor/multiproc_executor.py"
FRONT = """Process 1: vllm serve some/model
Thread 1 (idle): "MainThread"
    select (selectors.py:468)
    _run_once (asyncio/base_events.py:1898)
    run_forever (asyncio/base_events.py:607)
    run (asyncio/runners.py:118)
"""
WAITING_CORE = f"""Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    poll (zmq/sugar/poll.py:106)
    wait ({QUEUE}:198)
    acquire_read ({QUEUE}:698)
    dequeue ({QUEUE}:779)
    get_response ({MULTIPROC}:387)
    result ({MULTIPROC}:90)
    step_with_batch_queue (vllm/v1/engine/core.py:590)
    run_busy_loop (vllm/v1/engine/core.py:1000)
    run_engine_core (vllm/v1/engine/core.py:960)
"""
IDLE_CORE = """Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    wait (threading.py:355)
    get (queue.py:171)
    _process_input_queue (vllm/v1/engine/core.py:1300)
    run_engine_core (vllm/v1/engine/core.py:1200)
Thread 12 (idle): "Thread-1 (process_input_sockets)"
    poll (zmq/sugar/poll.py:106)
    process_input_sockets (vllm/v1/engine/core.py:1557)
Thread 13 (idle): "Thread-2 (process_output_sockets)"
    wait (threading.py:355)
    get (queue.py:171)
    process_output_sockets (vllm/v1/engine/core.py:1624)
"""


def idle_worker(pid: int, title: str) -> str:
    return f"""Process {pid}: VLLM::{title}
Thread {pid} (idle): "MainThread"
    poll (zmq/sugar/poll.py:106)
    wait ({QUEUE}:198)
    acquire_read ({QUEUE}:698)
    dequeue ({QUEUE}:779)
    worker_busy_loop ({MULTIPROC}:973)
    worker_main ({MULTIPROC}:879)
"""


WORKERS = idle_worker(20, "Worker_TP0") + idle_worker(21, "Worker_TP1")
BOTH_IN_A_REMOTE_QUEUE = f"""Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    poll (zmq/sugar/poll.py:106)
    poll (zmq/sugar/socket.py:1062)
    recv ({QUEUE}:802)
    dequeue ({QUEUE}:794)
    get_response ({MULTIPROC}:387)
    _wait_for_response ({MULTIPROC}:95)
    step_with_batch_queue (vllm/v1/engine/core.py:590)
    run_engine_core (vllm/v1/engine/core.py:960)
Process 20: ray::RayWorkerProc
Thread 20 (idle): "MainThread"
    poll (zmq/sugar/poll.py:106)
    poll (zmq/sugar/socket.py:1062)
    recv ({QUEUE}:802)
    dequeue ({QUEUE}:794)
    worker_busy_loop ({MULTIPROC}:973)
"""
CONNECTOR_NEVER_REPORTS = f"""{FRONT}{IDLE_CORE}Thread 11 (idle): "mq-client-shared-loop"
    poll (zmq/sugar/poll.py:106)
    _main_loop (lmcache/v1/multiprocess/mq.py:240)
{WORKERS}"""
SAMPLING_AT_WARM_UP = """Process 10: VLLM::EngineCore
Thread 10 (active)
    top_k_top_p_sampling_from_logits (flashinfer/sampling.py:1548)
    flashinfer_sample (vllm/v1/sample/ops/topk_topp_sampler.py:508)
    warmup_kernels (vllm/v1/worker/gpu/warmup.py:348)
    collective_rpc (vllm/v1/executor/uniproc_executor.py:103)
    __init__ (vllm/v1/engine/core.py:145)
"""
EVENT_NEVER_HAPPENS = """Process 10: VLLM::EngineCore
Thread 10 (active): "MainThread"
    cuEventSynchronize (libcuda.so.590)
    cudaEventSynchronize (libcudart.so.13)
    _to_list (vllm/v1/worker/gpu_model_runner.py:6800)
    _bookkeeping_sync (vllm/v1/worker/gpu_model_runner.py:3400)
    sample_tokens (vllm/v1/worker/gpu_model_runner.py:4300)
    step (vllm/v1/engine/core.py:400)
    run_engine_core (vllm/v1/engine/core.py:960)
"""
COPY_NEVER_DONE = """Process 10: VLLM::EngineCore
Thread 10 (active): "MainThread"
    get_output (vllm/v1/worker/gpu_model_runner.py:290)
    result (vllm/v1/executor/uniproc_executor.py:60)
    step_with_batch_queue (vllm/v1/engine/core.py:590)
    run_engine_core (vllm/v1/engine/core.py:960)
"""
OLD_ALL_REDUCE = """Thread 0x00007f01 (most recent call first):
  File "/env/lib/python3.10/dist-packages/torch/distributed/distributed_c10d.py", line 2050 in all_reduce
  File "/workspace/vllm/model_executor/parallel_utils/communication_op.py", line 24 in tensor_model_parallel_all_reduce
  File "/workspace/vllm/model_executor/models/llama.py", line 78 in forward
  File "/workspace/vllm/worker/worker.py", line 210 in execute_model
"""
READER_STARVES = """(EngineCore pid=280) INFO [shm_broadcast.py:802] No available shared memory broadcast block found \
in 60 seconds.
"""
SAMPLING_TIMED_OUT = """(EngineCore_DP0 pid=32080) ERROR [core.py:1102] EngineCore encountered a fatal error.
(EngineCore_DP0 pid=32080) ERROR [core.py:1102] TimeoutError: RPC call to sample_tokens timed out.
"""
CORE_DOES_NOT_START = """DEBUG 05-16 13:12:16 [core_client.py:425] Waiting for 1 core engine proc(s) to start: {0}
DEBUG 05-16 13:12:26 [core_client.py:425] Waiting for 1 core engine proc(s) to start: {0}
"""
WATCHDOG = """(RayWorkerWrapper pid=9) [rank1]:[E] [Rank 1] Watchdog caught collective operation \
timeout: WorkNCCL(SeqNum=158046, OpType=GATHER, NumelIn=1, Timeout(ms)=600000) ran for 600027 milliseconds
"""
TOKENIZING_ON_THE_LOOP = f"""Process 1: vllm serve some/model --tokenizer-mode mistral
Thread 1 (active+gil): "MainThread"
    encode_chat_completion (mistral_common/tokens/tokenizers/mistral.py:400)
    apply_mistral_chat_template (vllm/entrypoints/chat_utils.py:1500)
    _preprocess_chat (vllm/entrypoints/openai/serving_engine.py:900)
    create_chat_completion (vllm/entrypoints/openai/serving_chat.py:250)
    run (uvloop/__init__.py:109)
Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    wait (threading.py:355)
    get (queue.py:171)
    _process_input_queue (vllm/v1/engine/core.py:900)
    run_engine_core (vllm/v1/engine/core.py:860)
{idle_worker(20, "Worker_TP0")}"""
PREFILL_SIDE_NOT_READY = """(Worker_DP6_EP6 pid=9774) ERROR [mooncake_connector.py:1899] pulling kv_caches failed: \
Timeout waiting for P side ready.
"""
ENGINES_OUT_OF_STEP = f"""{FRONT}{WAITING_CORE.replace("EngineCore", "EngineCore_DP0")}Process 20: VLLM::Worker_DP0
Thread 20 (active): "MainThread"
    all_reduce (torch/distributed/distributed_c10d.py:2900)
    coordinate_batch_across_dp (vllm/v1/worker/dp_utils.py:180)
    execute_model (vllm/v1/worker/gpu_model_runner.py:2500)
    worker_busy_loop ({MULTIPROC}:973)
Process 11: VLLM::EngineCore_DP1
Thread 11 (active): "MainThread"
    all_reduce (torch/distributed/distributed_c10d.py:2900)
    _has_global_unfinished_reqs (vllm/v1/engine/core.py:1700)
    run_engine_core (vllm/v1/engine/core.py:960)
{idle_worker(21, "Worker_DP1")}"""
COMPILES_FOR_EVER = """Process 10: VLLM::EngineCore_0
Thread 10 (idle): "MainThread"
    wait (threading.py:355)
    result (concurrent/futures/_base.py:451)
    _wait_futures (torch/_inductor/async_compile.py:300)
    compile_fx (torch/_inductor/compile_fx.py:1500)
    _compile (torch/_dynamo/convert_frame.py:900)
    profile_run (vllm/v1/worker/gpu_model_runner.py:1400)
    __init__ (vllm/v1/engine/core.py:70)
"""
LONG_QUEUE = """(APIServer pid=851) INFO [loggers.py:257] Engine 000: Avg prompt throughput: 0.0 tokens/s, \
Avg generation throughput: 5.4 tokens/s, Running: 1 reqs, Waiting: 14 reqs, GPU KV cache usage: 76.5%
"""
FIRST_ALL_REDUCE = f"""{WAITING_CORE}Process 20: VLLM::Worker
Thread 20 (active): "MainThread"
    synchronize (torch/cuda/streams.py:93)
    __init__ (vllm/distributed/device_communicators/pynccl.py:101)
    init_device (vllm/v1/worker/gpu_worker.py:200)
    worker_main ({MULTIPROC}:879)
"""

REPORTS = (
    Report(
        f"{VLLM}issues/50835", BOTH_IN_A_REMOTE_QUEUE, HangCause.LOST, "worker", "core EngineCore (10) for the answer"
    ),
    Report(
        "https://github.com/LMCache/LMCache/issues/4759",
        CONNECTOR_NEVER_REPORTS,
        HangCause.REMOTE_KV,
        "core EngineCore",
    ),
    Report(f"{VLLM}issues/17676", SAMPLING_AT_WARM_UP, HangCause.PYTHON, "core", "top_k_top_p_sampling_from_logits"),
    Report(f"{VLLM}issues/42897", EVENT_NEVER_HAPPENS, HangCause.DEVICE, "core", "cuEventSynchronize"),
    Report(f"{VLLM}issues/52247", COPY_NEVER_DONE, HangCause.DEVICE, "core"),
    Report(f"{VLLM}issues/2731", OLD_ALL_REDUCE, HangCause.COLLECTIVE, "worker", "all_reduce"),
    Report(f"{VLLM}issues/51921", READER_STARVES, HangCause.UNKNOWN, "a worker", "has not answered the core"),
    Report(f"{VLLM}issues/37250", SAMPLING_TIMED_OUT, HangCause.UNKNOWN, "a worker", "sample_tokens"),
    Report(f"{VLLM}issues/18260", CORE_DOES_NOT_START, HangCause.UNKNOWN, "core", "has not started yet"),
    Report(f"{VLLM}issues/5484", WATCHDOG, HangCause.COLLECTIVE, "RayWorkerWrapper", "OpType=GATHER"),
    Report(f"{VLLM}issues/24910", TOKENIZING_ON_THE_LOOP, HangCause.EVENT_LOOP, "front end", "encode_chat_completion"),
    Report(f"{VLLM}issues/50719", PREFILL_SIDE_NOT_READY, HangCause.REMOTE_KV, "Worker_DP6_EP6"),
    Report(
        f"{VLLM}issues/28224",
        ENGINES_OUT_OF_STEP,
        HangCause.COLLECTIVE,
        "worker Worker_DP0",
        "coordinate_batch_across_dp (worker Worker_DP0 (20)), _has_global_unfinished_reqs (core EngineCore_DP1 (11))",
    ),
    Report(f"{VLLM}issues/15360", COMPILES_FOR_EVER, HangCause.COMPILES, "core", "compiles"),
    Report("https://github.com/intel/llm-scaler/issues/391", LONG_QUEUE, HangCause.SLOW, "the engine"),
    Report(
        f"{VLLM}pull/41834", idle_worker(20, "Worker_TP0_EP0"), HangCause.IDLE, "worker Worker_TP0_EP0", "the next call"
    ),
    Report(f"{VLLM}issues/12292", FIRST_ALL_REDUCE, HangCause.COLLECTIVE, "worker Worker (20)"),
)
