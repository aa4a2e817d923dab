"""A run's folder after a kill at any byte, on a full disk, and under a second writer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline.load.folder import read_load_run
from offline.records.lines import Record, StopRecord
from offline.records.resolved import Resolved
from offline.records.run import SCHEMA, TIME, PlannedArm, RunRecord, read_run, run_json
from offline.records.runfolder import RunFolder, newest_unfinished, read_records, slug
from offline.records.runformat import RUNS
from offline.records.runindex import write_index
from offline.spec.model import ModelMark
from offline.spec.spec import Spec
from probes.errors import EnginescopeError
from probes.machine import Gpu
from tests.offline.armrecords import RESOLVED
from tests.offline.runs import MACHINE, RUN, a_run
from tests.offline.traffic.loadruns import CAPACITY, a_load_run
from tests.probes.batch.test_record import RECORD as BATCHED

RECORDS: list[Record] = [
    StopRecord("a1", 1, "refused", "ValueError: tab\tµ\n"),
    StopRecord("a2", 2, "failed", "no answer"),
    StopRecord("a3", 3, "failed", ""),
]
LATER = StopRecord("a4", 4, "failed", "later")


def filled(out: Path, records: list[Record] = RECORDS) -> Path:
    """A closed run with some records; its folder."""
    folder = RunFolder.create(out, a_run(model="org/model"))
    for record in records:
        folder.append(record)
    folder.close()
    return folder.path


def on_disk(out: Path, name: str, run: RunRecord, schema: int = SCHEMA) -> Path:
    """A run's folder with nothing but its `run.json`."""
    path = out / name
    path.mkdir(parents=True)
    (path / "run.json").write_text(run_json(run).replace(f'"schema": {SCHEMA}', f'"schema": {schema}'))
    return path


def refusal(call: Any, *args: Any) -> str:
    with pytest.raises(EnginescopeError) as caught:
        call(*args)
    return str(caught.value)


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = filled(tmp_path)
    assert path.parent == tmp_path / "org-model" / "default"
    assert read_records(path) == RECORDS
    assert read_run(path) == a_run(model="org/model")


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = a_run(
        spec=Spec(batch_size=(1, 4), engine={"max_num_seqs": [8, None]}),
        model_mark=ModelMark(None, "0a1b", {"model.safetensors": 7}),
        machine=replace(MACHINE, gpus=(Gpu("H100", "570.1", None),)),
        arms={"a1": PlannedArm("block_size=32", {"block_size": 32}, Resolved(**RESOLVED)), "a2": PlannedArm("", {})},
        ended="2026-01-01T00:10:00+0000",
    )
    assert read_run(on_disk(tmp_path, "run", run)) == run


def test_run_json_is_replaced_whole(tmp_path: Path) -> None:
    folder = RunFolder(filled(tmp_path))
    folder.write_run(replace(folder.read_run(), state="complete"))
    assert folder.read_run().state == "complete"
    assert {path.name for path in folder.path.iterdir()} == {".lock", "logs", "records.jsonl", "run.json"}
    assert folder.log("a1") == folder.path / "logs" / "a1.log"
    folder.close()


def test_a_line_cut_at_any_byte_is_dropped_and_the_others_are_kept(tmp_path: Path) -> None:
    path = filled(tmp_path)
    file, whole = path / "records.jsonl", (path / "records.jsonl").read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for cut in range(last, len(whole)):
        file.write_bytes(whole[:cut])
        assert read_records(path) == RECORDS[:-1]
        folder = RunFolder(path)
        assert file.read_bytes() == whole[:last]
        folder.append(RECORDS[-1])
        assert file.read_bytes() == whole
        folder.close()


