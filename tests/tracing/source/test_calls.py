"""What a function calls, by its text; and the functions of a stage that differ between two trees, its own first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracing.source.test_source import write_tree
from tracing.sites.changed import changed_functions
from tracing.source.calls import calls
from tracing.source.definitions import Place
from tracing.source.likeness import beside
from tracing.source.tree import SourceTree

SCHEDULER = """\
from vllm.v1.request import Request, finish

class Scheduler:
    def schedule(self):
        self._pick()
        self.manager.allocate_slots()
        self.manager.tidy()
        self.waiting.popleft()

    def _pick(self):
        return score(Request())

    def update_from_output(self):
        self._pick()

def score(request):
    return 1
"""
MANAGER = """\
class KVCacheManager:
    def allocate_slots(self): return 1
    def tidy(self): return 1
"""
REQUEST = """\
class Request:
    def __init__(self): self.state = 1

def finish(): ...
"""
FILES = {
    "v1/core/sched/scheduler.py": SCHEDULER,
    "v1/core/kv_cache_manager.py": MANAGER,
    "v1/request.py": REQUEST,
}
CORE = "vllm.v1.core"


def tree(folder: Path, old: str = "", new: str = "") -> SourceTree:
    """The tree of `FILES`, with one text in them replaced."""
    files: dict[str, str | bytes] = {name: text.replace(old, new) if old else text for name, text in FILES.items()}
    assert not old or files != FILES
    return SourceTree.find(write_tree(folder, files))


HOLDER = """\
from vllm.v1.sample.sampler import Sampler

class GPUModelRunner:
    def __init__(self):
        self.sampler = Sampler(
            "mode"
        )

    def _sample(self):
        return self.sampler(1)
"""
SAMPLER = """\
class Greedy:
    def __init__(self, quick):
        self.forward = self.native if not quick else self.quick
    def native(self): return 1
    def quick(self): return 2

class Sampler:
    def __init__(self):
        self.greedy = Greedy(True)
    def forward(self):
        return self.greedy()
"""
V2 = """\
class GPUModelRunner:
    def sample(self): return 1
"""
RUNNERS = {
    "v1/worker/gpu_model_runner.py": HOLDER,
    "v1/worker/gpu/model_runner.py": V2,
    "v1/sample/sampler.py": SAMPLER,
}


def test_an_object_that_is_called_runs_its_forward_and_a_method_that_was_assigned_is_found(tmp_path: Path) -> None:
    source = SourceTree.find(write_tree(tmp_path, RUNNERS))
    assert calls(source, "vllm.v1.worker.gpu_model_runner:GPUModelRunner._sample") == [
        "vllm.v1.sample.sampler:Sampler.forward"
    ]
    assert calls(source, "vllm.v1.sample.sampler:Sampler.forward") == [
        "vllm.v1.sample.sampler:Greedy.native",
        "vllm.v1.sample.sampler:Greedy.quick",
    ]


@pytest.mark.parametrize(
    ("v2_runner", "differing"),
    [
        (False, ["vllm.v1.sample.sampler:Greedy.quick"]),
        (True, ["vllm.v1.worker.gpu.model_runner:GPUModelRunner.sample"]),
        (None, ["vllm.v1.worker.gpu.model_runner:GPUModelRunner.sample", "vllm.v1.sample.sampler:Greedy.quick"]),
    ],
)
def test_the_code_of_the_model_runner_that_did_not_run_is_left_out(
    tmp_path: Path, v2_runner: bool | None, differing: list[str]
) -> None:
    """Both differ, and the one that ran was slower: so it was with 0.31.0 and 0.32.0, whose sampler on CPUs is new."""
    slower = {
        "v1/worker/gpu/model_runner.py": V2.replace("return 1", "return 3"),
        "v1/sample/sampler.py": SAMPLER.replace("return 2", "return 3"),
    }
    old = SourceTree.find(write_tree(tmp_path / "old", dict(RUNNERS)))
    new = SourceTree.find(write_tree(tmp_path / "new", RUNNERS | slower))
    assert [each.target for each in changed_functions("sample", old, new, v2_runner)] == differing


def test_calls_are_told_from_names(tmp_path: Path) -> None:
    source = tree(tmp_path)
    scheduler = f"{CORE}.sched.scheduler"
    assert calls(source, f"{scheduler}:Scheduler.schedule") == [
        f"{scheduler}:Scheduler._pick",
        f"{CORE}.kv_cache_manager:KVCacheManager.allocate_slots",
        f"{CORE}.kv_cache_manager:KVCacheManager.tidy",
    ]
    assert calls(source, f"{scheduler}:Scheduler._pick") == [
        f"{scheduler}:score",
        "vllm.v1.request:Request.__init__",
    ]
    assert calls(source, f"{scheduler}:Scheduler.gone") == []


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("popleft", "pop", [("Scheduler.schedule", 0)]),
        ("return score", "# a word\n        return score", []),
        ("self.state = 1", "self.state = 2", [("Request.__init__", 2)]),
        ("def tidy(self): return 1", "def tidy(self): return 2", [("KVCacheManager.tidy", 1)]),
        ("def tidy(self): return 1", "", [("KVCacheManager.tidy", 1)]),
        ("def allocate_slots(self): return 1", "def allocate_slots(self): return 2", []),  # a stage of its own
        ("def update_from_output", "def update_from_outputs", []),  # of another stage
    ],
)
def test_the_functions_on_the_path_of_a_stage_that_differ(
    old: str, new: str, changed: list[tuple[str, int]], tmp_path: Path
) -> None:
    differing = changed_functions("schedule", tree(tmp_path / "old"), tree(tmp_path / "new", old, new))
    assert [(each.target.partition(":")[2], each.distance) for each in differing] == changed


def test_what_is_called_comes_after_what_calls_it(tmp_path: Path) -> None:
    differing = changed_functions("schedule", tree(tmp_path / "old"), tree(tmp_path / "new", "1", "2"))
    assert [each.target.partition(":")[2] for each in differing] == [
        "KVCacheManager.tidy",
        "score",
        "Request.__init__",
    ]


def test_a_stage_without_functions_has_no_path(tmp_path: Path) -> None:
    assert changed_functions("unexplained", tree(tmp_path / "old"), tree(tmp_path / "new", "1", "2")) == []


def test_two_definitions_stand_side_by_side(tmp_path: Path) -> None:
    [change] = changed_functions("schedule", tree(tmp_path / "old"), tree(tmp_path / "new", "popleft", "pop"))
    assert list(beside(change.before, change.after)) == [
        "vllm/v1/core/sched/scheduler.py:4             vllm/v1/core/sched/scheduler.py:4",
        "…",
        "    5         self._pick()                        5         self._pick()",
        "    6         self.manager.allocate_slots()       6         self.manager.allocate_slots()",
        "    7         self.manager.tidy()                 7         self.manager.tidy()",
        "    8         self.waiting.popleft()        |     8         self.waiting.pop()",
    ]


def test_a_definition_that_is_not_there_has_an_empty_column() -> None:
    place = Place("vllm/a.py", 2, 3, "function", (), ("", "def f():", "    pass", ""))
    assert list(beside(None, place)) == ["(not there)   vllm/a.py:2", "…", " |     2 def f():", " |     3     pass"]
