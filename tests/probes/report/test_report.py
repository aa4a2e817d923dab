"""The report of a batch: every line counted, nothing of a server's taken for markup."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from probes.report.sections import notes, problems, sections
from probes.report.summary import summarize
from probes.report.values import as_dict
from probes.report.views import markdown, page
from probes.statistics.intervals import Estimate

ROOT = Path(__file__).resolve().parents[3]
EVIL = '<script>alert("x")</script> | `a` [b](c) \x1b[31mred\x1b[0m\nnext'


def record(line: int, **other: Any) -> dict[str, Any]:
    """A record as the batch writes it: sent at second 100 + line, answered a second later with ten tokens."""
    values = {
        "schema": 2,
        "id": str(line),
        "line": line,
        "line_crc32": 7,
        "mode": "chat",
        "model": "m",
        "stream": True,
        "began_s": 100.0,
        "ok": True,
        "scheduled_s": 100.0 + line,
        "sent_s": 100.0 + line,
        "ended_s": 101.0 + line,
        "latency_s": 1.0,
        "ttft_s": 0.1,
        "itl": [0.1] * 9,
        "status_code": 200,
        "error_type": None,
        "error_msg": None,
        "attempts": 1,
        "stream_chunks": 10,
        "prompt_tokens": 4,
        "cached_tokens": None,
        "completion_tokens": 10,
        "finish_reason": "stop",
        "text": "some text",
        "reasoning": "",
        "tool_calls": [],
    }
    return values | other


def failed(line: int, **other: Any) -> dict[str, Any]:
    bad = {"ok": False, "error_type": "server", "status_code": 500, "error_msg": "500: busy", "attempts": 3}
    return record(line, **{**bad, "itl": [], "ttft_s": None, "completion_tokens": None, **other})


def written(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" if isinstance(one, dict) else one for one in records))
    return path


def report(
    *words: object, environment: dict[str, str] | None = None, stdout: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "probes.report", *map(str, words)]
    known = {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=ROOT, env=known, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)


# --- sums ---


def test_a_summary(tmp_path: Path) -> None:
    path = written(
        tmp_path / "out.jsonl",
        [
            record(1),
            record(2, latency_s=3.0, ended_s=105.0, attempts=2, sent_s=103.5),
            record(3, sent_s=103.25),
            failed(4),
            failed(5),
            failed(6, error_type="timeout", status_code=None, error_msg="timed out in all"),
        ],
    )
    batch = summarize(path, top=1)
    assert (batch.records, batch.ok, batch.failed, batch.retried, batch.further_attempts) == (6, 3, 3, 4, 7)
    assert batch.by_class == {"server": 2, "timeout": 1}
    assert [(fault.error_msg, fault.count, fault.example_id) for fault in batch.top_faults] == [("500: busy", 2, "4")]
    assert (batch.seconds, batch.answers_s) == (7.0, Estimate(3 / 7, None, None))
    assert batch.tokens_out_s == Estimate(30 / 7, None, None)
    assert batch.sent_late_s == 0.25
    assert batch.normalized_s and batch.normalized_s.value == pytest.approx((0.1 + 0.3 + 0.1) / 3)
    latency, itl = batch.times["latency"], batch.times["itl"]
    assert latency and (latency.mean.value, latency.quantiles[0].value) == (pytest.approx(5 / 3), 1.0)
    assert (latency.least, latency.greatest) == (1.0, 3.0)
    assert itl and itl.quantiles[2].value == pytest.approx(0.1)
    assert [one.id for one in batch.slowest_first] == ["2"]


def test_pauses_between_starts_are_no_running_time(tmp_path: Path) -> None:
    late = [record(2, began_s=9000.0, ended_s=9004.0), record(3, began_s=9000.0, ended_s=9006.0)]
    batch = summarize(written(tmp_path / "out.jsonl", [record(1), *late]), top=5)
    assert (batch.starts, batch.seconds) == (2, 8.0)


def test_torn_and_foreign_lines_are_counted_and_shown(tmp_path: Path) -> None:
    spoiled = [
        "\n",
        "no json\n",
        '["a list"]\n',
        '{"schema":2,"line":1}\n',
        '{"schema":2}\n',
        json.dumps(record(9, itl=7)) + "\n",
    ]
    path = written(tmp_path / "out.jsonl", [record(1), *spoiled, record(1), record(2), '{"schema":2,"line":3,"o'])
    batch = summarize(path, top=5)
    assert (batch.records, batch.torn, batch.foreign, batch.twice) == (3, 1, 5, 1)
    shown = report("--input", path).stdout
    assert "1 torn and 5 foreign lines left out" in shown and "1 records are of a line that has one already" in shown


def test_chunks_of_several_tokens_are_said_to_be(tmp_path: Path) -> None:
    one = summarize(written(tmp_path / "a.jsonl", [record(1, stream_chunks=5)]), 5)
    assert any("more than one token" in note for note in notes([one]))
    two = summarize(written(tmp_path / "b.jsonl", [record(1)]), 5)
    assert not any("more than one token" in note for note in notes([two]))


# --- views ---


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_a_server_sent_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = {"id": EVIL, "model": EVIL}
    path = written(tmp_path / "out.jsonl", [record(1, text=EVIL, **evil), failed(2, error_msg=EVIL, **evil)])
    batches = [summarize(path, 5)]
    shown = Tags(page(sections(batches), problems(batches), notes(batches)))
    assert "script" not in shown.tags and '<script>alert("x")</script>' in shown.text
    text = markdown(sections(batches), problems(batches), notes(batches))
    assert "<script>" not in text.replace("\\<script\\>", "")
    for line in text.splitlines():
        assert not line.startswith("|") or line.replace("\\|", "").count("|") in (4, 6, 7)
    done = report("--input", path)
    assert done.returncode == 0 and "\x1b" not in done.stdout + text + shown.text
    assert "alert" in done.stdout


def test_files_side_by_side(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [record(n) for n in range(1, 30)])
    two = written(tmp_path / "two.jsonl", [record(n, latency_s=2.0, model="other") for n in range(1, 30)])
    done = report("--input", one, two, "--markdown", tmp_path / "r.md", "--html", tmp_path / "r.html")
    assert done.returncode == 0 and "these are different batches: m, chat, stream; other, chat, stream" in done.stdout
    (row,) = [line for line in (tmp_path / "r.md").read_text().splitlines() if line.startswith("| latency P50")]
    assert [cell.strip() for cell in row.split("|")[2:4]] == [
        "1 s \\[1 s, 1 s\\]",
        "2 s \\[-, -\\] (2.00x \\[-, -\\])",
    ]
    again = report("--input", one, "--markdown", tmp_path / "r.md")
    assert again.returncode == 2 and "--force" in again.stderr
    assert report("--input", one, "--markdown", tmp_path / "r.md", "--force").returncode == 0


def answered(end_s: float, took_s: float) -> dict[str, float]:
    """The times of an answer that came so long after the batch began."""
    begun = dict.fromkeys(("scheduled_s", "sent_s"), 100.0 + end_s - took_s)
    return begun | {"ended_s": 100.0 + end_s, "latency_s": took_s, "ttft_s": took_s / 2}


def one_after_another(mean_s: float, path: Path, **other: Any) -> Path:
    """200 answers one after another, each a little slower or faster than the mean."""
    took_s = [mean_s * (1.1 if n % 2 else 0.9) for n in range(200)]
    return written(path, [record(n, **answered(sum(took_s[:n]), took_s[n - 1]), **other) for n in range(1, 201)])


def test_two_batches_side_by_side_have_a_ratio_with_its_interval(tmp_path: Path) -> None:
    one = one_after_another(1.0, tmp_path / "one.jsonl")
    two = one_after_another(0.5, tmp_path / "two.jsonl", line_crc32=8)
    done = report(one, two, environment={"COLUMNS": "200"})
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("latency mean")]
    times = re.search(r"\(0\.50x \[(0\.\d\d)x, (0\.\d\d)x\]\)", row)
    assert times and 0.45 < float(times[1]) <= 0.5 <= float(times[2]) < 0.55
    said = " ".join(done.stdout.split())
    assert "of these two runs, not of what another start of either server would give" in said
    assert "prompts are those of" not in said


def test_a_second_batch_with_the_same_prompts_may_have_found_them_cached(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [record(n, line_crc32=n, cached_tokens=0) for n in range(1, 5)])
    two = written(tmp_path / "two.jsonl", [record(n, line_crc32=n, cached_tokens=3) for n in range(1, 4)])
    said = " ".join(report(one, two).stdout.split())
    assert (
        "two.jsonl: 3 prompts are those of one.jsonl: if one server had both, its prefix cache may have helped" in said
    )
    assert "the later: 75.0 % of the prompt tokens cached, 0.0 % in the first." in said
    uncounted = written(tmp_path / "three.jsonl", [record(n, line_crc32=n) for n in range(1, 4)])
    said = " ".join(report(one, uncounted).stdout.split())
    assert "may have helped the later: the server does not count cached tokens in its answers" in said


@pytest.mark.parametrize(
    ("again_s", "cached", "words"),
    [
        (
            0.25,
            (0, 3),
            "made them faster: of their prompt tokens 75.0 % were in the prefix cache, 0.0 % the first",
        ),
        (0.25, (None, None), "the prefix cache is the likely reason, but the server does not count cached tokens"),
        (0.25, (2, 2), "not by the cache: of their prompt tokens 50.0 % were in the prefix cache, 50.0 % the first"),
        (0.5, (0, 3), "no difference seen that this run can be sure of"),
    ],
)
def test_repeats_stand_beside_the_first_times(tmp_path: Path, again_s: float, cached: tuple, words: str) -> None:
    def times(began: int, ttft_s: float, cached_tokens: int | None) -> list[dict[str, Any]]:
        took = [answered(began + n, 2 * ttft_s) for n in range(1, 61)]
        return [record(began + n, line_crc32=n, cached_tokens=cached_tokens, **took[n - 1]) for n in range(1, 61)]

    records = times(0, 0.5, cached[0]) + times(60, again_s, cached[1])
    repeats = summarize(written(tmp_path / "out.jsonl", records), 5).occasions.repeats()
    assert repeats is not None and (repeats.first.count, repeats.again.count, repeats.time) == (60, 60, "TTFT")
    assert (repeats.first.mean_s.value, repeats.again.mean_s.value) == pytest.approx((0.5, again_s))
    assert words in repeats.sentence()


def test_prompts_that_are_all_different_have_no_repeats(tmp_path: Path) -> None:
    path = written(tmp_path / "out.jsonl", [record(n, line_crc32=n) for n in range(1, 9)])
    assert summarize(path, 5).occasions.repeats() is None and "sent again:" not in report(path).stdout


def test_json(tmp_path: Path) -> None:
    done = report("--input", written(tmp_path / "out.jsonl", [record(1), failed(2)]), "--json")
    (batch,) = json.loads(done.stdout)["files"]
    assert (batch["records"], batch["ok"], batch["errors"]) == (2, 1, {"server": 1})
    single = {"value": 1.0, "low": None, "high": None}
    assert batch["latency_s"] == {"mean": single, "p50": single, "p95": single, "p99": single, "min": 1.0, "max": 1.0}
    assert batch["answers_per_s"] == {"value": 1 / 3, "low": None, "high": None}
    assert batch["blocks"] == {"count": 0, "needed_s": 16.0}
    assert batch["success"]["value"] == 0.5


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_width_there_is(tmp_path: Path, columns: int) -> None:
    one = written(tmp_path / "one.jsonl", [record(n, text="word " * 40) for n in range(1, 30)])
    two = written(
        tmp_path / "two.jsonl", [*(record(n) for n in range(1, 30)), failed(30, error_msg="much to say " * 20)]
    )
    tables, _, _ = report("--input", one, two, environment={"COLUMNS": str(columns)}).stdout.partition("95 % intervals")
    lines = [line for line in tables.splitlines() if str(tmp_path) not in line]  # a heading is no table
    assert max(map(len, lines)) <= columns and not [line for line in lines if line != line.rstrip()]
    assert any(line.startswith("latency P50") for line in lines)


def test_the_pages_are_written_before_the_report_is_printed(tmp_path: Path) -> None:
    path = written(tmp_path / "out.jsonl", [record(1)])
    with open("/dev/full", "w") as full:
        done = report("--input", path, "--html", tmp_path / "r.html", stdout=full)
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")
    assert (tmp_path / "r.html").read_text().endswith("</html>\n")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    path = written(tmp_path / "out.jsonl", [record(1)])
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w") as pipe:
        done = report("--input", path, "--markdown", tmp_path / "r.md", stdout=pipe)
    assert (done.returncode, done.stderr) == (141, "") and (tmp_path / "r.md").exists()


def test_cached_tokens_are_summed(tmp_path: Path) -> None:
    records = [record(1, prompt_tokens=40, cached_tokens=32), record(2, prompt_tokens=40, cached_tokens=0), record(3)]
    summary = summarize(written(tmp_path / "out.jsonl", records), 5)
    assert (summary.cached_tokens, summary.cached_share, summary.cached_counted) == (32, 0.4, 2)
    assert "32 (40.0 %); of 2 answers" in report("--input", tmp_path / "out.jsonl").stdout
    silent = summarize(written(tmp_path / "none.jsonl", [record(1)]), 5)
    assert silent.cached_share is None


def test_tokens_that_the_server_did_not_count(tmp_path: Path) -> None:
    """No count is no 0: a rate over a part of the answers names how many, and over none there is no rate."""
    uncounted = record(2, prompt_tokens=None, completion_tokens=None)
    part = report("--input", written(tmp_path / "part.jsonl", [record(1), uncounted])).stdout
    assert [line.count("; of 1 answers") for line in part.splitlines() if line.startswith("tokens ")] == [1, 1]
    none = summarize(written(tmp_path / "none.jsonl", [uncounted]), 5)
    assert none.tokens_out_s is None and as_dict(none)["completion_tokens"] is None
    assert "tok/s" not in report("--input", tmp_path / "none.jsonl").stdout


def test_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    done = report("--input", written(tmp_path / "out.jsonl", [record(1, schema=1)]))
    assert done.returncode == 2 and "holds records of schema 1" in done.stderr and done.stderr.count("\n") == 1


def test_only_failures(tmp_path: Path) -> None:
    done = report("--input", written(tmp_path / "out.jsonl", [failed(1), failed(2)]))
    assert done.returncode == 0 and "0 of 2" in done.stdout and "500: busy" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name a file of records"),
        (("{dir}/nothing.jsonl",), 2, "No such file"),
        (("--input", "{dir}/empty.jsonl"), 2, "no record of a batch"),
        (("--input", "{dir}/good.jsonl", "--html", "{dir}/no/such/page.html"), 1, "cannot write"),
        (("--input", "{dir}/good.jsonl", "--top", "0"), 2, "--top"),
    ],
)
def test_mistakes(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    written(tmp_path / "good.jsonl", [record(1)])
    done = report(*(word.format(dir=tmp_path) for word in words))
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
