"""The command line of vLLM's server, from the model's configuration and the machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from probes.machine import Gpu, Machine
from probes.memory.modelconfig import model_config
from probes.serve.command import ServeOptions, choose_dtype, engine_arguments, flags, server_command
from probes.serve.process import environment
from tests.probes.modelfolders import model_folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path)


def machine(**facts: object) -> Machine:
    empty = {name: None for name in Machine.__dataclass_fields__} | {"cpu_flags": ("avx2",), "gpus": ()}
    return Machine(**empty | facts)  # type: ignore[arg-type]


OPTIONS = ServeOptions("ORG/M", 8000, 1, 1024, None, {})
AMX = {"cpu_flags": ("avx512_bf16",)}
GPU = {"platform": "rocm"}


@pytest.mark.parametrize(
    ("config", "facts", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, {}, "float32"),
        ({"torch_dtype": "bfloat16"}, AMX, "bfloat16"),
        ({"dtype": "float16"}, GPU, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, GPU, "bfloat16"),
        ({"dtype": "float32"}, GPU, "float32"),
        ({}, GPU, "auto"),
        ({"torch_dtype": "bfloat16"}, {"gpus": ("a GPU",), "platform": "cpu"}, "float32"),
    ],
)
def test_dtype(config, facts, dtype, model) -> None:
    (model / "config.json").write_text(json.dumps(config))
    choice, [why] = choose_dtype(model_config(model).dtype, machine(**facts))
    assert choice == dtype and why.startswith(f"dtype {dtype}: the model's ")


def test_command_on_a_gpu_and_on_a_cpu(model) -> None:
    assert " ".join(server_command(OPTIONS, machine(**GPU), {}).words[3:]) == (
        "--model ORG/M --served-model-name ORG/M --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 "
        "--max-model-len 1024 --dtype auto --gpu-memory-utilization 0.8"
    )
    options = ServeOptions(str(model), 8000, 1, 1024, 0.5, {"enforce_eager": "false"})
    command = server_command(options, machine(), {})
    assert "--gpu-memory-utilization" not in command.words and "--no-enforce-eager" in command.words
    assert any("--gpu-util applies to GPUs only" in note for note in command.notes)
    assert command.words[-2:] == ["--kv-cache-memory-bytes", str(2**29)]
    assert command.served_name == "model"
    spaced = server_command(options, machine(), {"VLLM_CPU_KVCACHE_SPACE": "2"})
    assert "--kv-cache-memory-bytes" not in spaced.words


def test_the_notes_say_which_devices_there_are() -> None:
    gpus = (Gpu("MI300X", "6.10.5", None, "amd", False), Gpu("MI300X", "6.10.5", None, "amd"))
    notes = server_command(replace(OPTIONS, gpus=2), machine(platform="rocm", gpus=gpus), {}).notes
    assert notes[:2] == [
        "platform: rocm, 1 of 2 GPUs visible: MI300X",
        "--gpus 2 is more than that: vLLM is unlikely to start",
    ]


def test_the_kv_cache_on_cpu_has_room_for_four_requests(model) -> None:
    heads = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096, "torch_dtype": "bfloat16"}
    (model / "config.json").write_text(json.dumps(heads))
    command = server_command(ServeOptions(str(model), 8000, 1, 4096, None, {}), machine(), {})
    assert command.words[-1] == str(4 * 4096 * 2 * 32 * 4096 * 4)  # keys and values, layers, width, float32


def test_engine_arguments_as_words() -> None:
    arguments = engine_arguments(["max-num-seqs=8", "enable_prefix_caching=false", 'hf_overrides={"a": "b=c"}'])
    assert flags(arguments) == [
        *("--max-num-seqs", "8", "--no-enable-prefix-caching"),
        *("--hf-overrides", '{"a": "b=c"}'),
    ]
    with pytest.raises(EnginescopeError, match="use --gpus"):
        engine_arguments(["tensor_parallel_size=2"])


def test_no_key_for_the_server() -> None:
    assert "VLLM_API_KEY" not in environment({"VLLM_API_KEY": "sk", "HOME": "/"})
