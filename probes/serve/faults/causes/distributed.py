"""Causes: several processes, cards or machines that do not come together; requests and calls that time out."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

DISTRIBUTED = (
    FaultCause(
        r"Duplicate GPU detected",
        "two workers were given the same card",
        "leave CUDA_VISIBLE_DEVICES to name as many different cards as --tensor-parallel-size; with Ray, a newer Ray",
        "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 10",
        "verl-project/verl#161",
    ),
    FaultCause(
        r"transport/nvls\.cc",
        "NCCL's NVLink SHARP does not work here (the driver, the fabric manager, or the container's memory lock limit)",
        "export NCCL_NVLS_ENABLE=0; docker run --ulimit memlock=-1 …",
        "node:2338:2379 [2] transport/nvls.cc:598 NCCL WARN Cuda failure 1 'invalid argument'",
        "NVIDIA/nccl#1672",
    ),
    FaultCause(
        r"custom_all_reduce\.cuh",
        "vLLM's own all-reduce does not work between these cards",
        "--disable-custom-all-reduce; it may also be expandable_segments in PYTORCH_CUDA_ALLOC_CONF: unset it",
        "Failed: Cuda error /workspace/csrc/custom_all_reduce.cuh:455 'invalid argument'",
        "vllm-project/vllm#49101",
    ),
    FaultCause(
        r"peer access is not supported|peer mapping of shared buffer|P2P is disabled",
        "these cards cannot reach each other's memory",
        "export NCCL_P2P_DISABLE=1, with --disable-custom-all-reduce",
        "RuntimeError: CUDA error: peer access is not supported between these two devices",
        "CUDA",
    ),
    FaultCause(
        r"NET/IB.*(?:error|fail)|ibv_\w+ (?:call )?failed|NCCL WARN Call to ibv_",
        "NCCL cannot use the InfiniBand or RoCE network",
        "export NCCL_IB_HCA=… with the right devices (ibstat lists them), or NCCL_IB_DISABLE=1; ulimit -l unlimited",
        "node:101:202 [0] NCCL WARN Call to ibv_reg_mr failed",
        "NCCL",
    ),
    FaultCause(
        r"NCCL error|DistBackendError|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|ncclInvalidUsage"
        r"|ncclRemoteError|RCCL error",
        "NCCL failed (on AMD, RCCL): the GPUs cannot talk to each other",
        "export NCCL_DEBUG=INFO and read the log again; --tensor-parallel-size 1 shows whether one GPU works",
        "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        "vllm/distributed/device_communicators/pynccl_wrapper.py",
        general=True,
    ),
    FaultCause(
        r"Failed to load NCCL library",
        "the NCCL library is not found, or is of another platform",
        "pip install nvidia-nccl-cu12 (of torch's CUDA), or export VLLM_NCCL_SO_PATH=/…/libnccl.so.2",
        "Failed to load NCCL library from libnccl.so.2. It is expected if you are not running on NVIDIA/AMD GPUs.",
        "vllm/distributed/device_communicators/pynccl_wrapper.py",
    ),
    FaultCause(
        r"Gloo connectFullMesh failed|Unable to find (?:address for|interface)",
        "the processes cannot reach each other: Gloo took a network interface that does not lead there",
        "export GLOO_SOCKET_IFNAME=eth0 and NCCL_SOCKET_IFNAME=eth0 (ip addr names them), and VLLM_HOST_IP=… on each "
        "node",
        "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error",
        "vllm-project/vllm#5094",
    ),
    FaultCause(
        r"client socket has (?:timed out|failed to connect)|waiting for clients",
        "a process could not reach the first one: its address or port is closed, or it never came up",
        "export VLLM_HOST_IP=… (an address the others reach), unset http_proxy, open the port; with containers, "
        "--network host",
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to "
        "(172.17.0.9, 46229).",
        "vllm-project/vllm#19670",
    ),
    FaultCause(
        r"server socket has failed to listen|EADDRINUSE",
        "port in use: one that vLLM's own processes meet at, not the HTTP server's",
        "end a left-over engine (python -m probes.doctor finds them), or export VLLM_PORT=… with another for each "
        "engine; for several machines --master-port=N",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
        "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "vllm-project/vllm#39015",
    ),
    FaultCause(
        r"Watchdog caught collective operation timeout",
        "a rank waited ten minutes or more for the others: one hangs or died, or the cards cannot reach each other",
        "look for the rank that is missing in the log; export NCCL_P2P_DISABLE=1 shows whether the links are at fault; "
        "python -m tracing.hang looks into a server that hangs",
        "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2, OpType=ALLREDUCE, "
        "NumelIn=134217728, NumelOut=134217728, Timeout(ms)=600000) ran for 600059 milliseconds before timing out.",
        "vllm-project/vllm#6042",
    ),
    FaultCause(
        r"Cannot provide a placement group",
        "Ray's cluster has fewer free GPUs than are asked for",
        "ray status names what is free; a smaller --tensor-parallel-size, or more nodes: ray start --address …",
        "ValueError: Cannot provide a placement group requiring 8 GPUs (placement_group_specs=[{'GPU': 1.0}]) within "
        "1800 seconds.",
        "vllm/v1/executor/ray_utils.py",
    ),
    FaultCause(
        r"Failed to import Ray|Using Ray backend requires",
        "Ray is asked for and is not installed",
        "pip install ray; on one machine, --distributed-executor-backend=mp does without",
        "ValueError: Failed to import Ray: No module.Please install Ray with `pip install ray`.",
        "vllm/v1/executor/ray_utils.py",
    ),
    FaultCause(
        r"Every node should have a unique IP address",
        "two nodes say that they have the same address",
        "export VLLM_HOST_IP=… on each node, with its own address",
        "RuntimeError: Every node should have a unique IP address. Got 2 nodes with node ids ['a', 'b'] and 1 unique "
        "IP addresses {'10.0.0.1'}. Please check your network configuration.",
        "vllm/v1/executor/ray_executor.py",
        versions="<0.33",
    ),
    FaultCause(
        r"Timed out waiting for engine(?: core processe)?s|Did not receive response from front-end",
        "the engine was not up in time: large weights on a slow disk, most often",
        "export VLLM_ENGINE_READY_TIMEOUT_S=3600; copy the weights to a local disk",
        "TimeoutError: Timed out waiting for engine core processes to start. This is often caused by slow weight "
        "loading for large models. Waited 600s (configured by VLLM_ENGINE_READY_TIMEOUT_S).",
        "vllm/v1/engine/core_client.py",
    ),
    FaultCause(
        r"RPC call to (\w+) timed out",
        "request time-out: a worker did not finish {1} in time; it hangs, or a collective waits for a rank that is "
        "gone",
        "export VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS=600 where a step may be slow (a first compilation); else "
        "NCCL_P2P_DISABLE=1 and --enforce-eager narrow it down; python -m tracing.hang looks into a server that hangs",
        "TimeoutError: RPC call to execute_model timed out.",
        "vllm/v1/executor/multiproc_executor.py",
    ),
    FaultCause(
        r"No available shared memory broadcast block found",
        "a worker has not taken its next step for a minute: it compiles, loads, or hangs",
        "wait where it is the first start; else python -m tracing.hang (or py-spy dump --pid …) says where it stands",
        "No available shared memory broadcast block found in 60 seconds. This typically happens when some processes "
        "are hanging or doing some time-consuming work",
        "vllm/distributed/device_communicators/shm_broadcast.py",
        general=True,
    ),
    FaultCause(
        r"died unexpectedly(?! \(exit code: -(?:4|9|11)\))|EngineCore encountered an issue",
        "a process of the engine died, and its own last words are not in this log",
        "look at dmesg (out of memory, Xid) and at the log of every node; start it again with --enforce-eager",
        "Worker proc VllmWorker-1 died unexpectedly (exit code: 1), shutting down executor.",
        "vllm/v1/executor/multiproc_executor.py",
        general=True,
    ),
    FaultCause(
        r"NCCL WARN (?:Failed to CUDA calloc|Cuda failure.*out of memory)",
        "out of memory on the GPU: NCCL found none for its buffers",
        "a lower --gpu-memory-utilization; export NCCL_CUMEM_ENABLE=0",
        "node:101:202 [1] include/alloc.h:187 NCCL WARN Failed to CUDA calloc async 608 bytes",
        "NCCL",
    ),
    FaultCause(
        r"Ray version (\S+) is required",
        "the installed Ray is too old for this vLLM",
        "pip install 'ray[cgraph]>={1}' on every node",
        "ValueError: Ray version 2.43.0 is required, but found 2.40.0",
        "vllm/v1/executor/ray_executor.py",
        versions="<0.33",
    ),
    FaultCause(
        r"Cannot assign requested address",
        "an address was given that this machine does not have",
        "--host=0.0.0.0; export VLLM_HOST_IP=… with an address that ip addr lists",
        "OSError: [Errno 99] Cannot assign requested address",
        "Python",
    ),
    FaultCause(
        r"[Cc]onnection (?:closed|reset) by peer|Broken pipe",
        "another process ended first: its own words come before, or stand in another node's log",
        "look for the first error of all logs; dmesg where there is none (out of memory, Xid)",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "Python",
        general=True,
    ),
)
