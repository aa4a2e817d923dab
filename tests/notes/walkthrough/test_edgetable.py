"""The table of edges: a chain is in the source or says where it breaks; all are borne out by the committed traces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notes import check
from notes.traces import shapetrace
from notes.traces.evidence import evidence, sightings
from notes.walkthrough import chapters, edgetable, implementations
from notes.walkthrough.edges import Evidence
from probes.errors import EnginescopeError
from tests.needs import needs_vllm
from tests.tracing.source.test_source import write_tree
from tracing.shapes.shape import SHAPES
from tracing.sites.engine import SITES
from tracing.source.tree import SourceTree

SHOP = """class Shop:
    def serve(self, order):
        self.take(order)
        return self.pack_fn(order)

    def take(self, order):
        self.note(order)

    def note(self, order): ...

    def open(self):
        self.pack_fn = self.pack

    def pack(self, order): ...
"""
TABLE = '[modules]\nshop = "vllm.shop"\n[[{kind}]]\ntarget = "shop:Shop.serve"\nrole = "core"\ncalls = {calls}\n'


def verdicts(folder: Path, kind: str, *calls: str) -> list[str]:
    """What the source says of the edges of a table with one row."""
    folder.mkdir(exist_ok=True)
    (folder / "edges.toml").write_text(TABLE.format(kind=kind, calls=list(calls)))
    tree = SourceTree.find(write_tree(folder, {"shop.py": SHOP}))
    return [edgetable.unfounded(row, tree) for row in edgetable.read(folder)]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("shop:Shop.take", ""),
        ("shop:Shop.note by shop:Shop.take", ""),
        ("shop:Shop.pack by shop:Shop.open as pack_fn", ""),
        ("shop:Shop.note", "vllm.shop:Shop.serve does not name note"),
        ("shop:Shop.pack by shop:Shop.take", "vllm.shop:Shop.take does not name pack"),
        ("shop:Shop.take by shop:Shop.wrap as take", "vllm.shop:Shop.wrap is not there"),
    ],
)
def test_each_on_a_chain_names_the_next(tmp_path: Path, call: str, reason: str) -> None:
    assert verdicts(tmp_path, "caller", call) == [reason]


def test_an_order_is_that_of_the_lines(tmp_path: Path) -> None:
    taken, packed = "shop:Shop.note by shop:Shop.take", "shop:Shop.pack by shop:Shop.open as pack_fn"
    assert verdicts(tmp_path, "order", taken, packed) == [""]
    (reason,) = verdicts(tmp_path / "turned", "order", packed, taken)
    assert reason == "in vllm.shop:Shop.serve take stands before pack_fn"


def test_a_table_with_an_unknown_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "edges.toml").write_text(TABLE.format(kind="caller", calls='["mall:Shop.take"]'))
    with pytest.raises(EnginescopeError, match="is not a table of edges: KeyError"):
        edgetable.read(tmp_path)


def test_the_command_counts_what_the_committed_traces_have_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.check_shapes(tuple(chapters.stops(chapters.read())), chapters.FOLDER, shapetrace.FOLDER) == 0
    shapes = len([*shapetrace.FOLDER.glob("*.xz")])
    words = rf"\d{{3}} edges seen in the traces of {shapes} shapes \(.*\), none contradicted\n"
    assert re.fullmatch(words, capsys.readouterr().out)


# --- the real one ---


@pytest.fixture(scope="module")
def proofs() -> list[Evidence]:
    return evidence(edgetable.claims(chapters.stops(chapters.read())))


@needs_vllm
def test_the_source_bears_every_edge_out() -> None:
    tree = SourceTree.find()
    assert {str(row.edge): why for row in edgetable.read() if (why := edgetable.unfounded(row, tree))} == {}


def test_every_edge_of_the_table_was_seen_and_none_is_contradicted(proofs: list[Evidence]) -> None:
    in_table = {str(row.edge) for row in edgetable.read()}
    assert {str(proof.edge) for proof in proofs if proof.standing == "contradicted"} == set()
    assert in_table - {str(each.edge) for each in sightings(proofs)} == set()


def test_a_hundred_edges_were_seen_and_none_leads_past_a_site(proofs: list[Evidence]) -> None:
    assert len(sightings(proofs)) >= 100
    sites = {target for site in SITES for target in site.targets if site.kind != "model"}
    within = {(row.edge.kind, step.target) for row in edgetable.read() for step in row.chain[:-1]}
    assert {target for kind, target in within if kind == "calls"} & sites == set()


@needs_vllm
def test_the_implementations_are_in_the_source() -> None:
    tree = SourceTree.find()
    missing = []
    for start in implementations.RUNS_WHERE:
        module, _, name = start.partition(":")
        there = (
            tree.definitions(module) if module[-1] != "." else (tree.root.parent / module.replace(".", "/")).is_dir()
        )
        if not there or (name and not any(f"{each}.".startswith(name) for each in tree.definitions(module))):
            missing.append(start)
    assert missing == []


def test_one_implementation_stands_for_another() -> None:
    functions = (
        "vllm.v1.executor.multiproc_executor:MultiprocExecutor.execute_model",
        "vllm.v1.executor.uniproc_executor:UniProcExecutor.execute_model",
    )
    runs_in = {name: tuple(implementations.runs(each, shape) for each in functions) for name, shape in SHAPES.items()}
    assert all(one != other for one, other in runs_in.values())
    assert (runs_in["one-gpu"], runs_in["tp2"], runs_in["in-process"]) == ((False, True), (True, False), (False, True))


def test_committed_shapes_are_known() -> None:
    assert set(shapetrace.shapes()) <= SHAPES.keys()
