"""What a machine that only reads traces and notes lacks: a test that needs it is skipped there, by its name."""

from __future__ import annotations

import functools
import shutil
from importlib.util import find_spec

import pytest

from tracing.source.tree import SourceTree

HAS_VLLM = find_spec("vllm") is not None  # looked for and not imported: that takes seconds

needs_vllm = pytest.mark.skipif(not HAS_VLLM, reason="vllm is not installed")
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
needs_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="there is no NVIDIA GPU")


@functools.cache
def installed_vllm() -> SourceTree:
    """The source of the installed vLLM; the test that asks for it is skipped where there is none."""
    if not HAS_VLLM:
        pytest.skip("vllm is not installed")
    return SourceTree.find()
