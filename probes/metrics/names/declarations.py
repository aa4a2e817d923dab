"""The metrics that a vLLM source tree declares, read by its syntax: an installed or an unpacked one, never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probes.errors import usage_error
from probes.metrics.names.constants import Constants, Values, assigned

PREFIX, TOTAL = "vllm:", "_total"
# `Gauge(…)`, `self._gauge_cls(…)`, `prometheus_client.Gauge(…)`, and `OffloadingGaugeMetadata(…)`, which is one's plan.
MAKERS = re.compile(r"(Gauge|Counter|Histogram)|_?(gauge|counter|histogram)_cls|\w*(Gauge|Counter|Histogram)Metadata")
ARGUMENTS = ("name", "documentation", "labelnames")
VERSION = re.compile(r"^__version__ = version = ['\"]([\d.]+)", re.M)
LOGGERS = ("v1/metrics/loggers.py", "engine/metrics.py")
UNITS = (
    (r"_milliseconds$", "ms"),
    (r"_seconds$|_time(_total)?$|time_in_queue", "s"),
    (r"_bytes(_per_gpu)?(_total)?$|_size$|bytes_transferred$", "bytes"),
    (r"_perc$|_rate$|_efficiency$|_ratio$", "1"),
    (r"_tokens(_cached|_per_pos)?(_by_source)?(_total)?$", "tokens"),
    (r"_blocks(_dropped)?(_total)?$", "blocks"),
    (r"_requests(_total)?$|num_requests_", "requests"),
)
# What the prefix caches count has changed: their own words say it.
COUNTED = re.compile(r"(?:queried|cached) ?(tokens|blocks)")


@dataclass(frozen=True)
class Declaration:
    """A metric as a version declares it. `labels` is None where the source does not write them out; `over_pids` is
    prometheus_client's mode for a gauge of several processes."""

    name: str
    kind: str
    labels: tuple[str, ...] | None
    unit: str
    over_pids: str = ""


@dataclass
class Tree:
    """A tree's declarations, its version, and what in it looks like a metric that could not be read."""

    version: str
    declarations: list[Declaration] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read(folder: Path) -> Tree:
    """Read a tree: the folder of the package `vllm`, or the one that holds it."""
    root = folder if (folder / "_version.py").exists() else folder / "vllm"
    if not (root / "_version.py").exists():
        raise usage_error(f"{folder} is no source tree of vLLM: it has no vllm/_version.py")
    version = VERSION.search((root / "_version.py").read_text())
    if version is None:
        raise usage_error(f"{root / '_version.py'} does not say which version it is")
    # Any file may hold a constant, so all are read that name a metric.
    texts = {path: text for path in sorted(root.rglob("*.py")) if PREFIX in (text := path.read_text(errors="replace"))}
    modules = {path: ast.parse(text) for path, text in texts.items()}
    constants = Constants()
    for module in modules.values():
        constants.add(module)
    tree = Tree(version[1].rstrip("."))
    bases = {name: _base(root / name, constants) for name in LOGGERS}
    declarations: dict[str, Declaration] = {}
    for path, module in modules.items():  # `v1` comes last: its declarations stand for those of the engine before it
        base = bases[LOGGERS[1]] if path == root / LOGGERS[1] else bases[LOGGERS[0]]
        for each in _module(module, constants, base):
            if isinstance(each, Declaration):
                declarations[each.name] = each
            else:
                tree.unread.append(f"{path.relative_to(root)}:{each}")
    tree.declarations = sorted(declarations.values(), key=lambda each: each.name)
    return tree


def _base(path: Path, constants: Constants) -> tuple[str, ...]:
    """The labels that vLLM's logger passes on to every metric."""
    if not path.exists():
        return ()
    module = ast.parse(path.read_text())
    lists = [local["labelnames"] for local in map(_locals, _functions(module)) if "labelnames" in local]
    texts = [constants.texts(each, {}, ()) for each in lists]
    return next((each for each in texts if each), ("model_name",))


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))


