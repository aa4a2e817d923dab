"""`probes.serve` on a stand-in for vLLM's server: each fault is found and named, and nothing is ever left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.probes.modelfolders import model_folder
from tests.shells import until

pytestmark = pytest.mark.slow(45)
ROOT = Path(__file__).resolve().parents[3]
FAKE = ROOT / "tests" / "fake_vllm"
CHECKS = 10


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path)


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
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def of_server(port: int) -> list[psutil.Process]:
    """The processes of the server on a port: its front end, and all in that one's group."""
    fronts = [each for each in psutil.process_iter(["cmdline"]) if is_front(each.info["cmdline"] or [], port)]
    groups = {each.pid for each in fronts}
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


def group_of_server(port: int, processes: int) -> int:
    """The process group of the server on a port, once it has so many processes."""
    return until(lambda: members if len(members := of_server(port)) >= processes else [])[0].pid


def test_all_is_well(tmp_path, model, port) -> None:
    code, out, err = run(tmp_path, model, "--port", port)
    assert code == 0, out + err
    assert out.count(" passed ") == CHECKS and f"\n{CHECKS} passed" in out
    assert "100 blocks × 16 = 1,600 tokens" in out  # noqa: RUF001
    assert "'The capital of France is' → ' Paris\\x1b[2J'" in out and "\x1b" not in out
    phases = [line.split(" s  ")[1] for line in err.splitlines() if " s  " in line]
    assert phases[0] == "imports vLLM" and "loads the weights" in phases and phases[-1] == "answers"
    assert f"--port {port}" in err and "--served-model-name model" in err
    assert not of_server(port) and not list(tmp_path.glob("enginescope-serve-*"))


def test_json_alone_on_stdout(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE="no template")
    session = json.loads(out)
    assert (code, session["passed"], session["fault"], session["kept_pid"]) == (0, True, None, None)
    assert [each["outcome"] for each in session["checks"]].count("passed") == CHECKS - 1
    chat = next(each for each in session["checks"] if "chat" in each["name"])
    assert (chat["outcome"], chat["summary"]) == ("skipped", "the model has no chat template")
    assert sum(each["took_s"] for each in session["startup"]) == pytest.approx(session["ready_s"])
    assert session["memory"]["kv_cache"][0]["tokens"] == 1600
    assert (session["load"]["tokens"], session["load"]["cards"]) == (8 * 64, [])
    assert session["verdict"][-1].startswith("under load: 8 requests at once, 512 tokens in")


def test_the_name_that_the_server_was_told_is_asked_for(tmp_path, model, port) -> None:
    code, out, err = run(tmp_path, model, "--port", port, "--engine", "served_model_name=mine")
    assert code == 0, out + err
    assert "mine, max_model_len 1024" in out and "--served-model-name mine" in err


def test_a_stream_that_comes_late_once_is_asked_for_more(tmp_path, model, port) -> None:
    """A machine too busy for a short stream's chunks to come apart shows with a longer one that they do."""
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE="late")
    session = next(each for each in json.loads(out)["checks"] if each["name"] == "streaming")
    assert (code, session["outcome"]) == (0, "passed") and session["summary"].startswith("128 chunks, then [DONE]")


@pytest.mark.parametrize(
    ("fake", "name", "error"),
    [
        ("other model", "GET /v1/models", "lists another, not model"),
        ("empty", "POST /v1/completions", "an empty text came"),
        ("held back", "streaming", "chunks at once: held back until"),
        ("no end", "streaming", "not with [DONE]"),
        ("no metrics", "GET /metrics", "none of vLLM's metrics"),
        ("counts nothing", "GET /metrics", "generated 32 tokens, /metrics counts 0 more"),
        ("miscounts", "POST /tokenize", "counts 6, a completion 5"),
        ("any model", "wrong model name", "200 where a 4xx is due"),
        ("no 4xx", "malformed body", "500 where a 4xx is due"),
        ("goes on", "cancelled half-way", "1 still running or waiting 5 s after"),
        ("makes them all", "cancelled half-way", "tokens were generated, 3 times"),
        ("ends early", "cancelled half-way", "the stream ended before the client could hang up"),
    ],
)
def test_a_check_that_fails(tmp_path, model, port, fake, name, error) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--json", FAKE=fake)
    session = json.loads(out)
    failed = {each["name"]: each["summary"] for each in session["checks"] if each["outcome"] == "failed"}
    assert code == 1 and not session["passed"] and session["fault"] is None
    assert error in failed[name]
    assert Path(session["log"]).is_file()
    assert not of_server(port)


def test_a_server_that_dies_of_a_request(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, FAKE="dies")
    assert code == 1
    assert "it ended with code 3; the last thing it did: the check 'POST /v1/completions'" in out
    assert not of_server(port)


def test_crash_at_start(tmp_path, model, port) -> None:
    words = "(EngineCore pid=2) ERROR 11-21 11:27:43 [core.py:99] ValueError: No available memory for the cache blocks."
    code, out, _ = run(tmp_path, model, "--port", port, FAKE_LAST_WORDS=words)
    assert code == 1
    assert "it ended with code 1; the last thing it did: starts the HTTP server" in out
    assert "  | ValueError: No available memory for the cache blocks.\n" in out
    assert "likely cause: out of memory: the weights leave no room" in out
    assert "try: a larger --engine kv_cache_memory_bytes=N" in out
    assert "no check was run\nits log: " in out
    assert not of_server(port)


