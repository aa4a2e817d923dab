"""Environments as an axis: what a word stands for, what is said of it, and a planted slow-down that is found."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from offline.environments.environment import Environment, differing_sentences, fact_rows
from offline.environments.finding import choice, environment_changes, environments, look_into, refuse_unrecorded
from offline.environments.look import NEEDED
from offline.environments.packages import lay_out
from probes.errors import EnginescopeError
from tests.needs import needs_vllm
from tests.offline.sweep.sweeping import FAKE, ROOT, only_run, run

OLD = Environment(
    "old/bin/python", "old/vllm", "0.31.0", {"python": "3.11.7", "transformers": "5.17.0", "torch": "2.13"}
)
NEW = Environment(
    "new/bin/python", "new/vllm", "0.32.0", {"python": "3.11.7", "transformers": "5.19.0", "torch": "2.13"}
)
GRID = ("--load-format", "dummy", "--batch-size", "1", "--block-size", "32", "--prefix-caching", "off", "--starts", "4")
GRID += (
    "--input-len",
    "40",
    "--shared-prefix-len",
    "8",
    "--output-len",
    "3",
    "--repeats",
    "2",
    "--cache-state",
    "cold",
)


def checkout(folder: Path, version: str = "") -> Path:
    """A copy of the stand-in for vLLM."""
    shutil.copytree(FAKE, folder)
    if version:
        (folder / "vllm" / "_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


def slow_checkout(folder: Path) -> Path:
    """A copy whose scheduler sleeps for 0.1 s a step."""
    scheduler = checkout(folder) / "vllm" / "v1" / "core" / "sched" / "scheduler.py"
    head = "    def schedule(self, requests, step):\n"
    text = scheduler.read_text().replace(head, f"{head}        time.sleep(0.1)\n")
    scheduler.write_text(text.replace("from types", "import time\nfrom types"))
    return folder


def empty_environment(folder: Path) -> str:
    """The Python of an environment in which nothing is installed."""
    venv.create(folder, with_pip=False, symlinks=True)
    return str(folder / "bin" / "python")


@needs_vllm
def test_a_word_is_a_folder_a_python_or_the_installed_vllm(tmp_path: Path) -> None:
    folder, python = checkout(tmp_path / "tree"), empty_environment(tmp_path / "env")
    assert (choice("installed").python, choice("installed").folder) == (sys.executable, "")
    assert (choice(str(folder)).python, choice(str(folder)).folder) == (sys.executable, str(folder))
    assert choice(str(folder / "vllm")).folder == str(folder)
    assert (choice(python).python, choice(python).folder) == (python, "")
    assert choice("0.32.0") == choice("installed")
    with pytest.raises(EnginescopeError, match="neither a version, a folder with a vllm package"):
        choice("nothing/there")


@needs_vllm
def test_environments_are_called_by_their_versions_and_by_name_where_these_are_the_same(tmp_path: Path) -> None:
    a, b = checkout(tmp_path / "a", "1.0"), checkout(tmp_path / "b", "2.0")
    assert list(environments([str(a), str(b)])) == ["1.0", "2.0"]
    c = checkout(tmp_path / "c", "1.0")
    assert list(environments([str(a), str(b), str(c)])) == ["1.0@a", "2.0", "1.0@c"]
    with pytest.raises(EnginescopeError, match=r"names 1\.0@a twice"):
        environments([str(a), str(a)])


def test_what_an_environment_lacks_is_named(tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "env")
    with pytest.raises(EnginescopeError, match=f"{python} has no torch numpy orjson psutil: install it there"):
        look_into(python, str(checkout(tmp_path / "tree")))


@needs_vllm
def test_an_environment_that_changed_is_named(tmp_path: Path) -> None:
    now = look_into(sys.executable, str(checkout(tmp_path / "tree", "1.0")))
    assert environment_changes({"1.0": now}) == []
    before = replace(now, vllm="0.9", versions=now.versions | {"numpy": "1.0"})
    changes = environment_changes({"1.0": before})
    assert changes == [f"numpy of 1.0: '1.0' and {now.version('numpy')!r}", "vllm of 1.0: '0.9' and '1.0'"]


def test_packages_that_differ_are_named() -> None:
    both = {"0.31.0": OLD, "0.32.0": NEW}
    assert differing_sentences(both) == [
        "Beside vLLM the environments 0.31.0 and 0.32.0 differ in transformers (5.17.0, 5.19.0)."
    ]
    assert differing_sentences({"0.31.0": OLD}) == []
    assert fact_rows(both) == {
        "python": ["3.11.7", "3.11.7"],
        "vllm": ["0.31.0", "0.32.0"],
        "torch": ["2.13", "2.13"],
        "transformers": ["5.17.0", "5.19.0"],
    }


def test_engines_of_another_python_are_not_recorded() -> None:
    refuse_unrecorded({"1.0": replace(NEW, versions={"python": platform.python_version()})})
    with pytest.raises(EnginescopeError, match=r"and the environment 1\.0 has 3\.9\.1: leave --trace out"):
        refuse_unrecorded({"1.0": replace(NEW, versions={"python": "3.9.1"})})


def test_another_interpreter_finds_our_packages_and_the_plugin_and_nothing_else(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "packages")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["enginescope-0.dist-info", "enginescope_plugin.py", "offline", "probes", "tracing"]
    assert (folder / "offline" / "engine" / "arm.py").is_file()


def test_the_process_of_an_engine_imports_what_an_environment_is_looked_at_for_and_nothing_else() -> None:
    own = "offline.engine.arm, offline.engine.devicekernel"
    ask = f"import sys, {own}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, cwd=ROOT)
    others = set(answer.stdout.split()) - sys.stdlib_module_names - {"__main__", "_distutils_hack"}
    assert others <= {"enginescope_plugin", "offline", "probes", "tracing", *NEEDED}


@needs_vllm
@pytest.mark.slow(60)
def test_a_planted_slow_down_is_found(tmp_path: Path) -> None:
    """The installed vLLM in another interpreter against a checkout whose scheduler sleeps, in turns."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    python = Path(empty_environment(tmp_path / "other"))
    [packages] = (tmp_path / "other" / "lib").glob("*/site-packages")
    (packages / "ours.pth").write_text("\n".join(site_folders()))
    words = ("--model", str(model), *GRID, "--vllm", f"{python},{slow_checkout(tmp_path / 'slow')}")
    code, text = run(tmp_path / "out", *words, fake=True)
    assert code == 0 and "Arms took turns" in text, text
    folder = only_run(tmp_path / "out")
    rows = list(csv.DictReader((folder / "differences.csv").open()))
    [row] = [row for row in rows if row["axis"] == "vllm" and row["metric"] == "output_tok_s" and row["cell"] == "all"]
    assert (row["from"], row["to"], row["verdict"]) == ("unknown@other", "unknown@slow", "slower")
    asked = json.loads((folder / "run.json").read_text())
    assert asked["spec"]["vllm"] == ["unknown@other", "unknown@slow"] == list(asked["environments"])
    assert "Beside vLLM the environments unknown@other and unknown@slow differ in no package." in page_text(folder)


def site_folders() -> list[str]:
    """Where the packages of the tests' own environment are."""
    return [path for path in sys.path if path.endswith("site-packages")]


def page_text(folder: Path) -> str:
    """The page of a run."""
    return (folder / "report.html").read_text()
