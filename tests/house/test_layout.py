"""The floors hold: imports only go down and stand at the top, vLLM is met in its adapters alone, no folder is too full,
and a class name is given once; and the tests are laid out as the rooms, in folders as short as theirs."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BELOW = {
    "probes": set(),
    "tracing": {"probes"},
    "offline": {"probes", "tracing"},
    "notes": {"probes", "tracing"},
}
HEAVY = {"vllm", "torch", "transformers"}
WITH_HEAVY = {"PIL", "pydantic", "safetensors", "triton"}  # what only these bring along
ADAPTERS = {
    "probes/checkpoint.py",
    "probes/doctor/model/selection.py",
    "probes/quick/generation.py",
    "probes/rates/torchrates.py",
    "tracing/hooks/steplog.py",
    "tracing/demo.py",
    "tracing/shapes/engine/conversation.py",
    "tracing/shapes/engine/feature.py",
    "tracing/shapes/hindrance.py",
    "tracing/shapes/pretend/worker.py",
    "tracing/shapes/platform.py",
    "tracing/overhead/trialengine.py",
    "tracing/whatif/engine/load.py",
    "offline/engine/adapter.py",
    "offline/engine/devicekernel.py",
    "offline/torchbaseline/model.py",
    "offline/torchbaseline/continuous.py",
    "offline/variants/vllmserving.py",
    "offline/workload/tokenizer.py",
}
# Inside `tracing`: what a folder may import of the others. What writes is below what reads, and that below what draws.
READERS = {"source", "sites", "events", "timeline", "breakdown", "pyspy", "nsys", "torchsums", "overhead"}
FLOORS = {
    "source": set(),
    "sites": {"source"},
    "events": {"sites"},
    "hooks": {"sites", "events"},
    "timeline": {"sites", "events"},
    **dict.fromkeys(("breakdown", "pyspy", "nsys", "torchsums", "overhead"), READERS),
    "hang": READERS,
    "shapes": READERS | {"record"},
    "attach": READERS | {"record"},
    "kept": READERS | {"attach", "hang", "record"},
    "top": READERS | {"attach"},
    "whatif": READERS | {"attach", "record", "shapes"},
    "otlp": READERS | {"attach", "kept"},
    "page": READERS,
}
OF_COMMANDS = {"page", "record", "kept", "otlp"}  # what a command's own module may import besides
WRITTEN = {
    "tracing.events.delays",
    "tracing.events.layout",
    "tracing.events.pinned",
    "tracing.events.standing",
    "tracing.events.step",
}  # of the events, what hooks may import: no reader
SITE_TABLES = ("core", "engine", "features", "frontend", "site", "worker")
ENGINE_SITES = tuple(f"tracing/sites/{name}.py" for name in SITE_TABLES)
# Function-level imports outside of commands and adapters, each of a library that only some calls need.
OPTIONAL = {
    "notes/site/mkdocssite.py": {"mkdocs"},
    "offline/cluster/nodes.py": {"ray"},
    "probes/client/loops.py": {"uvloop"},
    "probes/devices/amd.py": {"amdsmi"},
    "probes/devices/clocks.py": {"pynvml"},
    "probes/devices/nvidia.py": {"pynvml"},
    "probes/hub/asking.py": {"huggingface_hub"},
    "tracing/hooks/wrappers/tracecontext.py": {"opentelemetry"},
    "tracing/otlp/exporter.py": {"opentelemetry"},
}
EXERCISES = "notes/study/exercises/"
MOST_TESTS = 12  # modules side by side in a folder of tests
LONG_FOLDERS = {"tests/bench"}  # each is a command, which is typed by its path
MOST_MODULES = 14  # in a folder, beside its `__init__`
MODULES = sorted(str(path.relative_to(ROOT)) for room in BELOW for path in (ROOT / room).rglob("*.py"))
INSIDE_VLLM = [
    "enginescope_plugin.py",
    *(name for name in MODULES if name.startswith("tracing/hooks/") or name in ENGINE_SITES),
    *(name.replace(".", "/") + ".py" for name in sorted(WRITTEN)),
]


def imported(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Every module that `tree`, a module of `package`, imports, inside functions too.

    What is taken from a package may be a module of it, so both names are given.

    | statement                           | yields                      |
    | ----------------------------------- | --------------------------- |
    | `import vllm.config`                | `vllm.config`               |
    | `from probes import machine`        | `probes`, `probes.machine`  |
    | `from ..sites import site`          | the same, below `package`   |
    | `importlib.import_module("vllm.x")` | `vllm.x`                    |
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, level=level, names=names):
                above = package.split(".")[: package.count(".") + 2 - level] if level else []
                whole = ".".join([*above, *([module] if module else [])])
                yield from (whole, *(f"{whole}.{name.name}" for name in names))
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module


def imports_of(module: str) -> set[str]:
    """The modules that a file of the repository imports."""
    return set(imported(ast.parse((ROOT / module).read_text()), module.rpartition("/")[0].replace("/", ".")))


def first(name: str) -> str:
    return name.partition(".")[0]


def test_sees_every_way_to_import() -> None:
    source = """
