"""Variants by name: the built-in ones of a platform, a TOML file, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.variants.builtin import DEFAULT, built_in, lacking
from offline.variants.variant import Variant, alike, chosen, read_variants
from probes.engineplatform import CPU, CUDA
from probes.errors import EnginescopeError

FILE = """
[small]
base = "vllm-page"
settings = {max_num_seqs = 4, enforce_eager = false}

[small-server]
base = "small"
serve = true

[small-two]
base = "small"
split = true

[pytorch]
kind = "torch"
settings = {batching = "continuous"}
"""


def test_a_file_builds_on_what_is_known_and_on_itself(tmp_path: Path) -> None:
    path = tmp_path / "variants.toml"
    path.write_text(FILE)
    page = built_in(CPU)["vllm-page"].settings
    small = {**page, "max_num_seqs": 4, "enforce_eager": False}
    assert read_variants(path, built_in(CPU)) == {
        "small": Variant("small", "vllm", small),
        "small-server": Variant("small-server", "vllm", small, serve=True),
        "small-two": Variant("small-two", "vllm", small, split=True),
        "pytorch": Variant("pytorch", "torch", {"batching": "continuous"}),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\nbase = 'vllm-pages'", r"\[a\]: no variant 'vllm-pages' to build on; did you mean 'vllm-page'"),
        ("[a]\nsetting = {}", "unknown key 'setting'; did you mean 'settings'"),
        ("[a]\nkind = 'jax'", "kind is vllm or torch"),
        ("[a]\nkind = 'torch'\nserve = true", "only vllm has serve = true"),
        ("[a]\nkind = 'torch'\nsplit = true", "only vllm has serve = true or split = true"),
        ("[a]\nserve = true\nsplit = true", "only vllm has serve = true or split = true"),
        ("[a]\nserve = 1", "serve and split are true or false"),
        ("a = 1", "a must be a table"),
        ("[a", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "variants.toml"
    path.write_text(text)
    with pytest.raises(EnginescopeError, match=words):
        read_variants(path, built_in(CPU))


def test_paged_attention_alone_has_no_optimization_and_no_flash_attention() -> None:
    plain = {"enforce_eager": True, "enable_prefix_caching": False, "enable_chunked_prefill": False}
    plain |= {"async_scheduling": False}
    assert built_in(CPU)["vllm-page"].settings == plain
    assert built_in(CUDA)["vllm-page"].settings == {**plain, "attention_backend": "TRITON_ATTN"}


def test_each_optimization_is_added_alone_and_all_are_together() -> None:
    cuda = built_in(CUDA)
    assert cuda["vllm-page+prefix-caching"].settings == {**cuda["vllm-page"].settings, "enable_prefix_caching": True}
    every = cuda["vllm-all-opt"].settings
    assert (every["attention_backend"], every["enforce_eager"], every["async_scheduling"]) == (
        "FLASH_ATTN",
        False,
        True,
    )
    assert "speculative_config" not in every and "kv_cache_dtype" not in every
    assert set(DEFAULT) <= set(cuda) and not lacking(CUDA)


def test_on_a_cpu_all_optimizations_are_those_that_start_at_once() -> None:
    every = built_in(CPU)["vllm-all-opt"].settings
    assert every["enable_prefix_caching"] and every["enable_chunked_prefill"] and every["enforce_eager"]
    assert built_in(CPU)["vllm-page+compile"].settings["enforce_eager"] is False


def test_what_the_platform_lacks_is_refused_by_name() -> None:
    assert "vllm-page+flash-attn" not in built_in(CPU)
    with pytest.raises(EnginescopeError, match=r"vllm-page\+flash-attn cannot run here: the CPU platform has one"):
        chosen(("vllm-page+flash-attn",), built_in(CPU), lacking(CPU))


def test_all_are_those_that_the_platform_has() -> None:
    names = [variant.name for variant in chosen(("all",), built_in(CPU), lacking(CPU))]
    assert names == list(built_in(CPU)) and "vllm-page+async-scheduling" not in names


def test_unknown_and_double_names_are_refused() -> None:
    with pytest.raises(EnginescopeError, match="no variant 'vllm-al-opt'; did you mean 'vllm-all-opt'"):
        chosen(("vllm-al-opt",), built_in(CPU), lacking(CPU))
    with pytest.raises(EnginescopeError, match="names one twice"):
        chosen(("vllm-page", "vllm-page"), built_in(CPU), lacking(CPU))


def test_those_that_come_to_the_same_are_named() -> None:
    assert alike({"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}) == [("a", "c")]
