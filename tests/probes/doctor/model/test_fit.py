"""Whether a model fits, with its arithmetic: public start-up logs' weights, made-up cards, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest

from probes.devices.device import Device
from probes.doctor.model import findings
from probes.doctor.model.findings import Wish, examine_model
from probes.doctor.model.fit import Fitting, fits, gpu_room
from probes.doctor.surroundings import Finding
from probes.memory.cachedtype import CACHE_DTYPES
from probes.memory.footprint import weights
from probes.memory.modelconfig import read_config
from tests.probes.doctor.machines import CUDA_SET, ROOT, machine
from tests.probes.shardedmodel import CONFIG, laid, safetensors_head, sharded_model

GIB = 2**30
BF16 = CACHE_DTYPES["bfloat16"]
LLAMA_8B = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
LLAMA_8B |= {"intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072, "dtype": "bfloat16"}
QWEN_7B = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}
QWEN_7B |= {"intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 32768, "dtype": "bfloat16"}


def of_shapes(folder: Path, config: dict[str, Any]) -> Path:
    """A model's folder whose one file has the tensors of a Llama of these sizes: its header, and a hole."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv = config["num_key_value_heads"] * hidden // heads
    layer = [[hidden, hidden], [kv, hidden], [kv, hidden], [hidden, hidden], *[[inner, hidden]] * 3, [hidden], [hidden]]
    shapes = layer * config["num_hidden_layers"] + [[config["vocab_size"], hidden]] * 2 + [[hidden]]
    sizes = [2 * prod(shape) for shape in shapes]
    tensors = zip(shapes, sizes, strict=True)
    head = safetensors_head({f"t{at}": ("BF16", shape, size) for at, (shape, size) in enumerate(tensors)})
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + sum(sizes))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return laid(tmp_path / "small", sharded_model())


def card(total_gib: float, used_gib: float = 0, index: int = 0) -> Device:
    return Device("nvidia", index, "H100", int(used_gib * GIB), int(total_gib * GIB))


def examined(
    tmp_path: Path, model: Path, devices: list[Device], monkeypatch: pytest.MonkeyPatch, **wish: Any
) -> dict[str, Finding]:
    """The findings by name, without asking a vLLM."""
    monkeypatch.setattr(findings, "attention", lambda *_: [])
    at = machine(tmp_path, distributions=CUDA_SET)
    wanted = {"gpus": None, "length_tokens": None, "share": 0.9} | wish
    return {each.name: each for each in examine_model(Wish(str(model), **wanted), at, devices)}


# "Loading model weights took 14.99 GiB" and "Model loading took 14.29 GiB".
@pytest.mark.parametrize(("config", "logged_gib"), [(LLAMA_8B, 14.99), (QWEN_7B, 14.29)])
def test_weights_of_public_start_up_logs(tmp_path: Path, config: dict[str, Any], logged_gib: float) -> None:
    loaded = weights(of_shapes(tmp_path / "model", config))
    assert loaded is not None and loaded.loaded / GIB == pytest.approx(logged_gib, rel=0.02)


def test_the_arithmetic_of_one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_shapes(tmp_path / "llama", LLAMA_8B)
    by_name = examined(tmp_path, model, [card(80)], monkeypatch, length_tokens=8192)
    assert by_name["weights"].detail == "14.96 GiB: 1 weight file, 8,030.3 M parameters, bfloat16"
    assert by_name["KV cache"].detail == (
        "(32 full layers x 8 KV heads x 256 values) x 2 bytes (bfloat16) = 128.0 KiB a token; "
        "a request of 8,192 tokens: 512 blocks (16 tokens, 2,048.0 KiB) = 1.00 GiB"
    )
    # 80 * 0.9 - 14.957 - 1.8 = 55.24 GiB, of 2 MiB blocks: 28,284, and 55.24 requests of 512 blocks.
    assert by_name["on 1 card"].detail == (
        "fits: 80.00 GiB x 0.9 - (14.96 GiB weights + 1.80 GiB activations and graphs (an estimate)) = "
        "55.24 GiB for KV = 28,284 blocks = 452,544 tokens; "
        "55.24 requests of full length (8,192 tokens) at once, more of shorter ones"
    )
    assert (by_name["start"].remedy or "").startswith("CUDA_VISIBLE_DEVICES=0 vllm serve ")
    assert (by_name["start"].remedy or "").endswith(" --gpu-memory-utilization 0.9 --max-model-len 8192")


