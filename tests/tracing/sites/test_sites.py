"""The table of sites: whole in the installed vLLM, and told where another tree does not fit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import installed_vllm, needs_vllm
from tracing.sites.check import SiteLookup, look_up
from tracing.sites.engine import ALL_SITES, CODES, SCOPE_TARGET, SITES
from tracing.sites.site import Kind, Site
from tracing.source.definitions import DefinitionKind, Place

ROOT = Path(__file__).resolve().parents[3]
TARGETS = sorted({target for site in SITES for target in site.targets} | {SCOPE_TARGET})


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The installed vLLM's files that the table names, in a tree of their own."""
    files = {place.file for target in TARGETS if isinstance(place := installed_vllm().resolve(target), Place)}
    for file in {*files, "vllm/__init__.py", "vllm/_version.py"}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(installed_vllm().root.parent / file, tmp_path / file)
    return tmp_path


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tracing.sites", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


# --- the table and the installed vLLM ---


@needs_vllm
def test_installed_vllm_has_every_site() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    last, version = done.stdout.splitlines()[-1], installed_vllm().version
    assert re.fullmatch(rf"{len(SITES)} sites, \d+ required, all( but .*)? found in vLLM {version}", last)
    for site in SITES:
        assert re.search(rf"^ {re.escape(site.name)} +{site.role} +{site.stage} +\S", done.stdout, re.MULTILINE)
    assert isinstance(installed_vllm().resolve(SCOPE_TARGET), Place)
    assert not [line for line in done.stdout.splitlines() if line.endswith(" ")]


@needs_vllm
@pytest.mark.parametrize(
    ("site", "classes"),
    [
        ("graph.run", ["ModelCudaGraphManager.run_fullgraph", "CudaGraphManager.run_pw_graph", "UBatchRunner.run"]),
        ("runner.forward", ["GPUModelRunner._model_forward"]),
        ("graph.dispatch", ["GPUModelRunner._determine_batch_execution_and_padding"]),
        ("encoder.run", ["GPUModelRunner._execute_mm_encoder", "EncoderRunner.execute_mm_encoder"]),
        ("spec.verify", ["RejectionSampler.forward", "RejectionSampler.__call__"]),
        ("pipeline.wait", ["AsyncIntermediateTensors.wait_for_comm", "PPHandler.receive"]),
    ],
)
def test_both_runners_functions_of_a_site_that_is_not_required_are_there(site: str, classes: list[str]) -> None:
    """Not required since an engine has one runner: that the installed vLLM has both is held to here."""
    [found] = look_up([each for each in SITES if each.name == site], installed_vllm())
    assert [target.partition(":")[2] for target in found.site.targets] == classes and found.missing == ()


@needs_vllm
def test_what_the_installed_vllm_lacks() -> None:
    """Names of other versions, and what a class of it has from its parent."""
    if installed_vllm().version != "0.32.0":
        pytest.skip("of another version other functions are absent")
    absent = [missing.target for one in look_up(SITES, installed_vllm()) for missing in one.missing]
    assert [target.partition(":")[2] for target in absent] == [
        "OfflineInferenceMixin._preprocess_cmpl_one",
        "AutoRegressiveSpeculator.propose",
        "PlainDraftModelSpeculator.propose",
        "ExampleConnector.get_finished",
        "NixlPullConnector.wait_for_save",
        "NixlPullConnector.get_finished",
        "NixlPushConnector.wait_for_save",
        "NixlPushConnector.get_finished",
        "NixlBaseConnector.start_load_kv",
    ]


def test_names_are_unique() -> None:
    assert len({site.name for site in ALL_SITES}) == len(ALL_SITES) == len(CODES)


