"""Why a server did not start: the last errors of its log, the likely cause, and what to try.

The patterns are of messages of vLLM 0.31 to 0.33, torch, transformers and the system.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

import psutil

from probes.processes.enginegroup import listener
from probes.processes.log import MARKS
from probes.serve.command import PROGRAM
from probes.serve.process import NotReady

LINES_SHOWN = 6
LINE_WIDTH = 300
RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit)\b(?:: |$)")
SAID = re.compile(
    r"^(?:\S+\.py|python\S*|/\S+|vllm\S*): (?:error: |No module named |can't open )"
    r"|^Killed$|^Fatal |^/\S*sh: .*not found$"
)
MORE_MEMORY = "a smaller --engine kv_cache_memory_bytes=N, a smaller model, or end what else runs"
NEXT_WORDS = 2  # pydantic tells what is wrong on the lines after the exception's own

# What the log says; the likely cause; what to try. The first row that matches speaks. {1} is its first group.
KNOWN = (
    (
        r"No module named '?vllm'?(?:$|[^.\w])|PackageNotFoundError: No package metadata was found for vllm",
        "vLLM is not installed in this Python",
        "make env, then .venv/bin/python -m probes.serve; python -m probes.doctor shows the rest",
    ),
    (
        r"operator torchvision::nms does not exist",
        "wrong build: a torchvision for another torch than the one installed",
        "pip uninstall torchvision torchaudio torchcodec; none of them is needed",
    ),
    (
        r"Failed to infer device type|libcudart\S*: cannot open|libcuda\.so\S*: cannot open"
        r"|Torch not compiled with CUDA|no kernel image is available|HIP error: invalid device function"
        r"|No module named 'vllm\._C|vllm/_C\S*: undefined symbol",
        "wrong build: this vLLM or torch was built for another device or another torch than there is here",
        "python -m probes.doctor names the build; requirements/cpu.txt and gpu.txt are sets that fit together",
    ),
    (
        r"(?i)address already in use",
        "port in use: {port}, {holder}",
        "end it, or take another: --port {other_port}",
    ),
    (
        r"RepositoryNotFoundError|Repository Not Found",
        "model not found: the hub has no model of this name (it answers 401 for a name that does not exist)",
        "check its name; for a private model, export HF_TOKEN=…",
    ),
    (
        r"gated repo|401 Client Error|403 Client Error",
        "the hub gives out this model only to users who have accepted its terms",
        "accept the model's terms there, then export HF_TOKEN=…",
    ),
    (
        r"Repo id must be|is not a local folder and is not a valid model identifier"
        r"|LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to|Invalid repository ID or local directory"
        r"|Can't load the configuration|does not appear to have a file named config\.json"
        r"|Cannot find any model weights|Max retries exceeded",
        "model not found: it is neither a folder with a model here, nor could it be fetched from a hub",
        "check its name; leave MODEL out for the default model, which python -m probes.checkpoint unpacks",
    ),
    (
        r"is needed, which is larger than the available KV cache memory.*?(?:maximum model length is (\d+))",
        "out of memory: the KV cache has no room for one request of --max-len tokens",
        "--max-len {1}, or more memory for it: {more_kv}",
    ),
    (
        r"is needed, which is larger than the available KV cache memory",
        "out of memory: the KV cache has no room for one request of --max-len tokens",
        "a smaller --max-len, or more memory for it: {more_kv}",
    ),
    (
        r"No available memory for the cache blocks",
        "out of memory: the weights leave no room for a KV cache",
        "{more_kv}, or a smaller model or dtype, or more --gpus",
    ),
    (
        r"Free memory on device .*less than (?:desired GPU memory utilization|the engine's budget)",
        "out of memory: other processes hold part of the GPU's memory",
        "a lower --gpu-util, or end them: nvidia-smi (or amd-smi process) names them; python -m probes.doctor finds "
        "left-over engines",
    ),
    (
        r"Decrease --kv-cache-memory-bytes|on kv cache allocation is less than requested",
        "out of memory: less main memory is free than the KV cache needs",
        "a smaller --engine kv_cache_memory_bytes=N, or a smaller VLLM_CPU_KVCACHE_SPACE",
    ),
    (
        r"(?:CUDA|HIP) out of memory|torch\.OutOfMemoryError|(?:CUDA|HIP) error: out of memory",
        "out of memory on the GPU",
        "a smaller --max-len or --engine max_num_seqs=N first, then a lower --gpu-util, then more --gpus",
    ),
    (
        r"can't allocate memory|MemoryError|Cannot allocate memory|(?m:^Killed$)",
        "out of main memory",
        MORE_MEMORY,
    ),
    (
        r"max_model_len \(?\d+\)? is greater than the derived max_model_len \([^=]*=(\d+)",
        "--max-len is longer than the model was made for",
        "--max-len {1}",
    ),
    (
        r"World size \((\d+)\) is larger than the number of available GPUs|must be divisible by tensor parallel size",
        "--gpus does not fit: there are fewer GPUs, or it does not divide the model's heads",
        "another --gpus; python -m probes.machine lists the GPUs",
    ),
    (
        r"driver on your system is too old|CUDA driver version is insufficient|driver / cuda driver combination",
        "the NVIDIA driver is older than this build of torch needs",
        "a newer driver; or a vLLM built for the CUDA version that nvidia-smi names at its top",
    ),
    (
        r"No (?:CUDA|HIP) GPUs are available|Found no NVIDIA driver|CUDA unknown|CUDA driver initialization failed"
        r"|cudaGetDeviceCount",
        "no GPU can be used: its driver is not loaded or fails, or a variable such as CUDA_VISIBLE_DEVICES hides it",
        "python -m probes.doctor says what is there, nvidia-smi or amd-smi what the driver says",
    ),
    (
        r"Could not find nvcc|nvcc: not found|nvcc'?: No such file|directory: '(?:\S*/)?nvcc'"
        r"|CUDA_HOME environment variable is not set",
        "no nvcc: kernels that are built at the first start (FlashInfer's) need the CUDA toolkit",
        "install the toolkit of torch's CUDA version and export CUDA_HOME=…; or export VLLM_USE_FLASHINFER_SAMPLER=0",
    ),
    (
        r"Ninja build failed|Error building extension|Command '\['ninja'|directory: 'ninja'",
        "a kernel that has to be built at the first start could not be built",
        "read the compiler's messages in the log; python -m probes.doctor looks at the installation",
    ),
    (
        r"Failed to find C compiler|InvalidCxxCompiler|No working C\+\+ compiler"
        r"|No such file or directory: '(?:gcc|cc|g\+\+)'",
        "no C compiler: Triton and torch.compile need one at the start",
        "install gcc and g++ (Debian: apt-get install build-essential), or export CC=… and CXX=…",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "a disk is full: the hub's cache, vLLM's cache, /tmp or /dev/shm",
        "df -h names it; python -m probes.doctor looks at the disks; HF_HOME=… puts the hub's cache on another",
    ),
    (
        r"SafetensorError",
        "a file of the model is damaged, or was only half fetched",
        "delete the model's folder, or its entry in the hub's cache, and fetch it again",
    ),
    (
        r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|ncclInvalidUsage",
        "NCCL failed: the GPUs cannot talk to each other",
        "export NCCL_DEBUG=INFO and read the log again; --gpus 1 shows whether one GPU works",
    ),
    (
        r"Transformers does not recognize this architecture",
        "the installed transformers is older than the model",
        "pip install --upgrade transformers, or a newer vLLM that asks for a newer one",
    ),
    (
        r"quantization method (\S+) is not supported for the current GPU",
        "this GPU is too old for the model's quantization ({1})",
        "the model in another quantization, or without one; the log names both compute capabilities",
    ),
    (
        r"only supported on GPUs with compute capability",
        "the model's dtype is too new for this GPU",
        "--engine dtype=half",
    ),
    (
        r"No common block size for \d+",
        "the attention backend does not take this block size",
        "leave --engine block_size out, or give a multiple of 32 on CPU",
    ),
    (
        r"Model architectures .* are not supported",
        "this vLLM does not know the model's architecture",
        "a newer vLLM, or another model",
    ),
    (
        r"unrecognized arguments: (.*)|error: argument (.*)",
        "vLLM does not take an --engine argument as given",
        "correct its spelling or value; python -m {program} --help=all lists them",
    ),
)


@dataclass(frozen=True)
class Diagnosis:
    """Why the server is not there: in a line, the likely cause and the remedy, and its own last words."""

    what: str
    cause: str
    remedy: str
    lines: list[str]


def diagnose(log: str, ended: NotReady, port: int, on_gpu: bool) -> Diagnosis:
    """What the log and the end of the process tell."""
    what = f"{_end(ended.exit_code)}; the last thing it did: {ended.doing}"
    lines = error_lines(log)
    shown = (lines or [line.strip() for line in log.splitlines() if line.strip()])[-LINES_SHOWN:]
    for pattern, cause, remedy in KNOWN:
        if match := re.search(pattern, "\n".join(lines)):
            groups, words = (match[0], *match.groups()), _words(port, on_gpu)
            return Diagnosis(what, cause.format(*groups, **words), remedy.format(*groups, **words), shown)
    return Diagnosis(what, *_by_its_end(ended.exit_code), shown)


def error_lines(log: str) -> list[str]:
    """The exceptions of a log and what command lines are refused with, each once, without the frames between."""
    lines = [MARKS.sub("", line).rstrip() for line in re.split(r"[\r\n]+", log)]
    errors: dict[str, None] = {}  # in order
    for at, line in enumerate(lines):
        if RAISED.match(line):
            more = lines[at + 1 : at + 1 + NEXT_WORDS] if "ValidationError" in line else []
            errors[" ".join([line, *map(str.strip, more)]).strip()[:LINE_WIDTH]] = None
        elif SAID.search(line):
            errors[line[:LINE_WIDTH]] = None
    return list(errors)


def _end(code: int | None) -> str:
    if code is None:
        return "it was not ready in time and was stopped"
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"


def _by_its_end(code: int | None) -> tuple[str, str]:
    if code is None:
        return "it is slow, or it hangs; its log says which", "a longer --timeout"
    if code == -signal.SIGKILL:
        return "out of main memory: the system killed it (dmesg says so), or someone did", MORE_MEMORY
    return "not one of the causes known here", "read its log; python -m probes.doctor looks at the installation"


def _words(port: int, on_gpu: bool) -> dict[str, str | int]:
    """What the texts of `KNOWN` name."""
    more_kv = "--gpu-util nearer to 1" if on_gpu else "a larger --engine kv_cache_memory_bytes=N"
    return {"port": port, "holder": holder(port), "other_port": port + 1, "more_kv": more_kv, "program": PROGRAM}


def holder(port: int) -> str:
    """Who listens on a port: its program and PID. Its arguments may hold keys and are not shown."""
    pid = listener(port)
    try:
        return f"by {psutil.Process(pid).name()} (process {pid})" if pid else "but the system does not show by whom"
    except psutil.Error:
        return f"by process {pid}"
