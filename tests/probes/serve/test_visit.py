"""`probes.serve --url`: a server that runs already, a stand-in for vLLM's, checked by nothing but its address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from probes.serve.client import healthy, here
from probes.serve.ports import free_port
from tests.shells import until

pytestmark = pytest.mark.slow(20)
ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-tested"


@contextmanager
def running(fake: str = "", model: str = "m") -> Iterator[str]:
    """The stand-in as somebody else's server, with a model of that name; its address."""
    port = free_port()
    server = ["-m", "vllm.entrypoints.openai.api_server", "--served-model-name", model, "--max-model-len", "4096"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests" / "fake_vllm"), "FAKE": fake}
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *server, "--port", str(port)], start_new_session=True, **options)
    try:
        until(lambda: healthy(here(port)))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def check(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "probes.serve", *words]
    return subprocess.run(line, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_the_same_checks_and_what_was_not_seen() -> None:
    with running() as url:
        done = check("--url", f"{url}/v1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed ") == 10 and done.stdout.endswith("\n10 passed\n")
    assert "m, max_model_len 4096" in done.stdout
    assert "not seen: its log, and the phases of its start\nnot seen: its memory" in done.stdout
    assert done.stderr == f"asks {url} for m\n"


def test_a_check_that_fails_as_json() -> None:
    with running("any model") as url:
        done = check("--url", url, "--json")
    came = json.loads(done.stdout)
    failed = [each["name"] for each in came["checks"] if each["outcome"] == "failed"]
    assert (done.returncode, came["passed"], came["model"], failed) == (1, False, "m", ["wrong model name"])


def test_the_requests_of_others_are_not_held_against_it() -> None:
    with running("busy") as url:
        done = check("--url", url, "--json")
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0
    assert checks["GET /metrics"]["summary"].endswith("generated 32 tokens, counts 33 more, others' among them")
    assert checks["cancelled half-way"]["outcome"] == "skipped"
    assert checks["cancelled half-way"]["summary"].startswith("1 requests of others run or wait")


def test_a_key_is_sent_and_shown_nowhere() -> None:
    with running("key") as url:
        without, given = check("--url", url), check("--url", url, "--json", OPENAI_API_KEY=KEY)
    assert without.returncode == 1 and without.stderr.endswith("export OPENAI_API_KEY=… with the server's key\n")
    assert given.returncode == 0 and KEY not in given.stdout + given.stderr


def test_a_model_that_it_has_not() -> None:
    with running() as url:
        done = check("other", "--url", url)
    assert (done.returncode, done.stderr) == (1, f"error: {url} has no model other; it has: m\n")


def test_a_model_whose_name_would_move_the_cursor() -> None:
    with running(model="m\x1b[2J") as url:
        done = check("--url", url), check("other", "--url", url)
    assert done[0].returncode == 0 and done[0].stderr == f"asks {url} for m [2J\n"
    assert done[1].stderr.endswith("it has: m [2J\n")


def test_nobody_there() -> None:
    done = check("--url", "127.0.0.1:9")
    assert done.returncode == 1 and done.stdout == ""
    assert "no answer from http://127.0.0.1:9/v1/models: " in done.stderr and done.stderr.endswith(
        "is the server up?\n"
    )


def test_a_length_that_cannot_be() -> None:
    done = check("--url", "localhost", "--max-len", "-3")
    assert (done.returncode, done.stdout) == (2, "") and "--max-len must be from 1" in done.stderr


@pytest.mark.parametrize("words", [("--keep",), ("--port", "8100"), ("--engine", "max_num_seqs=8"), ("--gpus", "2")])
def test_what_is_of_a_start_is_refused(words: tuple[str, ...]) -> None:
    done = check("--url", "localhost", *words)
    assert done.returncode == 2
    assert f"--url checks a server that runs; {words[0]} is of one that is started" in done.stderr