def test_a_first_line_cut_short_leaves_no_record(tmp_path: Path) -> None:
    path = filled(tmp_path, [])
    assert read_records(path) == []
    (path / "records.jsonl").write_bytes(b'{"kind":')
    assert read_records(path) == []
    RunFolder(path).close()
    assert (path / "records.jsonl").read_bytes() == b""


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    first = RunFolder(path)
    assert refusal(RunFolder, path) == f"{path} is being written by another sweep; wait for it or start a new run"
    first.append(LATER)
    first.close()
    second = RunFolder(path)
    assert second.records() == [*RECORDS, LATER]
    second.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(RunFolder.create, tmp_path / "file", RUN)
    assert message == f"cannot write to {tmp_path / 'file'}: Not a directory; name another folder with --out"


def test_a_folder_without_run_json(tmp_path: Path) -> None:
    assert refusal(read_run, tmp_path) == f"{tmp_path} is not a run: it has no run.json; {RUNS} has one"
    assert (
        refusal(read_run, tmp_path / "none") == f"{tmp_path / 'none'} is not a run: it has no run.json; {RUNS} has one"
    )


@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"\xff\xfe", b"[]", b"null", b'{"schema": 6}'])
def test_a_damaged_run_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert refusal(read_run, tmp_path).startswith(str(tmp_path))


def test_a_schema_of_another_version(tmp_path: Path) -> None:
    for schema in (5, 7, "6", None):
        (tmp_path / "run.json").write_text(json.dumps({"schema": schema}))
        assert refusal(read_run, tmp_path) == (
            f"{tmp_path} has schema {schema}, this version reads 6: use the enginescope that wrote it"
        )


def test_a_run_of_another_command(tmp_path: Path) -> None:
    path = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1)
    assert refusal(read_run, path) == f"{path} is not a run of offline.sweep"
    assert refusal(read_load_run, on_disk(tmp_path, "run", RUN)) == f"{tmp_path / 'run'} is not a run of offline.load"


def test_a_whole_line_that_is_no_record_is_a_damaged_file(tmp_path: Path) -> None:
    path = filled(tmp_path)
    (path / "records.jsonl").write_bytes(b"\x00\x00\x00\n")
    assert str(path) in refusal(read_records, path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"[]", ""),
        (b'{"kind":"arm"}', "unknown kind of record 'arm'"),
        (b'{"kind":"stop","arm":"a","engine":1,"status":"failed"}', "no key 'reason' in a StopRecord"),
        (b'{"kind":"stop","arm":"a","engine":1,"status":"","reason":"","n":1}', "unknown key 'n' in a StopRecord"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    path = filled(tmp_path)
    with (path / "records.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert f"line 4 is damaged: {why}" in refusal(read_records, path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_loses_nothing_that_was_written(small_disk: Path) -> None:
    folder = RunFolder.create(small_disk, RUN)
    filler, file = small_disk / "filler", folder.path / "records.jsonl"
    filler.write_bytes(bytes(36 * 1024))
    record, written = StopRecord("a1", 1, "failed", "x" * 6000), 0
    with pytest.raises(EnginescopeError) as caught:
        for _ in range(10):
            folder.append(record)
            written += 1
    assert str(caught.value) == (
        f"cannot write the records of {folder.path}: No space left on device; free some room, then run again with "
        f"--resume {folder.path}"
    )
    assert 0 < written < 10
    assert file.read_bytes().endswith(b"\n")
    assert folder.records() == [record] * written
    filler.unlink()
    folder.append(record)
    assert folder.records() == [record] * (written + 1)
    folder.close()


def test_a_run_that_finds_the_disk_full_is_one_line(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(64 * 1024))
    assert str(small_disk) in refusal(RunFolder.create, small_disk, a_run(command_line="x" * 5000))


def test_the_index_lists_runs_newest_first(tmp_path: Path) -> None:
    complete = a_run(command_line="python -m offline.sweep | tee", state="complete")
    on_disk(tmp_path, "m/default/20250101-000000-aaaaaa", complete)
    on_disk(tmp_path, "a/quick/20250102-000000-bbbbbb", a_run(command_line="python x", state="interrupted"))
    other = "m/default/20250103-000000-cccccc"
    on_disk(tmp_path, other, complete, schema=99)
    load = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1).relative_to(tmp_path)  # the newest of all
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "out.jsonl").write_bytes(replace(BATCHED, model="M", began_s=0.0).json() + b"torn")
    (tmp_path / "batch" / "folder.jsonl").mkdir()
    (tmp_path / "batch" / "old.jsonl").write_bytes(b'{"schema":1,"id":"7","line":7}\n')
    write_index(tmp_path)
    first, second = "a/quick/20250102-000000-bbbbbb", "m/default/20250101-000000-aaaaaa"
    assert (tmp_path / "README.md").read_text().splitlines() == [
        "# Runs",
        "",
        "| run | began | model | variant | configuration | state | vLLM | machine | command |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| [{load}]({load}/table.md) | {RUN.began} | m | {', '.join(CAPACITY)} | [run.json]({load}/run.json) | "
        "complete | 0.32.0 | EPYC | `python -m offline.load` |",
        f"| [{first}]({first}/table.md) | {RUN.began} | m | default | [run.json]({first}/run.json) | "
        "interrupted | 0.32.0 | EPYC | `python x` |",
        f"| [{second}]({second}/table.md) | {RUN.began} | m | default | [run.json]({second}/run.json) | "
        "complete | 0.32.0 | EPYC | `python -m offline.sweep \\| tee` |",
        "",
        "Batches of prompts through a server:",
        "",
        "- `batch/folder.jsonl`: Is a directory",
        "- `batch/old.jsonl`: holds records of schema 1, and this version reads schema 2: read it with the version "
        "that wrote it, or send the prompts again to another --output",
        f"- [out.jsonl](batch/out.jsonl): {time.strftime(TIME, time.localtime(0))}, M, records: 1",
        "",
        "Left out, 1 that this version does not read:",
        "",
        f"- `{other}`: has schema 99, this version reads {SCHEMA}: use the enginescope that wrote it",
    ]


