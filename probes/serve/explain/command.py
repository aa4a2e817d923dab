"""`python -m probes.serve --explain`: read a log, print what it tells, write it as a page."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from probes.console import console, printable, show_section, show_text
from probes.errors import FAILED, usage_error
from probes.outputfiles import refuse_existing, write_texts
from probes.serve.explain.durations import Durations
from probes.serve.explain.explainedlog import ExplainedLog, explain
from probes.serve.explain.page import explained_page
from probes.serve.explain.sections import about, notes, sections, verdict_lines

STDIN = "-"
WHENCE = "kubectl logs POD or docker logs CONTAINER print a server's log"


def run_explain(name: str, as_json: bool, html: Path | None, force: bool) -> int:
    """Explain the log `name`, `-` for stdin; exit code 1 where the server did not start or failed."""
    if html and not force:
        refuse_existing([html])
    logs = read(name)
    if html:
        write_texts({html: explained_page(logs, "stdin" if name == STDIN else Path(name).name)})
    if as_json:
        print(json.dumps({"logs": [{"source": source, **as_dict(log)} for source, log in logs.items()]}, indent=2))
    else:
        for source, log in logs.items():
            show(log, source if len(logs) > 1 else "")
        if html:
            print(f"Wrote {html}")
    return FAILED if any(log.ended_badly for log in logs.values()) else 0


def read(name: str) -> dict[str, ExplainedLog]:
    """What the log tells, by container; refused where there is none, or nothing of vLLM's in it."""
    try:
        if name == STDIN:
            logs = explain(sys.stdin.buffer)
        else:
            with Path(name).open("rb") as file:
                logs = explain(file)
    except OSError as error:
        raise usage_error(f"{name}: {error.strerror}; give the file of a server's log, or - for stdin") from None
    if not logs:
        raise usage_error(f"{_shown(name)} is empty; {WHENCE}")
    if all(log.tells_nothing for log in logs.values()):
        raise usage_error(
            f"no line of {_shown(name)} is one that vLLM's server writes as it starts or serves; {WHENCE}"
        )
    return logs


def _shown(name: str) -> str:
    return "standard input" if name == STDIN else name


def show(explained: ExplainedLog, source: str) -> None:
    """Print it, below the name of its container where there are several."""
    out = console()
    if source:
        show_text(out, f"\n{printable(source)}", "bold")
    show_text(out, printable(about(explained)))
    for section in sections(explained):
        show_section(out, section)
    out.print()
    for note in notes(explained):
        show_text(out, note, "dim")
    for line in verdict_lines(explained):
        show_text(out, printable(line), "yellow" if explained.ended_badly else "")


def as_dict(explained: ExplainedLog) -> dict[str, object]:
    """It for JSON; times are seconds of the log's own clock."""
    start, steps, cause = explained.start, explained.steps, explained.cause()
    return {
        "lines": explained.lines,
        "starts": explained.starts,
        "end": explained.end,
        "ended_badly": explained.ended_badly,
        "cause": cause and asdict(cause),
        "root": explained.errors.root,
        "errors": explained.errors.lines,
        "facts": start.facts,
        "startup": [asdict(each) for each in start.took()],
        "ready_s": start.ready_s and start.first_s and start.ready_s - start.first_s,
        "steps": [
            {"engine": engine, "kind": kind, "tokens": steps.tokens[engine, kind], **_durations(each)}
            for (engine, kind), each in steps.by_kind.items()
        ],
        "by_batch": [
            {"kind": kind, "requests_up_to": most, **_durations(each)} for (kind, most), each in steps.by_batch.items()
        ],
        "slow_steps": [{**asdict(step), "times_median": factor} for step, factor in steps.slow()],
        "load": [asdict(each) for each in explained.load.windows()],
        "requests": dict(explained.requests.lines),
        "http": [{"path": path, "status": status, "count": n} for (path, status), n in explained.requests.http.items()],
    }


def _durations(each: Durations) -> dict[str, float]:
    return {
        "count": each.count,
        "median_ms": each.quantile(0.5),
        "p99_ms": each.quantile(0.99),
        "greatest_ms": each.greatest,
        "total_ms": each.total,
    }
