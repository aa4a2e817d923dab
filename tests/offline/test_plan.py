"""What a sweep takes from the machine: the platform that the engine runs on, and the devices that it may use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from offline.spec.plan import base_settings, complete
from offline.spec.spec import Spec
from probes.machine import Gpu, fingerprint

GIB = 2**30
GPUS = (Gpu("H100", "580", 80 * GIB, visible=False), Gpu("A10", "580", 24 * GIB))


def test_a_cpu_build_beside_a_gpu_keeps_to_the_cpu() -> None:
    machine = replace(fingerprint(), gpus=GPUS, platform="cpu", cpu_flags=("avx2",))
    spec, _ = complete(Spec(), "ORG/M", machine)
    settings = base_settings(spec, "ORG/M", machine)
    assert (
        settings["enforce_eager"] and settings["dtype"] == "float32" and settings["kv_cache_memory_bytes"] == GIB // 2
    )
    assert spec.block_size == (32, 64, 128)


def test_a_gpu_of_either_vendor_is_no_cpu_and_hidden_ones_do_not_count() -> None:
    for platform in ("cuda", "rocm"):
        machine = replace(fingerprint(), gpus=GPUS, platform=platform)
        settings = base_settings(Spec(input_len=64, output_len=16), "ORG/M", machine)
        assert not settings["enforce_eager"] and settings["dtype"] == "auto"
        assert settings["kv_cache_memory_bytes"] == 12 * GIB


def test_the_rounded_length_is_no_longer_than_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 1000}))
    spec = Spec(input_len=960, output_len=20)
    assert base_settings(spec, tmp_path, fingerprint())["max_model_len"] == 1000
    assert base_settings(replace(spec, input_len=500), tmp_path, fingerprint())["max_model_len"] == 640
