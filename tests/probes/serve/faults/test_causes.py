"""The table of causes: each pattern speaks for its own line alone, and the packages still say those lines."""

from __future__ import annotations

import importlib.util
import re
import sysconfig
from pathlib import Path

import pytest

from probes.serve.faults.causes.faultcause import FaultCause
from probes.serve.faults.causes.table import CAUSES
from probes.serve.faults.likelycause import OPTION, OURS, SWITCHES, in_our_options, likely_cause
from probes.serve.faults.page import PAGE, WORDS, page
from probes.serve.faults.wording import REPORT, has_source, moved, reworded

PACKAGES = Path(sysconfig.get_paths()["purelib"])
PROGRAMS = {"Python", "Linux", "Docker", "CUDA", "NCCL", "torch, compiled"}


def test_there_are_many() -> None:
    assert len(CAUSES) > 60 and len({cause.pattern for cause in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.pattern[:40])
def test_a_pattern_matches_its_own_line_alone(cause: FaultCause) -> None:
    matched = [each.line for each in CAUSES if re.search(cause.pattern, each.line)]
    assert matched == [cause.line]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.pattern[:40])
def test_a_log_with_the_line_alone_is_explained_by_it(cause: FaultCause) -> None:
    found = likely_cause(None, [cause.line], WORDS)
    assert found is not None and found.line == cause.line
    assert "{" not in found.cause and "{1}" not in found.remedy and found.remedy


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.pattern[:40])
def test_a_line_is_a_files_a_reports_or_a_programs(cause: FaultCause) -> None:
    assert has_source(cause) or REPORT.match(cause.source) or cause.source in PROGRAMS


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no vLLM to look at")
def test_the_packages_say_the_lines() -> None:
    assert [(each.old.line, each.nearest) for each in reworded(CAUSES, PACKAGES)] == []


def test_another_wording_is_noticed_with_the_nearest_and_the_version(tmp_path: Path) -> None:
    (tmp_path / "vllm" / "v1").mkdir(parents=True)
    metadata = tmp_path / "vllm-9.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n")
    source = tmp_path / "vllm" / "v1" / "memory.py"
    source.write_text('raise ValueError(f"Free memory of {device} ({free}) is too little on start")\n')
    cause = FaultCause("Free memory on", "c", "r", "ValueError: Free memory on device cuda:0 is", "vllm/v1/memory.py")
    (found,) = reworded((cause,), tmp_path)
    assert (found.version, found.nearest) == ("vllm 9.9", "Free memory of … (…) is too little on start")
    source.write_text('raise ValueError(f"Free memory on device {device} is {free}, less than asked")\n')
    assert not list(reworded((cause,), tmp_path))
    source.unlink()
    assert [each.nearest for each in reworded((cause,), tmp_path)] == ["no such file"]


def test_a_line_that_another_file_says_has_moved(tmp_path: Path) -> None:
    (tmp_path / "vllm" / "v1").mkdir(parents=True)
    (tmp_path / "vllm" / "memory.py").write_text("")
    line = "ValueError: Free memory on device cuda:0 (9.5/79.1 GiB) is less than what was asked for"
    (tmp_path / "vllm" / "v1" / "room.py").write_text(
        'raise ValueError(f"Free memory on device {device} ({free} GiB) is less than what was asked for")\n'
    )
    (tmp_path / "vllm" / "v1" / "chance.py").write_text('raise ValueError(f"Free memory on {all} is gone")\n')
    (tmp_path / "vllm" / "v1" / "broken.py").write_text("raise (")
    missing = list(reworded((FaultCause("Free memory on", "c", "r", line, "vllm/memory.py"),), tmp_path))
    assert moved(missing, tmp_path) == {line: "vllm/v1/room.py"}
    (tmp_path / "vllm" / "v1" / "room.py").unlink()
    assert moved(missing, tmp_path) == {}


def test_a_line_of_some_versions_is_looked_for_in_those(tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "a.py").write_text("")
    old = FaultCause("Gone", "c", "r", "Gone since 0.33", "vllm/a.py", versions="<0.33")
    for version, count in (("0.32.1", 1), ("0.33.0rc1", 0), ("0.33.0", 0)):
        metadata = tmp_path / f"vllm-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
        assert len(list(reworded((old,), tmp_path))) == count
        metadata.unlink()
        metadata.parent.rmdir()


def test_placeholders_of_all_three_kinds_stand_for_anything(tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    lines = (
        "RPC call to step timed out.",
        "ValueError: LoRA rank 64 is greater than 16.",
        "Worker 7 died unexpectedly.",
    )
    (tmp_path / "vllm" / "a.py").write_text(
        'a = f"RPC call to {method} timed out."\n'
        'b = "LoRA rank %s is greater than %d." % (x, y)\n'
        'c = "Worker {} died unexpectedly.".format(n)\n'
    )
    causes = tuple(FaultCause(line, "c", "r", line, "vllm/a.py") for line in lines)
    assert not list(reworded(causes, tmp_path))


def test_a_package_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert not list(reworded(CAUSES, tmp_path))


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == page(), "python -m probes.serve.faults writes it anew"


def test_remedies_in_our_own_options() -> None:
    assert in_our_options("--max-model-len 96, --dtype=half or --enforce-eager") == (
        "--max-len 96, --engine dtype=half or --engine enforce_eager=true"
    )
    assert in_our_options("docker run --shm-size 16g; pip install --upgrade x") == (
        "docker run --shm-size 16g; pip install --upgrade x"
    )


def test_options_of_the_table_are_written_as_they_are_translated() -> None:
    switches = {*SWITCHES, *OURS, "--enable-eplb", "--enable-sleep-mode"}
    for cause in CAUSES:
        for name in re.findall(r"(?<![\w-])(--(?:enable|disable|enforce|trust)-[a-z-]+)", cause.remedy):
            assert name in switches or "leave" in cause.remedy
        for name in OPTION.findall(cause.remedy):
            assert f"--{name}" not in OURS and name not in ("shm-size", "device", "network", "runtime")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no vLLM to look at")
def test_options_and_variables_of_the_remedies_are_vllms() -> None:
    vllm = PACKAGES / "vllm"
    arguments = [vllm / "engine" / "arg_utils.py", *(vllm / "entrypoints").rglob("cli_args.py")]
    known = {name for path in arguments for name in re.findall(r"^    (\w+):", path.read_text(), re.M)}
    named = {name.replace("-", "_") for cause in CAUSES for name in OPTION.findall(cause.remedy)}
    named |= {switch[2:].replace("-", "_") for switch in (*SWITCHES, *OURS)}
    assert named <= known
    variables = {name for cause in CAUSES for name in re.findall(r"\bVLLM_[A-Z_]+\b", cause.remedy)}
    assert {name for name in variables if f'"{name}"' not in (vllm / "envs.py").read_text()} == set()