@pytest.mark.parametrize(
    ("cache_dtype", "kv", "left"),
    [
        # Of the same 55.24 GiB, blocks of 1 MiB, half those of bfloat16.
        ("fp8", "(32 full layers x 8 KV heads x 256 values) x 1 byte (fp8) = 64.0 KiB a token", "56,568 blocks"),
        # 256 values and two scales of four bytes: 264 bytes.
        (
            "int8_per_token_head",
            "32 full layers x 8 KV heads x (256 values x 1 byte + 8 of scales) (int8_per_token_head) = 66.0 KiB a "
            "token",
            "54,854 blocks",
        ),
        (
            "nvfp4",
            "(32 full layers x 8 KV heads x 256 values) x 0.5625 bytes (nvfp4) = 36.0 KiB a token",
            "100,565 blocks",
        ),
    ],
)
def test_a_kv_cache_in_fewer_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dtype: str, kv: str, left: str
) -> None:
    model = of_shapes(tmp_path / "llama", LLAMA_8B)
    by_name = examined(tmp_path, model, [card(80)], monkeypatch, length_tokens=8192, cache_dtype=cache_dtype)
    assert by_name["KV cache"].detail.startswith(f"{kv}; a request of 8,192 tokens: 512 blocks")
    assert f"55.24 GiB for KV = {left}" in by_name["on 1 card"].detail
    assert (by_name["start"].remedy or "").endswith(f" --kv-cache-dtype {cache_dtype}")


def test_a_layout_that_its_own_backend_makes_is_not_reckoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_shapes(tmp_path / "llama", LLAMA_8B)
    by_name = examined(tmp_path, model, [card(80)], monkeypatch, cache_dtype="turboquant_k8v4")
    assert by_name["KV cache"].detail == "not known: the size of a value in a KV cache of turboquant_k8v4"
    assert "on 1 card" not in by_name and by_name["start"].status == "note"


def test_a_quantized_checkpoint_is_as_large_as_its_files_and_says_what_its_cache_is_kept_in(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = {"num_bits": 8, "type": "float", "dynamic": False}
    groups = {"group_0": {"weights": {"num_bits": 4}}}
    quantized = {"quant_method": "compressed-tensors", "config_groups": groups, "kv_cache_scheme": scheme}
    config = CONFIG | {"dtype": "float32", "quantization_config": quantized}
    (small / "config.json").write_text(json.dumps(config))
    by_name = examined(tmp_path, small, [card(80)], monkeypatch)
    assert by_name["weights"].detail == "0.0 MiB: 2 weight files, quantized (compressed-tensors, 4 bits), float32"
    assert "32 values) x 1 byte (fp8)" in by_name["KV cache"].detail
    by_name = examined(tmp_path, small, [card(80)], monkeypatch, cache_dtype="bfloat16")
    assert "32 values) x 2 bytes (bfloat16)" in by_name["KV cache"].detail


def test_a_folder_without_a_model_is_not_looked_for_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty := tmp_path / "empty").mkdir()
    found = examined(tmp_path, empty, [], monkeypatch)["model files"]
    assert found == Finding("model files", "block", f"{empty}; no weight files (hub not asked: it is a folder)")


def test_a_card_too_small_for_one_and_two_that_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_shapes(tmp_path / "llama", LLAMA_8B)
    by_name = examined(tmp_path, model, [card(16, index=0), card(16, 1.5, index=1)], monkeypatch, length_tokens=2048)
    assert by_name["on 1 card"].detail.startswith("does not fit: 16.00 GiB x 0.9 - (14.96 GiB weights")
    assert by_name["on 2 cards"].status == "ok"
    assert by_name["start"] == Finding("start", "block", "2 free cards of one kind are needed, 1 are free")