def test_a_batch_of_many_records_is_counted_and_not_held(tmp_path: Path) -> None:
    """Of 2,000 records, 2.9 MB, a quarter of a megabyte at most is held at a time."""
    (tmp_path / "batch").mkdir()
    long = replace(BATCHED, text="x" * 1000, began_s=0.0).json()
    (tmp_path / "batch" / "out.jsonl").write_bytes(b"foreign\n" + long * 2000)
    tracemalloc.start()
    try:
        write_index(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "m, records: 2000" in (tmp_path / "README.md").read_text() and most < 250_000


def test_resume_without_a_name_takes_the_newest_unfinished_run(tmp_path: Path) -> None:
    on_disk(tmp_path, "z/default/20250101-000000-aaaaaa", a_run(state="interrupted"))
    newest = on_disk(tmp_path, "a/default/20250102-000000-bbbbbb", a_run(state="incomplete"))
    on_disk(tmp_path, "m/default/20250103-000000-cccccc", a_run(state="complete"))
    on_disk(tmp_path, "m/other/20250104-000000-dddddd", RUN)
    on_disk(tmp_path, "m/default/20250105-000000-eeeeee", RUN, schema=99)
    assert newest_unfinished(tmp_path, "default") == newest
    assert newest_unfinished(tmp_path, "other").name == "20250104-000000-dddddd"
    assert refusal(newest_unfinished, tmp_path, "none") == (
        f"no unfinished run under {tmp_path} (variant none); start one without --resume"
    )
    with pytest.raises(EnginescopeError) as caught:
        newest_unfinished(tmp_path, "none")
    assert caught.value.code == 2  # the command line cannot be run as written, as of the other commands' --resume


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("SmolLM2-135M", "SmolLM2-135M"),
        ("org/model v1.5", "org-model-v1.5"),
        ("../../etc", "etc"),
        ("a\n|b", "a-b"),
        ("..", "run"),
        ("", "run"),
    ],
)
def test_slug(name: str, folder: str) -> None:
    assert slug(name) == folder
