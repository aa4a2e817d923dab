"""The shapes: what each sets, what its processes find in their environment, and what the demonstration refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.house.test_help import ROOT
from tracing.shapes import hindrance, start
from tracing.shapes.engine import server
from tracing.shapes.engine.conversation import prompt
from tracing.shapes.engine.picturemodel import WORDS, picture_model
from tracing.shapes.pretend.work import Work, work_of
from tracing.shapes.shape import SHAPES, shape_named


def test_a_shape_is_found_by_its_name() -> None:
    assert shape_named("one-gpu").worker_in_core and shape_named("one-gpu").async_scheduling
    with pytest.raises(EnginescopeError, match="no shape is called 'two-gpus'; there are cpu, async, one-gpu,"):
        shape_named("two-gpus")


def test_every_shape_says_what_it_is() -> None:
    assert all(name == shape.name and shape.meaning for name, shape in SHAPES.items())
    assert len({shape.meaning for shape in SHAPES.values()}) == len(SHAPES)


@pytest.mark.parametrize(
    ("name", "processes"),
    [("in-process", [1, 1, 1]), ("tp2-async", [1, 1, 2]), ("dp2", [1, 2, 2]), ("two-front-ends", [2, 1, 1])],
)
def test_how_many_processes_of_each_role_a_shape_has(name: str, processes: list[int]) -> None:
    assert shape_named(name).processes == dict(zip(("front end", "core", "worker"), processes, strict=True))


def test_what_the_processes_of_a_shape_find_in_their_environment() -> None:
    work = Work(4, 3, 2, seed=1)
    variables = start.environment(replace(shape_named("v2-tp2"), work=work))
    assert variables["VLLM_USE_V2_MODEL_RUNNER"] == variables["TRITON_INTERPRET"] == "1"
    assert variables["TORCH_COMPILE_DISABLE"] == "1"  # a worker of two compiles its embedding, or dies of it
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert variables["ENGINESCOPE_SHAPE"] == "v2-tp2" and work_of(variables["ENGINESCOPE_DEVICE"]) == work
    assert "ENGINESCOPE_DEVICE" not in start.environment(shape_named("cpu"))


def test_a_process_knows_its_shape_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start.started_shape() is None
    shape = replace(shape_named("one-gpu"), work=Work(4, 3, 2, seed=1))
    for name, value in start.environment(shape).items():
        monkeypatch.setenv(name, value)
    assert start.started_shape() == shape


def test_prompts_fit_the_vocabulary_and_begin_each_otherwise() -> None:
    small = shape_named("v2-one-gpu")
    prompts = [prompt(small, number)["prompt_token_ids"] for number in range(13)]
    assert all(2 < token < (small.vocabulary or 0) for tokens in prompts for token in tokens)
    assert len({tokens[0] for tokens in prompts}) == 13
    assert len({prompt(shape_named("cpu"), number) for number in range(13)}) == 13


def test_the_second_wave_asks_for_the_blocks_of_the_first() -> None:
    shape = shape_named("kv-connector")
    assert prompt(shape, 1) == prompt(shape, 7) != prompt(shape, 2)


def test_a_distribution_stands_in_for_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "version", lambda name: "0.32.0")
    (folder,) = server.stand_in(tmp_path)
    (metadata,) = distributions(path=[folder])
    assert (metadata.metadata["Name"], metadata.version) == ("vllm", "0.32.0+cpu")


def test_the_servers_command_line() -> None:
    words = server.server_command({"model": "m/two", "enforce_eager": True, "skip_tokenizer_init": False}, 8001, 2)
    assert words[1:5] == ["-m", "vllm.entrypoints.cli.main", "serve", "m/two"]
    assert words[-5:] == ["--port", "8001", "--api-server-count", "2", "--enforce-eager"]


class Worker:
    """A worker of two, as far as its rank goes."""

    class parallel_config:
        world_size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


def test_only_the_last_worker_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    spun: list[int] = []
    monkeypatch.setattr(hindrance, "spin", spun.append)
    execute_model = hindrance.spinning(lambda worker, scheduled: (worker.rank, scheduled), 4_000_000)
    assert execute_model(Worker(0), "step") == (0, "step") and spun == []
    assert execute_model(Worker(1), "step") == (1, "step") and spun == [4_000_000]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--device-ms", "10"], "--device-ms needs a shape"),
        (["--shape", "cpu", "--device-ms", "soon"], "--device-ms takes one time"),
        (["--shape", "three-gpus"], "invalid choice"),
    ],
)
def test_the_demonstration_refuses_what_it_cannot_show(words: list[str], complaint: str) -> None:
    command = [sys.executable, "-m", "tracing.demo", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and complaint in ended.stderr


def test_a_prompt_has_a_picture_of_its_own() -> None:
    pytest.importorskip("PIL")
    one, other = (prompt(shape_named("pictures"), number) for number in (3, 4))
    assert one["prompt"].startswith("<image> Request 3 asks: ")
    assert one["multi_modal_data"]["image"].tobytes() != other["multi_modal_data"]["image"].tobytes()


def test_a_model_that_sees_is_made_of_one_that_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    text = tmp_path / "two-layer"
    text.mkdir()
    (text / "config.json").write_text('{"model_type": "llama", "vocab_size": 9}')
    words = {"a": 0, "<gh_stars>": 5, "<issue_start>": 6, "<issue_comment>": 7, "<issue_closed>": 8}
    (text / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}}))
    (text / "tokenizer_config.json").write_text("{}")
    folder = picture_model(text)
    config = json.loads((folder / "config.json").read_text())
    assert (config["image_token_id"], config["text_config"]["vocab_size"]) == (5, 9)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert vocabulary == dict(zip(("a", *WORDS.values()), words.values(), strict=True))
