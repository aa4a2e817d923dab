"""The log of a server: which phase it is in, and why it ended, with a remedy."""

from __future__ import annotations

import contextlib
import socket

import pytest

from probes.serve.faults.diagnosis import diagnose, read_errors
from probes.serve.process import NotReady, StartPhase, Startup, phase_of


def test_phases() -> None:
    assert phase_of("(EngineCore pid=2) INFO 11-21 11:27:42 [x.py:1] GPU KV cache size: 1 tokens") == (
        "makes the KV cache, warms up"
    )
    assert phase_of("INFO:     Started server process [17897]") is None
    startup = Startup([StartPhase("imports vLLM", 0.0), StartPhase("loads the weights", 4.0)], 10.0)
    assert list(startup.split()) == [("imports vLLM", 4.0), ("loads the weights", 6.0)]


LOG = """(EngineCore pid=2) INFO 11-21 11:27:43 [core.py:1] all is well
(EngineCore pid=2) ERROR 11-21 11:27:43 [core.py:99] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-21 11:27:43 [core.py:99]   File "x.py", line 1, in f
(EngineCore pid=2) ERROR 11-21 11:27:43 [core.py:99] ValueError: To serve at least one request, (0.1 GiB KV cache is \
needed, which is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated \
maximum model length is 96. Try increasing `gpu_memory_utilization`
(EngineCore pid=2) Traceback (most recent call last):
(EngineCore pid=2) ValueError: To serve at least one request, (0.1 GiB KV cache is \
needed, which is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated \
maximum model length is 96. Try increasing `gpu_memory_utilization`
RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_cause_is_in_the_first_words_and_all_are_shown_once() -> None:
    fault = diagnose(LOG, NotReady(1, "warms up"), 8000, on_gpu=True)
    assert fault.cause == "out of memory: the KV cache has no room for one request of --max-len tokens"
    assert fault.remedy == "--max-len 96, or more memory for it: --gpu-util nearer to 1"
    assert [line[:20] for line in fault.lines] == ["ValueError: To serve", "RuntimeError: Engine"]


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        ("/bin/python: No module named vllm", "vLLM is not installed", "make env"),
        ("ModuleNotFoundError: No module named 'vllm'", "vLLM is not installed", "make env"),
        ("ModuleNotFoundError: No module named 'vllm._C'", "wrong build", "probes.doctor"),
        ("ImportError: libcudart.so.12: cannot open shared object file", "wrong build", "probes.doctor"),
        ("RuntimeError: operator torchvision::nms does not exist", "wrong build", "pip uninstall torchvision"),
        ("RuntimeError: Failed to infer device type, please set", "wrong build", "requirements/cpu.txt"),
        ("OSError: [Errno 98] Address already in use", "port in use: 9, but the system", "--port "),
        ("OSError: You are trying to access a gated repo.", "accepted its terms", "HF_TOKEN"),
        ("huggingface_hub.errors.HFValidationError: Repo id must be", "model not found", "check its name"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "out of memory on the GPU", "--max-len"),
        ("ValueError: Free memory on device cuda:0 (1/80 GiB) on startup is less than desired GPU memory utilization",
         "other processes hold", "a lower --gpu-util"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "out of main memory",
         "kv_cache_memory_bytes"),
        ("ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).", "block size", "32"),
        ("api_server.py: error: unrecognized arguments: --frob 1", "an argument", "--help=all"),
        ("RuntimeError: The NVIDIA driver on your system is too old", "driver is older", "newer"),
        ("RuntimeError: Could not find nvcc and default cuda_home", "no nvcc", "toolkit"),
        ("/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found", "no nvcc", "CUDA_HOME"),
        ("RuntimeError: Ninja build failed. Ninja output:", "could not be built", "log"),
        ("RuntimeError: Failed to find C compiler. Please specify via CC", "no C compiler", "build-essential"),
        ("RuntimeError: NCCL error: unhandled cuda error", "NCCL failed", "NCCL_DEBUG"),
        ("ValueError: model type x but Transformers does not recognize this architecture.", "older than", "upgrade"),
        ("ValueError: The quantization method awq is not supported for the current GPU.", "(awq)", "quantization"),
        ("hub.errors.RepositoryNotFoundError: 401 Client Error.", "model not found", "check its name"),
        ("torch.AcceleratorError: HIP error: out of memory", "out of memory on the GPU", "--max-len"),
        ("RuntimeError: HIP error: invalid device function", "wrong build", "probes.doctor"),
        ("RuntimeError: No HIP GPUs are available", "no GPU can be used", "amd-smi"),
        ("RuntimeError: Found no NVIDIA driver on your system.", "no GPU can be used", "nvidia-smi"),
        ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / "
         "cuda driver combination", "driver is older", "newer"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'nvcc'", "no nvcc", "CUDA_HOME"),
        ("subprocess.CalledProcessError: Command '['ninja', '-v']' returned 1.", "could not be built", "log"),
        ("OSError: [Errno 28] No space left on device", "a disk is full", "df -h"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "damaged", "fetch it again"),
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded", "cannot be reached",
         "HF_ENDPOINT"),
        ("Killed", "out of main memory", "end what else runs"),
        ("ModuleNotFoundError: No module named 'flash_attn'", "flash_attn is not installed", "pip install flash-attn"),
        ("ModuleNotFoundError: No module named 'vllm.vllm_flash_attn'", "flash_attn is not installed", "TRITON_ATTN"),
        ("ImportError: This modeling file requires the following packages that were not found in your environment: "
         "einops, timm. Run `pip install einops timm`", "not installed", "pip install einops timm"),
        ("ModuleNotFoundError: No module named 'decord'", "in this Python: decord", "has it"),
        ("ValueError: Unrecognized configuration class <class 'x.XConfig'> for this kind of AutoModel: A.",
         "older than the model", "upgrade"),
        ("ValueError: Tokenizer class NewTokenizer does not exist or is not currently imported.", "older", "upgrade"),
        ("ValueError: Unrecognized model in /models/lora. Should have a `model_type` key in its config.json.",
         "config.json", "adapter"),
        ("ValueError: Please set the option `trust_remote_code=True` to permit loading", "own", "trust_remote_code"),
        ("PermissionError: [Errno 13] Permission denied: '/data/hub/models--a--b'", "write /data/hub/models--a--b",
         "HF_HOME"),
        ("OSError: PermissionError at /root/.cache/huggingface/hub when downloading a/b.", "/root/.cache", "HF_HOME"),
        ("PermissionError: [Errno 13] Permission denied", "9 is a privileged port", "--port 8000"),
        ("run.sh: line 2:    41 Segmentation fault      (core dumped) python server.py", "segmentation fault",
         "PYTHONFAULTHANDLER"),
        ("Fatal Python error: Segmentation fault", "segmentation fault", "PYTHONFAULTHANDLER"),
        ("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
         "{'EngineCore_DP0': -11}", "segmentation fault", "PYTHONFAULTHANDLER"),
        ("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
         "{'EngineCore_DP0': -9}", "out of main memory", "end what else runs"),
        ("Worker proc VllmWorker-1 died unexpectedly (exit code: -4), shutting down", "wrong build", "AVX"),
        ("ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found", "wrong build", "newer system"),
        ("requests.exceptions.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "not trusted",
         "SSL_CERT_FILE"),
        ("huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url", "too many", "HF_TOKEN"),
        ("OSError: [Errno 24] Too many open files", "open files", "ulimit -n"),
        ("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", "a kernel failed", "BLOCKING"),
    ],
)  # fmt: skip
def test_known_faults(line, cause, remedy) -> None:
    fault = diagnose(f"INFO 11-21 11:27:43 [a.py:1] begins\n{line}\n", NotReady(1, "x"), 9, on_gpu=True)
    assert cause in fault.cause and remedy in fault.remedy
    assert fault.lines == [line]


def test_a_port_that_is_proposed_was_tried() -> None:
    with socket.socket() as taken, socket.socket() as next_taken:
        port = two_in_a_row(taken, next_taken)
        fault = diagnose("OSError: [Errno 98] Address already in use\n", NotReady(1, "x"), port, on_gpu=True)
    assert fault.cause.startswith(f"port in use: {port}, by ")
    assert int(fault.remedy.rpartition("--port ")[2]) > port + 1


def two_in_a_row(one: socket.socket, other: socket.socket) -> int:
    """Listen on two ports that follow each other; the first of them."""
    for port in range(20_000, 30_000):
        with contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            break
    one.listen()
    with contextlib.suppress(OSError):  # another's already
        other.bind(("127.0.0.1", port + 1))
        other.listen()
    return port


def test_an_engine_without_a_server_has_no_port_to_be_named() -> None:
    fault = diagnose("OSError: [Errno 98] Address already in use\n", NotReady(1, "x"), 0, on_gpu=True)
    assert fault.cause == "port in use: the port, by another program"


def test_a_length_beyond_the_model_is_reported_with_the_right_one() -> None:
    log = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
        "(max_position_embeddings=8192 or model_max_length=None in model's config.json). [type=value_error]\n"
    )
    fault = diagnose(log, NotReady(1, "x"), 9, on_gpu=False)
    assert fault.remedy == "--max-len 8192" and len(fault.lines) == 1


def test_unknown_ends() -> None:
    killed = diagnose("INFO 11-21 11:27:43 [a.py:1] on its way\n", NotReady(-9, "loads the weights"), 9, on_gpu=False)
    assert killed.what == "it was ended by SIGKILL; the last thing it did: loads the weights"
    assert killed.cause.startswith("out of main memory") and killed.lines
    faulted = diagnose("INFO 11-21 11:27:43 [a.py:1] on its way\n", NotReady(-11, "x"), 9, on_gpu=False)
    assert faulted.cause.startswith("a segmentation fault") and "PYTHONFAULTHANDLER" in faulted.remedy
    illegal = diagnose("INFO 11-21 11:27:43 [a.py:1] on its way\n", NotReady(-4, "x"), 9, on_gpu=False)
    assert illegal.cause.startswith("wrong build") and illegal.what.startswith("it was ended by SIGILL")
    other = diagnose("ValueError: something new\n", NotReady(1, "x"), 9, on_gpu=False)
    assert other.cause == "not one of the causes known here; it began with: ValueError: something new"
    assert other.lines == ["ValueError: something new"]
    assert read_errors("").lines == []


@pytest.mark.parametrize(
    "prefix",
    [
        "(Worker pid=3) (Worker_TP3 pid=3) ERROR 03-05 09:56:09 [multiproc_executor.py:880] ",
        "[rank0]: ",
        "(APIServer pid=7) [rank1]: ",
        "(RayWorkerWrapper pid=9, ip=10.0.0.2) ERROR 03-05 09:56:09 [worker.py:1] ",
        "\x1b[36m(RayWorkerWrapper pid=9)\x1b[0m ",
        "vllm-1  | (EngineCore_DP0 pid=2) ERROR 03-05 09:56:09 [core.py:7] ",
        "2026-03-05T09:56:09.123Z (EngineCore pid=2) ",
        "2026-03-05T09:56:09.123456789Z stderr F (EngineCore pid=2) ",
        "[pod/vllm-7d9c-x2/vllm] 2026-03-05T09:56:09.123Z (EngineCore_DP1 pid=2) ERROR 03-05 09:56:09 [core.py:7] ",
        "vllm-7d9c-x2 vllm (EngineCore_DP1 pid=2) ERROR 03-05 09:56:09 [core.py:7] ",
        "Mar  5 09:56:09 node1 vllm[4711]: (EngineCore pid=2) ",
        "ERROR 03-05 09:56:09 core.py:7] ",
        "  | ERROR 03-05 09:56:09 [core.py:7] ",
        "2026-03-05 09:56:09 | ERROR | stderr | ",
        "(VllmWorker rank=1 pid=3) ERROR 03-05 09:56:09 [multiproc_executor.py:380] ",
        "\x1b[0;36m(EngineCore pid=2)\x1b[0;0m \x1b[31mERROR\x1b[0m \x1b[90m03-05 09:56:09\x1b[0m [core.py:7] ",
    ],
)
def test_prefixes_of_any_number_and_kind(prefix: str) -> None:
    words = "ValueError: No available memory for the cache blocks."
    diagnosis = diagnose(f"{prefix}{words}\n", NotReady(1, "x"), 9, on_gpu=True)
    assert diagnosis.lines == [words] and diagnosis.cause.startswith("out of memory: the weights leave no room")


def test_lines_in_dockers_own_file_are_unpacked() -> None:
    log = '{"log":"(EngineCore pid=2) ValueError: No available memory for the cache blocks.\\n","stream":"stderr"}\n'
    diagnosis = diagnose(log, NotReady(1, "x"), 9, on_gpu=True)
    assert diagnosis.lines == ["ValueError: No available memory for the cache blocks."]