def _locals(function: ast.AST) -> Values:
    return assigned(node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.AnnAssign))


def _module(module: ast.Module, constants: Constants, base: tuple[str, ...]) -> Iterator[Declaration | int]:
    """A module's declarations; the lines of those whose name is not written out."""
    own, seen = assigned(module.body), set[ast.Call]()
    for scope in (*_functions(module), *(node for node in module.body if isinstance(node, ast.ClassDef)), module):
        local = own | _locals(scope)
        for call, key in _calls(scope):
            if call not in seen:
                seen.add(call)
                names = _names(call, key, local, constants)
                if not names and isinstance(_given(call).get("name"), ast.Name):  # of a loop
                    names = _paired(scope)
                yield from _declared(call, names, local, constants, base) if names else (call.lineno,)


def _calls(scope: ast.AST) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """The calls that make a metric, or plan one, each with the key under which it is kept, if it is."""
    keys: dict[ast.expr, ast.expr | None] = {}
    for node in ast.walk(scope):
        match node:
            case ast.Dict(keys=names, values=values):
                keys |= {value: name for name, value in zip(names, values, strict=True)}
            case ast.Assign(targets=[ast.Subscript(slice=name)], value=value):
                keys[value] = name
    # vLLM's own classes of these names, which are read from a server and make nothing, have no documentation.
    makers = (node for node in ast.walk(scope) if isinstance(node, ast.Call) and MAKERS.fullmatch(_called(node)))
    calls = [call for call in makers if "documentation" in _given(call)]
    yield from ((call, keys.get(call)) for call in sorted(calls, key=_is_plan, reverse=True))


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _given(call: ast.Call) -> Values:
    by_name = {each.arg: each.value for each in call.keywords if each.arg}
    return by_name if _is_plan(call) else dict(zip(ARGUMENTS, call.args, strict=False)) | by_name


def _is_plan(call: ast.Call) -> bool:
    return _called(call).endswith("Metadata")


def _names(call: ast.Call, key: ast.expr | None, local: Values, constants: Constants) -> list[str]:
    """The name of a metric: its argument, or of a plan the key under which it is kept."""
    name = constants.text(key if _is_plan(call) else _given(call).get("name"), local)
    return [] if name is None else [name]


def _paired(scope: ast.AST) -> list[str]:
    """The names that a function writes out in pairs of name and documentation, for a loop over them."""
    pairs = (node.elts for node in ast.walk(scope) if isinstance(node, ast.Tuple) and len(node.elts) == 2)
    names = [pair[0].value for pair in pairs if isinstance(pair[0], ast.Constant)]
    return [name for name in names if isinstance(name, str) and name.startswith(PREFIX)]


def _declared(
    call: ast.Call, names: list[str], local: Values, constants: Constants, base: tuple[str, ...]
) -> Iterator[Declaration]:
    maker, given = MAKERS.fullmatch(_called(call)), _given(call)
    kind = next(word for word in (maker.groups() if maker else ()) if word).lower()
    labels = constants.texts(given.get("labelnames"), local, base)
    if _is_plan(call) and labels is not None:
        labels = (*base, *labels)  # added where the plan is carried out
    mode = constants.text(given.get("multiprocess_mode"), local) or ""
    documentation = constants.text(given.get("documentation"), local) or ""
    for name in names:
        if name.startswith(PREFIX):
            # prometheus_client ends the name of every counter so, whether it was written or not.
            exposed = name if kind != "counter" or name.endswith(TOTAL) else name + TOTAL
            yield Declaration(exposed, kind, labels, unit_of(exposed, documentation), mode)


def unit_of(name: str, documentation: str = "") -> str:
    """The unit by the end of a name; of what a prefix cache counts, by the server's own words. Empty: a plain count."""
    by_name = next((unit for end, unit in UNITS if re.search(end, name)), "")
    counted = COUNTED.search(documentation)
    return by_name or (counted[1] if counted else "")
