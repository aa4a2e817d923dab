"""vLLM's selection of attention backends, asked in a process of its own: a stand-in of it, and the child that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.doctor.model import attention as asking
from probes.doctor.model.attention import ask_selection, flash_lines
from probes.doctor.model.findings import attention
from probes.doctor.model.selection import Selection
from probes.doctor.model.subject import subject
from probes.hub.settings import hub_settings
from probes.memory.modelconfig import ModelConfig, read_config
from tests.needs import needs_vllm
from tests.probes.doctor.machines import ROOT, machine
from tests.probes.shardedmodel import CONFIG, laid, sharded_model

# vLLM's names, of a platform that takes two backends and refuses one in its words. As vLLM's platforms it has None for
# any name that it does not know.
STAND_IN = {
    "torch.py": "bfloat16 = 'torch.bfloat16'\nfloat16 = 'torch.float16'",
    "vllm/__init__.py": "print('noise on standard output')",
    "vllm/platforms.py": """
class Platform:
    device_name = "cuda"
    def get_attn_backend_cls(self, backend, attn_selector_config, num_heads):
        assert attn_selector_config[:2] == (16, "torch.bfloat16"), attn_selector_config
        assert attn_selector_config[3:] == (None, False, False), attn_selector_config
        if backend and backend.name == "FLASHINFER":
            raise ValueError("Selected backend FLASHINFER is not valid for this configuration. "
                             "Reason: ['compute capability not supported']")
        return backend.get_path() if backend else "a.Flash"
    def __getattr__(self, name):
        return None
current_platform = Platform()
""",
    "vllm/v1/attention/selector.py": """
from typing import NamedTuple
class AttentionSelectorConfig(NamedTuple):
    head_size: int
    dtype: str
    kv_cache_dtype: str
    block_size: int
    use_mla: bool
    has_sliding_window: bool
""",
    "vllm/v1/attention/backends/registry.py": """
from enum import Enum
class Backend:
    supported_kv_cache_dtypes = ["auto", "fp8"]
    @classmethod
    def supports_kv_cache_dtype(cls, dtype):
        return dtype in cls.supported_kv_cache_dtypes
class AttentionBackendEnum(Enum):
    FLASH_ATTN = "a.Flash"
    FLASHINFER = "a.FlashInfer"
    TRITON_ATTN = "a.Triton"
    CUSTOM = None
    def get_path(self):
        return self.value
    def get_class(self):
        return Backend
""",
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in STAND_IN.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path


def test_each_backend_is_asked_for_by_name(stand_in: Path) -> None:
    answer = ask_selection(read_config(CONFIG))
    assert answer == Selection(
        "cuda",
        "FLASH_ATTN",
        {"FLASH_ATTN": "", "FLASHINFER": "['compute capability not supported']", "TRITON_ATTN": ""},
    )


def test_a_platform_that_does_not_look_at_the_cache(stand_in: Path) -> None:
    answer = ask_selection(read_config(CONFIG), "nvfp4")
    assert isinstance(answer, Selection), answer
    doubt = "FLASH_ATTN has no nvfp4 among the dtypes of its KV cache: auto, fp8"
    assert (answer.picked, answer.doubt) == ("FLASH_ATTN", doubt)
    taken = ask_selection(read_config(CONFIG), "fp8")
    assert isinstance(taken, Selection) and (taken.picked, taken.candidates) == ("FLASH_ATTN", [])


def test_how_it_is_told(stand_in: Path, tmp_path: Path) -> None:
    own = laid(tmp_path / "model", sharded_model())
    findings = list(attention(subject(str(own), hub_settings({})), machine(stand_in)))
    assert [each.detail for each in findings[:2]] == [
        "FLASH_ATTN on cuda, by vLLM's own selection; also possible: TRITON_ATTN",
        "not FLASHINFER: ['compute capability not supported']",
    ]


def test_another_vllm_is_not_guessed_about(stand_in: Path) -> None:
    (stand_in / "site/vllm/v1/attention/selector.py").write_text("")
    answer = ask_selection(read_config(CONFIG))
    assert isinstance(answer, str)
    assert answer.startswith("not known: ImportError: cannot import name 'AttentionSelectorConfig'")


def test_a_process_that_dies_is_told(stand_in: Path) -> None:
    (stand_in / "site/torch.py").write_text("import os; os.abort()")
    assert ask_selection(read_config(CONFIG)) == "not known: its process ended with code -6"
    assert ask_selection(ModelConfig()) == "not asked: no config.json that says layers and heads"


def test_flash_attention_of_vllm_and_a_separate_one(tmp_path: Path) -> None:
    at = machine(tmp_path, {"site/vllm/__init__.py": "", "site/vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so": ""})
    own, separate = flash_lines(at)
    assert own == "vLLM's own FlashAttention: _vllm_fa2_C.abi3.so"
    assert separate.startswith("flash-attn: not installed")


def on_a_card(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """vLLM is asked as on a machine with a card of that kind."""
    script = str(ROOT / "tests/probes/doctor/model/card_selection.py")
    program = f"import runpy, sys; sys.argv = ['', {kind!r}]; runpy.run_path({script!r}, run_name='__main__')"
    monkeypatch.setattr(asking, "PROGRAM", program)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@needs_vllm
@pytest.mark.slow(40)
@pytest.mark.parametrize(("kind", "first"), [("rocm", ["ROCM_ATTN", "TRITON_ATTN"]), ("cuda", ["TRITON_ATTN"])])
def test_what_vllm_takes_on_a_card(monkeypatch: pytest.MonkeyPatch, kind: str, first: list[str]) -> None:
    """Of this build, which has neither FlashAttention nor FlashInfer."""
    on_a_card(monkeypatch, kind)
    answer = ask_selection(read_config(CONFIG | {"head_dim": 128}), "fp8")
    assert isinstance(answer, Selection), answer
    assert (answer.platform, answer.picked, answer.candidates[: len(first)]) == (kind, first[0], first)
    assert answer.refusals["TRITON_ATTN"] == "" and "RDNA" in answer.refusals["ROCM_SEGMENTED_ATTN"]
    assert "CPU_ATTN" not in answer.candidates


@needs_vllm
@pytest.mark.slow(40)
def test_a_cache_that_no_backend_of_rocm_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, "rocm")
    answer = ask_selection(read_config(CONFIG | {"head_dim": 128}), "nvfp4")
    assert isinstance(answer, Selection), answer
    assert answer.picked == "" and answer.doubt.startswith("No valid attention backend found for rocm")
    assert "Supported kv_cache_dtype values: auto, bfloat16" in answer.doubt