import vllm.config, json
from probes import machine
from . import plugin
from ..sites.site import Site
def late():
    from torch.nn import Module
    importlib.import_module("transformers.models")
    __import__("notes")
"""
    names = {"vllm.config", "json", "probes", "probes.machine", "torch.nn", "torch.nn.Module", "transformers.models"}
    names |= {"tracing.hooks", "tracing.hooks.plugin", "tracing.sites.site", "tracing.sites.site.Site", "notes"}
    assert set(imported(ast.parse(source), "tracing.hooks")) == names


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    names = {first(name) for name in imports_of(module)}
    room = module.partition("/")[0]
    assert names & {*BELOW, "tests"} <= BELOW[room] | {room}
    assert module in ADAPTERS or not names & HEAVY


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_inside_the_room_when_relative(module: str) -> None:
    depth = module.count("/")
    nodes = ast.walk(ast.parse((ROOT / module).read_text()))
    assert all(node.level <= depth for node in nodes if isinstance(node, ast.ImportFrom))


@pytest.mark.parametrize("module", [module for module in MODULES if module.split("/")[1] in FLOORS])
def test_folders_of_tracing_import_only_what_is_below(module: str) -> None:
    """A command's own module may draw what the rest of its folder has read."""
    folder = module.split("/")[1]
    below = FLOORS[folder] | {folder} | (OF_COMMANDS if module.endswith("__main__.py") else set())
    names = {name for name in imports_of(module) if name.startswith("tracing.")}
    assert {name.split(".")[1] for name in names} <= below
    if folder == "hooks":
        assert {name for name in names if name.count(".") == 2 and ".events." in name} <= WRITTEN


@pytest.mark.parametrize("module", INSIDE_VLLM)
def test_what_runs_inside_vllm_names_no_room(module: str) -> None:
    """It is loaded under another name there: an absolute import could meet a package of the user's."""
    nodes = [node for node in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(node, ast.stmt)]
    absolute = {first(name) for node in nodes if getattr(node, "level", 0) == 0 for name in imported(node)}
    assert not absolute & {*BELOW, "tests"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(("tracing/", "offline/"))])
def test_nothing_imports_a_command(module: str) -> None:
    assert not [name for name in imports_of(module) if name.endswith(".__main__")]


def is_command(tree: ast.Module) -> bool:
    """Whether a module has an `if __name__ == "__main__"` block."""
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree.body)


def deferred(tree: ast.AST) -> set[str]:
    """The first names of the modules that are imported inside functions."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {first(name) for function in functions for name in imported(function)}


def test_sees_deferred_imports() -> None:
    late = ast.parse("import json\nasync def late():\n    from rich.table import Table\n")
    assert deferred(late) == {"rich"} and not is_command(late)
    assert is_command(ast.parse("if __name__ == '__main__':\n    main()"))


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    optional = OPTIONAL.get(module, set()) | (HEAVY | WITH_HEAVY if module in ADAPTERS else set())
    late = set() if is_command(tree) else deferred(tree) - optional
    assert not late, f"{module} imports {late} inside functions"


def test_no_folder_is_too_full_to_be_taken_in() -> None:
    counts = Counter(module.rpartition("/")[0] for module in MODULES if not module.endswith("/__init__.py"))
    assert not {folder: count for folder, count in counts.items() if count > MOST_MODULES}


def test_a_class_name_stands_once() -> None:
    owners = defaultdict(list)
    for module in MODULES:
        if not module.startswith(EXERCISES):
            tree = ast.parse((ROOT / module).read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    owners[node.name].append(module)
    twice = {name: modules for name, modules in owners.items() if len(modules) > 1}
    assert not twice


def test_folders_of_tests_are_short() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py"))
    assert {folder for folder, count in counts.items() if count > MOST_TESTS} == LONG_FOLDERS