def test_never_ready(tmp_path, model, port) -> None:
    """It does not even listen to a polite end: the time-out still leaves nothing."""
    process = start(tmp_path, model, "--port", port, "--timeout", 2, FAKE="hangs")
    pgid = group_of_server(port, processes=1)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it was not ready in time and was stopped; the last thing it did: loads the weights" in out
    assert "likely cause: it hung in this phase: loads the weights; for 2 s its log had no new line" in out
    assert "try: a slow disk, most often: " in out and out.rstrip().count("; or a longer --timeout\n") == 1
    assert members_of(pgid) == []


@pytest.mark.parametrize(("fake", "code"), [("slow", 0), ("waits", 1)])
def test_each_new_line_of_the_log_gives_it_the_time_anew_but_not_one_that_is_said_again(
    tmp_path, model, port, fake, code
) -> None:
    """Both say something all the time; one says something new for 8 s, one says the same for a minute."""
    done, out, _ = run(tmp_path, model, "--port", port, "--timeout", 5, FAKE=fake)
    assert done == code, out
    assert ("it hung in this phase: imports vLLM" in out) == (fake == "waits")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_it_starts(tmp_path, model, port, number) -> None:
    process = start(tmp_path, model, "--port", port)
    pgid = group_of_server(port, processes=2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert members_of(pgid) == []


def test_killed_itself_it_takes_the_whole_server_along(tmp_path, model, port) -> None:
    process = start(tmp_path, model, "--port", port)
    pgid = group_of_server(port, processes=2)
    process.kill()
    process.communicate()
    assert until(lambda: members_of(pgid) == [])  # the stand-in's child would not look after its parent


def test_port_in_use(tmp_path, model, port) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        code, _, err = run(tmp_path, model, "--port", port)
    name = psutil.Process().name()
    start = f"error: port {port}: Address already in use by {name} (process {os.getpid()}); "
    assert code == 1
    assert err.startswith(f"{start}end it, or take a free one: --port ")
    free = int(err.rpartition(" ")[2])
    assert free > port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


def test_a_free_port_is_taken_and_other_machines_are_let_in_with_a_warning(tmp_path, model) -> None:
    code, out, err = run(tmp_path, model, "--port", "auto", "--host", "0.0.0.0")
    assert code == 0, out + err
    assert "--host 0.0.0.0: whoever reaches this machine may use the server, as it asks for no key\n" in err
    (port,) = re.findall(r"--host 0\.0\.0\.0 --port (\d+) ", err)
    assert not of_server(int(port))


def test_an_address_of_another_machine(tmp_path, model) -> None:
    code, _, err = run(tmp_path, model, "--port", "auto", "--host", "192.0.2.1")
    assert code == 1 and err.startswith("error: --host 192.0.2.1: Cannot assign requested address; ")


def test_kept(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--keep")
    front = next(each for each in of_server(port) if is_front(each.cmdline(), port))
    try:
        assert code == 0
        assert f"the server keeps running as process {front.pid}; to stop it: kill {front.pid}\n" in out
        again, _, err = run(tmp_path, model, "--port", port)
        assert again == 1 and f"(process {front.pid})" in err
    finally:
        for pid in members_of(front.pid):
            os.kill(pid, signal.SIGKILL)


def test_a_record_to_hand_in(tmp_path, model, port) -> None:
    """All that was seen, a server's text as text, no secret, and only into a folder that has none yet."""
    folder, line = tmp_path / "checked", "WARNING <script>alert(1)</script> ``` token=hf_abcdefghijklmnop"
    code, _, err = run(tmp_path, model, "--port", port, "--record", folder, FAKE_WARNING=line)
    assert code == 0 and err.endswith(f"Wrote {folder}/serve.html\nWrote {folder}/serve.md\n")
    page, text = (folder / "serve.html").read_text(), (folder / "serve.md").read_text()
    for written in (page, text):
        assert "All is well." in written and f"--port {port}" in written and "loads the weights" in written
        assert "Starting to load model m..." in written and "hf_abc" not in written and "\x1b" not in written
        assert "room for 1.6 requests of 1,024 tokens at once" in written and "POST /v1/completions" in written
    assert "<script>" not in page and "````text" in text
    again, _, err = run(tmp_path, model, "--port", port, "--record", folder)
    assert again == 2 and err == f"error: {folder}/serve.html is there already: name another folder\n"


def test_one_that_failed_is_not_kept(tmp_path, model, port) -> None:
    code, out, _ = run(tmp_path, model, "--port", port, "--keep", "--json", FAKE="empty")
    left = of_server(port)
    for each in left:
        each.kill()
    session = json.loads(out)
    assert (code, session["passed"], session["kept_pid"]) == (1, False, None)
    assert left == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--port", "0"), "--port must be from 1 to 65535, or auto, not 0"),
        (("--gpus", "0"), "--gpus must be from 1"),
        (("--timeout", "nan"), "--timeout must be from 1"),
        (("--gpu-util", "80"), "a share of a GPU's memory"),
        (("--engine", "max_num_seqs"), "--engine takes KEY=VALUE"),
        (("--engine", "model=m"), "give it as MODEL"),
        ((".", "--record", "/dev/null/there"), "cannot make /dev/null/there: Not a directory"),
        (("--engine", "api-key=sk"), "--engine api_key cannot be set"),
        (("--engine", "hf_token=hf_x"), "export HF_TOKEN"),
        (("/no/such/model",), "/no/such/model is not a folder"),
        (("--frobnicate",), "unrecognized arguments"),
    ],
)
def test_bad_usage(tmp_path, words, error) -> None:
    code, out, err = run(tmp_path, *words)
    assert (code, out) == (2, "") and error in err
