"""What a page shows of a deployment: its processes, its request's way, and at a stop whether it is there at all."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from notes.site import edgepage
from notes.site.deployment import drawn, layouts, stops
from notes.site.processmap import Layout
from notes.traces import shapetrace
from notes.translation import labels
from notes.translation.labels import IN_ENGLISH
from notes.walkthrough import chapters
from notes.walkthrough.chapters import Stop
from tests.chromium import chromium
from tests.needs import needs_chromium
from tests.notes.site.test_processmap import apart, touches, within

STOPS = {stop.name: stop for stop in chapters.stops(chapters.read())}


def layout(shape: str) -> Layout:
    return layouts.layout(shape, shapetrace.read(shape).timeline)


@pytest.mark.parametrize(
    ("shape", "processes"),
    [
        ("one-gpu", {"front end process": 1, "core process, the worker inside": 1}),
        ("tp2", {"front end process": 1, "core process": 1, "worker process": 2}),
        ("dp2", {"front end process": 1, "core process": 2, "worker process": 2, "coordinator process": 1}),
        ("cpu", {"front end process": 1, "core process": 1, "worker process": 1}),
        ("two-front-ends", {"front end process": 2, "core process": 1, "worker process": 1}),
    ],
)
def test_the_map_has_the_processes_of_the_trace(shape: str, processes: dict[str, int]) -> None:
    names = [box.name for box in layout(shape).processes]
    assert {name: names.count(name) for name in names} == processes


@pytest.mark.parametrize("shape", [shape for shape in shapetrace.shapes() if shape != "in-process"])
def test_every_part_lies_in_one_process_and_every_arrow_leads_from_part_to_part(shape: str) -> None:
    picture = layout(shape)
    assert [
        part.name for part in picture.parts if sum(within(part, process) for process in picture.processes) != 1
    ] == []
    assert [
        pair for boxes in (picture.parts, picture.processes) for pair in combinations(boxes, 2) if not apart(*pair)
    ] == []
    assert max(box.y + box.height for box in picture.processes) <= picture.height
    for arrow in picture.arrows:
        ends = [[part.name for part in picture.parts if touches(point, part)] for point in (arrow.start, arrow.end)]
        assert [len(names) for names in ends] == [1, 1], arrow


def lines(stop: Stop) -> dict[str, str]:
    """What a stop says in each deployment."""
    by_shape: dict[str, str] = {}
    for html in stops.at_stop(stop, IN_ENGLISH):
        classes, text = re.findall(r'^<span class="for ([^"]+)">(.*)</span>$', html)[0]
        by_shape |= {each.removeprefix("for-"): re.sub("<[^>]+>", "", text) for each in classes.split()}
    return by_shape


def test_a_stop_of_worker_processes_is_not_there_with_one_gpu() -> None:
    by_shape = lines(STOPS["worker-loop"])
    assert by_shape["one-gpu"].startswith("Not in this deployment. It is with: several GPUs, tensor parallel,")
    assert (by_shape["tp2-async"], by_shape["cpu"]) == ("worker process, one of 2", "worker process")


def test_a_stop_of_the_executor_inside_the_core_is_there_with_one_gpu_only() -> None:
    by_shape = lines(STOPS["call-on-the-spot"])
    assert "one GPU" in by_shape["dp2"] and by_shape["dp2"] == by_shape["cpu"] and "core process" in by_shape["one-gpu"]


def test_which_runner_a_stop_belongs_to_is_said_where_a_gpu_may_have_either() -> None:
    second, first = lines(STOPS["a-row-for-life"]), lines(STOPS["persistent-batch"])
    assert second["one-gpu"] == second["dp2"] == stops.SECOND_RUNNER
    assert second["cpu"] == "Not in this deployment. It is with: Model Runner V2."
    assert first["one-gpu"].endswith("; with the first model runner only") and "runner" not in first["cpu"]


@pytest.mark.parametrize("name", ["generate", "chat-route", "batch-queue", "placeholder"])
def test_a_stop_of_another_front_end_or_of_async_scheduling_has_either_runner(name: str) -> None:
    assert not [line for line in lines(STOPS[name]).values() if "model runner only" in line]


def test_what_async_scheduling_runs_is_there_on_gpus_and_not_on_a_cpu() -> None:
    queued = next(stop for stop in STOPS.values() if stop.anchor.target.endswith("EngineCore.step_with_batch_queue"))
    there = [shape for shape in drawn.DEPLOYMENTS if stops.is_in(queued, shape)]
    assert there == ["one-gpu", "tp2-async", "dp2"]


def test_a_stop_says_process_thread_and_calls() -> None:
    inside = "core process, the worker inside, thread MainThread; calls in the recorded request: "
    one_gpu = lines(STOPS["ask-for-blocks"])["one-gpu"]
    assert one_gpu.startswith(inside) and ", on a CPU " in one_gpu  # where its time was recorded
    assert lines(STOPS["step-schedule"])["cpu"].endswith("at the median")
    assert not any("median" in line for line in stops.at_stop(STOPS["step-schedule"], IN_ENGLISH, False))


def test_batches_and_streams_are_there_in_every_deployment() -> None:
    for name in ("generate", "client-sends", "async-client-sends"):
        assert all(stops.is_in(STOPS[name], shape) for shape in drawn.DEPLOYMENTS), name


def test_every_stop_is_in_some_recorded_shape() -> None:
    nowhere = [name for name, stop in STOPS.items() if not any(stops.is_in(stop, s) for s in shapetrace.shapes())]
    assert nowhere == []


def test_every_deployment_and_every_run_has_its_trace() -> None:
    shown = {*drawn.DEPLOYMENTS, *(shape for shapes in drawn.RUNS.values() for shape in shapes)}
    assert shown <= set(shapetrace.shapes()) == {*drawn.DEPLOYMENTS, *drawn.OTHER_SHAPES}


def test_a_chapter_ends_with_its_runs() -> None:
    parts = drawn.runs_of(12, {7: "07-worker.html"}, chapters.read(), IN_ENGLISH)
    assert parts[0] == "## A recorded run: n-gram speculation { #run-ngram }"
    assert "Recorded on a CPU" in parts[1] and "--shape ngram" in parts[1]
    assert 'href="07-worker.html"' in parts[2] and 'href="07-worker.html#' in parts[3]
    assert drawn.runs_of(5, {}, (), IN_ENGLISH) == []


@pytest.mark.parametrize(
    ("shape", "otherwise"),
    [
        ("one-gpu", [drawn.V1_RAN]),
        ("tp2-async", [drawn.V1_RAN]),
        ("dp2", [drawn.V1_RAN, drawn.NO_ASYNC_SCHEDULING]),
        ("cpu", []),
        ("v2-one-gpu", []),
    ],
)
def test_above_a_drawing_stands_what_a_gpu_does_otherwise(shape: str, otherwise: list[str]) -> None:
    words = drawn.provenance(shape, IN_ENGLISH)
    assert [each for each in (drawn.V1_RAN, drawn.NO_ASYNC_SCHEDULING) if each in words] == otherwise


def test_a_drawing_names_the_functions_of_its_shape() -> None:
    first, second = (drawn.runs_of(number, {}, chapters.read(), IN_ENGLISH)[3] for number in (12, 19))
    assert ">_update_states<" in first and ">update_requests<" not in first
    assert ">update_requests<" in second and ">_update_states<" not in second
    assert ">_determine_batch_executi…<" in first  # its time stands behind it
    assert 'href="07-worker.html#flatten"' in first and "#flatten" not in second


def test_the_page_of_edges_has_a_row_an_edge_with_links_and_shapes() -> None:
    rows = [
        line for line in edgepage.page(chapters.read(), IN_ENGLISH).split("\n") if line.startswith("| [") or "`" in line
    ]
    assert len(rows) >= 100
    uniproc = next(row for row in rows if "`UniProcExecutor.execute_model`" in row and "`Worker.execute_model`" in row)
    assert uniproc.endswith("| core | one-gpu, in-process, v2-one-gpu |")
    assert any("(04-engine-core.md#step-schedule) | calls" in row for row in rows)
    (twice,) = (row for row in rows if re.search("EngineCore.step`.* then .*EngineCore.post_step`", row))  # is claimed
    others = "ngram, lora, kv-connector, grammar, windows, compiled, pictures, vectors"
    assert twice.endswith(f"| front end, core | dp2, cpu, tp2, two-front-ends, in-process, {others} |")


PAGE = """<!doctype html><style>{style}</style><script>{script}</script>{switch}
<div id="a" class="for for-{first}">1</div><div id="b" class="for for-cpu for-dp2">2</div>"""
CHOOSE = """(choice => { choice.value = 'cpu'; choice.dispatchEvent(new Event('change')) })(
document.querySelector('select'))"""


@needs_chromium
@pytest.mark.browser
def test_a_choice_is_kept_over_pages(tmp_path: Path) -> None:
    script = Path(drawn.__file__).parents[1] / "theme" / "deployment.js"
    first, *_ = drawn.DEPLOYMENTS
    text = PAGE.format(style=drawn.style(), script=script.read_text(), switch=drawn.switch(), first=first)
    for name in ("one.html", "other.html"):
        (tmp_path / name).write_text(text)
    shown = "[...document.querySelectorAll('.for')].filter(e => e.checkVisibility()).map(e => e.id).join()"
    with chromium() as page:
        page.visit((tmp_path / "one.html").as_uri())
        assert page.run(shown) == "a"
        for _ in range(10):  # a profile that is seconds old may lose what it is given before its storage is open
            page.visit((tmp_path / "one.html").as_uri())
            page.run(CHOOSE)
            assert page.run(shown) == "b"
            page.visit((tmp_path / "other.html").as_uri())
            if page.run(shown) == "b":
                break
        assert (page.run(shown), page.run("document.querySelector('select').value")) == ("b", "cpu")
        assert page.complaints == []


def test_the_switch_is_in_the_readers_language() -> None:
    assert "你的部署" in drawn.switch(labels.read("zh"))
