"""What a plan refuses, and what it says of values that change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline.spec.estimate import parameter_count
from offline.spec.limits import expected_refusals, model_positions, refuse_too_long, remarks
from offline.spec.spec import Spec
from probes.errors import USAGE, EnginescopeError
from probes.machine import Gpu, fingerprint

SPEC: dict[str, Any] = {"batch_size": (1, 4), "block_size": (16, 32), "input_len": (100,), "output_len": (20,)}


def spec(**changes: Any) -> Spec:
    return Spec(**SPEC | {"shared_prefix_len": (64,)} | changes)


def model(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_request_longer_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = model(tmp_path, max_position_embeddings=120)
    refuse_too_long(spec(), folder)
    with pytest.raises(EnginescopeError) as caught:
        refuse_too_long(spec(output_len=(21,)), folder)
    assert (str(caught.value), caught.value.code) == (
        "--input-len 100 and --output-len 21 need 121 positions, the model has 120",
        USAGE,
    )
    refuse_too_long(spec(output_len=(21,), engine={"hf_overrides": [{"max_position_embeddings": 999}]}), folder)


def test_a_request_longer_than_is_asked_of_the_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="need 120 positions, --engine max_model_len=64 gives fewer"):
        refuse_too_long(spec(engine={"max_model_len": [512, 64]}), tmp_path)
    refuse_too_long(spec(engine={"max_model_len": [-1, 512]}), tmp_path)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, None),
        ({"max_position_embeddings": 8192, "rope_parameters": {"rope_type": "default"}}, 8192),
        ({}, None),
    ],
)
def test_the_positions_of_a_model(tmp_path: Path, config: dict[str, Any], positions: int | None) -> None:
    assert model_positions(model(tmp_path, **config)) == positions


def test_a_model_that_is_not_here_has_no_known_positions() -> None:
    assert model_positions("org/name") is None


def test_a_model_of_text_and_images_is_estimated_by_its_language_model(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16}
    text = sizes | {"num_key_value_heads": 2, "vocab_size": 100}
    # A layer: queries and outputs 2 · 8², keys and values half of that, three matrices of 8 · 16.
    assert parameter_count(model(tmp_path, text_config=text)) == 2 * (128 + 64 + 384) + 8 * 100
    assert parameter_count("org/name") == 1e9


def test_a_configuration_that_is_no_object_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    assert model_positions(tmp_path) is None and parameter_count(tmp_path) == 1e9


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"engine": {"max_num_batched_tokens": [128, 400]}}, []),
        (
            {"engine": {"max_num_batched_tokens": [128, 400, 512]}},
            ["max_num_batched_tokens 400, 512 do the same work: all prompts of a batch fit into one step from 400 on"],
        ),
        (
            {"engine": {"max_num_seqs": [4, 8]}},
            ["max_num_seqs 4, 8 do the same work: all requests of a batch run at once from 4 on"],
        ),
        (
            {"shared_prefix_len": (20,)},
            ["the shared prefix of 20 tokens fills no block of 32: nothing of it is cached"],
        ),
        ({"shared_prefix_len": (20,), "prefix_caching": ("off",)}, []),
        ({"shared_prefix_len": (0,)}, []),
    ],
)
def test_remarks(changes: dict[str, Any], sentences: list[str]) -> None:
    assert list(remarks(spec(**changes))) == sentences


def test_what_vllm_will_refuse_here() -> None:
    gpus = (Gpu("MI300X", "6.10.5", None, "amd"), Gpu("MI300X", "6.10.5", None, "amd", visible=False))
    asked = spec(block_size=(16, 32), engine={"tensor_parallel_size": [1, 2]})
    cpu, rocm = (replace(fingerprint(), gpus=gpus, platform=platform) for platform in ("cpu", "rocm"))
    assert list(expected_refusals(asked, cpu)) == [
        "block size 16 will be refused: attention on CPU takes multiples of 32 only"
    ]
    hidden = replace(rocm, gpus=gpus[1:])
    assert list(expected_refusals(spec(), hidden)) == [
        "no GPU is visible: vLLM will not start; python -m probes.doctor names the variable that hides them"
    ]
    assert list(expected_refusals(asked, rocm)) == [
        "tensor_parallel_size 2 is more than the 1 visible GPUs: vLLM is unlikely to start"
    ]