def test_without_a_card_it_says_which_to_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = examined(tmp_path, of_shapes(tmp_path / "llama", LLAMA_8B), [], monkeypatch, length_tokens=8192)
    # (14.957 + 1.8 + 1) / 0.9; half of the weights and of the cache on each of two.
    assert by_name["on 1 card"].detail.startswith("needs a card of 19.73 GiB or more: (14.96 GiB weights + 1.80 GiB")
    assert by_name["on 2 cards"].detail.startswith("needs a card of 10.87 GiB or more")
    assert by_name["start"].status == "note"


def test_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_shapes(tmp_path / "llama", LLAMA_8B)
    by_name = examined(tmp_path, model, [card(8), card(8, index=1)], monkeypatch, gpus=2)
    assert by_name["start"].detail == "it does not fit: a smaller --max-len, larger or more cards, or a quantized model"
    assert by_name["start"].status == "block"


def test_heads_are_spread_over_cards_that_divide_them() -> None:
    room = gpu_room(80 * GIB, 0.9)
    nine = read_config(LLAMA_8B | {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64})
    assert [each.cards for each in fits(nine, BF16, GIB, 1024, room, None)] == [1]
    assert [each.cards for each in fits(read_config(LLAMA_8B), BF16, GIB, 1024, room, None)] == [1, 2, 4, 8, 16]


def test_cards_over_which_the_heads_cannot_be_spread(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = examined(tmp_path, small, [card(80, index=index) for index in range(3)], monkeypatch, gpus=3)
    assert by_name["start"] == Finding("start", "block", "4 attention heads cannot be spread evenly over 3 cards")
    assert "KV cache" in by_name and by_name["KV cache"].status == "ok"


def test_the_smallest_card_that_is_named_is_enough_and_no_smaller_one() -> None:
    def on_one(card_bytes: int | None) -> Fitting:
        return next(fits(read_config(LLAMA_8B), BF16, 15 * GIB, 8192, gpu_room(card_bytes, 0.9), 1))

    least = on_one(None).least_card_bytes
    assert (on_one(least - 2).fits, on_one(least + 2).fits) == (False, True)


def test_main_memory_for_a_cpu_build(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "attention", lambda *_: [])
    meminfo = {"proc/meminfo": f"MemTotal: {32 * 2**20} kB\nMemAvailable: {30 * 2**20} kB\n"}
    at = machine(tmp_path, meminfo, environ={"VLLM_CPU_KVCACHE_SPACE": "1"})
    by_name = {each.name: each for each in examine_model(Wish(str(small), None, None, 0.92), at, [])}
    # 2 layers x 2 heads x 32 values x 2 bytes = 256 bytes a token; blocks of 128 tokens: 32 KiB; 1 GiB: 32,768.
    assert by_name["in main memory"].detail.startswith(
        "fits: 1.00 GiB for KV, as set = 32,768 blocks = 4,194,304 tokens"
    )
    assert by_name["memory"].status == "ok"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "2"], "--gpus is of a model: name it with --model"),
        (["--kv-cache-dtype", "fp8"], "--kv-cache-dtype is of a model: name it with --model"),
        (["--model", "./none"], "--model ./none: there is no such folder"),
        (["--model", "m", "--gpu-util", "1.5"], "--gpu-util is a share of a card's memory, at most 1, not 1.5"),
        (["--model", "m", "--max-len", "0"], "--max-len must be above 0, not 0"),
    ],
)
def test_what_is_wrong_with_a_command_line(words: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "probes.doctor", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (1, 2) and done.stderr == f"error: {said}\n"


def test_the_command(small: Path) -> None:
    (small / "config.json").write_text(json.dumps(CONFIG | {"mamba_d_state": 16}))  # then no vLLM is asked
    command = [sys.executable, "-m", "probes.doctor", "--model", str(small), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert checks["KV cache"]["detail"] == "not known: layers with a recurrent state (mamba_d_state)"
    assert checks["model files"]["status"] == "ok" and checks["weights"]["detail"].startswith("0.0 MiB: 2 weight files")