@needs_vllm
def test_imports_nothing_of_vllm() -> None:
    code = (
        "import sys, tracing.sites.engine\n"
        "light = {'argparse', 'rich', 'tracing.source'} & set(sys.modules)\n"
        "sys.argv = ['tracing.sites']\n"
        "from tracing.sites.__main__ import main\n"
        "assert main() == 0\n"
        "print(light, {'vllm', 'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "set() set()", done.stderr


def test_what_waits_for_the_device_has_a_site() -> None:
    """The copy of a verdict on drafts without async scheduling; of prompt logprobs, and of vectors; of tokens."""
    waits = {target.partition(":")[2] for site in SITES if site.stage == "wait: GPU" for target in site.targets}
    assert {"RejectionSampler.parse_output", "GPUModelRunner._sync_device", "GPUModelRunner._to_list"} < waits


# --- the command on trees that differ ---


def test_a_renamed_function(copied: Path) -> None:
    file = copied / "vllm/v1/core/sched/scheduler.py"
    replace(file, "def _preempt_request(", "def _preempt_one_request(")
    done = run("--vllm", str(copied))
    assert done.returncode == 1
    assert re.search(r"^ scheduler.preempt +core +preempt +absent *$", done.stdout, re.MULTILINE)
    problem, error = done.stderr.splitlines()
    assert problem.startswith("scheduler.preempt: vllm.v1.core.sched.scheduler:Scheduler._preempt_request: class Sched")
    assert "does not itself define _preempt_request; nearest: Scheduler._preempt_one_request" in problem
    assert f"1 of {len(SITES)} sites do not fit vLLM {installed_vllm().version}: scheduler.preempt" in error


def test_every_function_of_a_required_site_is_needed(copied: Path) -> None:
    for file in ("multiproc_executor.py", "uniproc_executor.py"):
        replace(copied / "vllm/v1/executor" / file, "def sample_tokens(", "def sample_all_tokens(")
    done = run("--vllm", str(copied / "vllm"))
    assert done.returncode == 1
    assert "nearest: MultiprocExecutor.sample_all_tokens" in done.stderr
    assert "nearest: UniProcExecutor.sample_all_tokens" in done.stderr
    replace(copied / "vllm/v1/executor/uniproc_executor.py", "def sample_all_tokens(", "def sample_tokens(")
    done = run("--vllm", str(copied))
    assert done.returncode == 1  # the other executor's does not stand for it
    assert done.stderr.startswith(
        "executor.sample: vllm.v1.executor.multiproc_executor:MultiprocExecutor.sample_tokens"
    )


@pytest.mark.parametrize(
    ("file", "name", "site"),
    [
        ("v1/worker/gpu/model_runner.py", "prepare_attn", "runner.attention"),  # Model Runner V2's
        ("v1/worker/gpu_model_runner.py", "_build_attention_metadata", "runner.attention"),
        ("v1/worker/gpu/async_utils.py", "get_output", "device.wait"),
    ],
)
def test_one_runners_half_does_not_stand_for_the_others(copied: Path, file: str, name: str, site: str) -> None:
    replace(copied / "vllm" / file, f"def {name}(", f"def {name}_of_late(")
    done = run("--vllm", str(copied))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: 1 of {len(SITES)} sites do not fit vLLM")
    assert f"{site}: " in done.stderr and f"{name}_of_late" in done.stderr


def test_what_is_absent_of_a_site_is_named_where_asked(copied: Path) -> None:
    replace(copied / "vllm/v1/worker/gpu/cudagraph_utils.py", "def run_fullgraph(", "def run_whole_graph(")
    absent = "absent: vllm.v1.worker.gpu.cudagraph_utils:ModelCudaGraphManager.run_fullgraph"
    assert absent not in run("--vllm", str(copied)).stdout
    assert absent in run("--vllm", str(copied), "--absent").stdout


def test_a_module_that_moved(copied: Path) -> None:
    (copied / "vllm/v1/core/kv_cache_manager.py").rename(copied / "vllm/v1/core/kv_manager.py")
    done = run("--vllm", str(copied))
    assert done.returncode == 1
    assert "nearest: vllm.v1.core.kv_manager:KVCacheManager.allocate_slots" in done.stderr
    assert f"2 of {len(SITES)} sites" in done.stderr


def test_an_optional_site_may_be_absent(copied: Path) -> None:
    replace(copied / "vllm/v1/metrics/loggers.py", "class StatLoggerManager", "class StatLoggers")
    done = run("--vllm", str(copied))
    assert done.returncode == 0
    assert re.search(r"^ output.stats .* absent \(not required\)", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].endswith(f"all but output.stats found in vLLM {installed_vllm().version}")


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        ("async_llm", "async def abort(", "def abort(", "async.abort: declared 'coroutine', but 'function' at "),
        (
            "core",
            "    def post_step(",
            "    async def post_step(",
            "core.post_step: declared 'function', but 'coroutine",
        ),
        ("core", "def _send_msg_track", "async def _send_msg_track", "declared 'static', but 'staticmethod coroutine'"),
        (
            "llm_engine",
            "    def add_request(",
            "    @property\n    def add_request(",
            "but 'property function' at vllm/",
        ),
    ],
)
def test_a_function_of_another_kind(copied: Path, file: str, before: str, after: str, words: str) -> None:
    replace(copied / f"vllm/v1/engine/{file}.py", before, after)
    done = run("--vllm", str(copied))
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("declared", "found", "decorators", "fits"),
    [
        ("function", "function", (), True),
        ("function", "function", ("torch.inference_mode()",), True),
        ("function", "generator", (), False),
        ("function", "coroutine", (), False),
        ("function", "class", (), False),
        ("function", "function", ("staticmethod",), False),
        ("function", "function", ("functools.cached_property",), False),
        ("coroutine", "coroutine", (), True),
        ("coroutine", "async generator", (), False),
        ("async generator", "async generator", (), True),
        ("async generator", "coroutine", (), False),
        ("static", "function", ("staticmethod",), True),
        ("static", "function", (), False),
        ("static", "function", ("classmethod",), False),
        ("model", "function", (), True),
        ("model", "coroutine", (), False),
    ],
)
def test_kinds(declared: Kind, found: DefinitionKind, decorators: tuple[str, ...], fits: bool) -> None:
    place = Place("vllm/shop.py", 1, 2, found, decorators, ())
    site = Site("shop", "shop", "core", ("vllm.shop:shop",), kind=declared)
    assert (list(SiteLookup(site, (place,), ()).problems()) == []) is fits


def test_a_broken_file_is_named(copied: Path) -> None:
    (copied / "vllm/v1/core/kv_cache_manager.py").write_bytes(b"class KVCacheManager:\n  \xff\n")
    done = run("--vllm", str(copied))
    assert done.returncode == 1
    assert "vllm/v1/core/kv_cache_manager.py is not Python that this Python reads" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--vllm", "/no/such/folder"], ["--vllm", str(ROOT)], ["--vllm"], ["--vlm", "x"]])
def test_bad_usage(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr and "Traceback" not in done.stderr
