"""Which CUDA graph ran a step: as the model runners have it, and on synthetic traces, by kind of step."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.needs import installed_vllm, needs_vllm
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.batches.graphs import GraphSize, GraphUse, graph_use
from tracing.breakdown.review import Review
from tracing.hooks.wrappers import graphs
from tracing.page.tables import queue
from tracing.source.definitions import Place
from tracing.timeline.steps.anatomy import anatomy

FULL = SimpleNamespace(name="FULL")


def described(tokens: int, **more: Any) -> Any:
    return SimpleNamespace(num_tokens=tokens, **more)


# --- what the model runners say ---


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (graphs.dispatched((FULL, described(8), False, None, None)), (8, "FULL")),
        (graphs.dispatched(None), (0, 0)),
        (graphs.prepared(None, "runner", "scheduled", "requests", described(4, cg_mode=FULL), 0), (4, "FULL")),
        (graphs.prepared(None, "runner", "scheduled", "tokens by request"), (0, 0)),  # as V1 prepares its inputs
        (graphs.prepared(None, "runner"), (0, 0)),  # all else given by name
    ],
)
def test_a_runner_tells_tokens_and_mode(answer: object, expected: object) -> None:
    assert answer == expected


@needs_vllm
def test_the_inputs_of_runner_v2_are_prepared_from_the_description() -> None:
    tree = installed_vllm()
    place = tree.resolve("vllm.v1.worker.gpu.model_runner:GPUModelRunner.prepare_inputs")
    assert isinstance(place, Place)
    source = ast.parse((tree.root.parent / place.file).read_text())
    [method] = [n for n in ast.walk(source) if isinstance(n, ast.FunctionDef) and n.name == "prepare_inputs"]
    assert [each.arg for each in method.args.args[:4]] == ["self", "scheduler_output", "batch_req_state", "batch_desc"]


# --- a trace: a prefill and four decodes, whose worker tells what each ran in ---


def recorded(folder: Path, batches: list[tuple[str, int]], site: str = "graph.dispatch") -> timeline.Timeline:
    core, worker = TraceWriter(folder, 11, ["core"], parent=10), TraceWriter(folder, 12, ["worker"], parent=11)
    for number, (mode, padded) in enumerate(batches):
        counts = {"decode_requests": 3, "decode_tokens": 3} if number else {"prefill_requests": 1, "prefill_tokens": 20}
        at = 1000 * number
        core.span("scheduler.schedule", at, at + 100, step=number).counts(number, {**counts, "token_limit": 100})
        worker.span(site, at + 200, at + 210, step=number, value=padded, extra=mode)
        core.span("scheduler.update", at + 500, at + 600, step=number)
    worker.span(site, 5000, 5010, value=16, extra="FULL")  # to warm up: of no step
    core.close()
    worker.close(device="cuda")
    return timeline.read(folder)


@pytest.mark.parametrize("site", ["graph.dispatch", "runner.prepare"])
def test_modes_sizes_and_padding_by_kind_of_step(tmp_path: Path, site: str) -> None:
    batches = [("PIECEWISE", 32), ("FULL", 4), ("FULL", 4), ("FULL", 8), ("NONE", 3)]
    read = recorded(tmp_path, batches, site)
    assert graph_use(read, anatomy(read)) == (
        GraphUse("prefill", "PIECEWISE", 1, 1.0, (GraphSize(32, 1),), 12 / 32),
        GraphUse("decode", "FULL", 3, 0.75, (GraphSize(4, 2), GraphSize(8, 1)), 7 / 16),
        GraphUse("decode", "NONE", 1, 0.25, (), 0),
    )


def test_without_a_device_there_are_no_graphs_to_miss(tmp_path: Path) -> None:
    read = recorded(tmp_path, [("NONE", 20), ("NONE", 3)])
    without = replace(read, processes=[replace(process, device=None) for process in read.processes])
    assert graph_use(without, anatomy(without)) == ()


def test_the_table_of_graphs() -> None:
    use = GraphUse("decode", "FULL", 3, 0.75, (GraphSize(4, 2), GraphSize(8, 1)), 7 / 16)
    missed = GraphUse("decode", "NONE", 1, 0.25, (), 0)
    review: Review = SimpleNamespace(graphs=(use, missed), use=())  # type: ignore[assignment]
    assert queue.graph_rows(review) == [
        ["decode", "FULL", 3, "75.00%", "4 (2), 8 (1)", "43.75%"],
        ["decode", "NONE", 1, "25.00%", "n/a", "0%"],
    ]
    [(_, sentence, page)] = queue.sections(review)  # of a scheduler that does not tell its limits
    assert sentence == queue.OF_GRAPHS and "4 (2), 8 (1)" in page and "No step left a queue" not in page
