"""The log of a server: which phase it is in, and why it ended, with a remedy."""

from __future__ import annotations

import pytest

from probes.serve.faults import KNOWN, diagnose, error_lines
from probes.serve.process import NotReady, Phase, Startup, phase_of


def test_phases() -> None:
    assert phase_of("(EngineCore pid=2) INFO 11-21 11:27:42 [x.py:1] GPU KV cache size: 1 tokens") == (
        "makes the KV cache, warms up"
    )
    assert phase_of("INFO:     Started server process [17897]") is None
    startup = Startup([Phase("imports vLLM", 0.0), Phase("loads the weights", 4.0)], 10.0)
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
        ("OSError: [Errno 98] Address already in use", "port in use: 9, by whom", "--port 10"),
        ("OSError: You are trying to access a gated repo.", "who asks", "HF_TOKEN"),
        ("huggingface_hub.errors.HFValidationError: Repo id must be", "model not found", "check its name"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "out of memory on the GPU", "--max-len"),
        ("ValueError: Free memory on device cuda:0 (1/80 GiB) on startup is less than desired GPU memory utilization",
         "others hold", "a lower --gpu-util"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "out of main memory",
         "kv_cache_memory_bytes"),
        ("ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).", "block size", "32"),
        ("api_server.py: error: unrecognized arguments: --frob 1", "--engine argument", "--help=all"),
    ],
)  # fmt: skip
def test_known_faults(line, cause, remedy) -> None:
    fault = diagnose(f"INFO 11-21 11:27:43 [a.py:1] begins\n{line}\n", NotReady(1, "x"), 9, on_gpu=True)
    assert cause in fault.cause and remedy in fault.remedy
    assert fault.lines == [line]


def test_a_length_beyond_the_model_is_told_with_the_right_one() -> None:
    log = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
        "(max_position_embeddings=8192 or model_max_length=None in model's config.json). [type=value_error]\n"
    )
    fault = diagnose(log, NotReady(1, "x"), 9, on_gpu=False)
    assert fault.remedy == "--max-len 8192" and len(fault.lines) == 1


def test_unknown_ends() -> None:
    killed = diagnose("INFO 11-21 11:27:43 [a.py:1] on its way\n", NotReady(-9, "loads the weights"), 9, on_gpu=False)
    assert killed.what == "it was ended by SIGKILL; what it did last: loads the weights"
    assert killed.cause.startswith("out of main memory") and killed.lines
    other = diagnose("ValueError: something new\n", NotReady(1, "x"), 9, on_gpu=False)
    assert other.cause == "not one of the causes known here" and other.lines == ["ValueError: something new"]
    assert error_lines("") == []


def test_every_known_text_can_be_filled() -> None:
    words = dict.fromkeys(("port", "holder", "other_port", "more_kv", "program"), "x")
    for _, cause, remedy in KNOWN:
        assert cause.format("0", "1", **words) and remedy.format("0", "1", **words)
