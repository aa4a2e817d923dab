"""What `tracing.top` shows: a screen of tables and bars, or a line a second where there is no terminal."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from probes.devices.sampling import sampled_text
from tracing.top.activity import EngineActivity

BAR = 24  # characters of a whole one


def line(seen: EngineActivity) -> str:
    """A window in one line."""
    return "  ".join([figures(seen), *map(sampled_text, seen.cards)])


def figures(seen: EngineActivity) -> str:
    """What the engine tells of the window."""
    step = "no step" if seen.step_ms is None else f"step {seen.step_ms:.2f} ms"
    kv = "n/a" if seen.kv_used is None else f"{seen.kv_used:.0%}"
    worker, device = seen.use.worker_busy, seen.use.device_busy
    busy = f"worker busy {'n/a' if worker is None else f'{worker:.0%}'}"
    if device is not None:
        busy = f"device busy {device:.0%} at most"
    rates = f"{seen.requests_per_s:.1f} requests/s, {seen.steps_per_s:.1f} steps/s, {seen.tokens_per_s:.0f} tokens/s"
    load = f"running {seen.running}, waiting {seen.waiting}, preempted {seen.preempted}, KV {kv}"
    return f"{rates}, {step}, {busy}, {load}"


def screen(title: str, seen: EngineActivity) -> RenderableType:
    """The whole screen."""
    lines = [Text(title, "bold"), Text(figures(seen)), *(Text(sampled_text(card)) for card in seen.cards)]
    tables = [
        _shares("a request's time", seen.use.requests, 1.0),
        _shares("a step's time", seen.use.phases, 1.0),
        _shares("work, s a second", seen.use.stages, None),
    ]
    return Group(*lines, Text(""), Columns(tables, padding=(0, 4)), _running(seen))


def _shares(title: str, shares: dict[str, float], whole: float | None) -> Table:
    most = max(shares.values(), default=1.0)
    table = Table(title, "", "", box=None, pad_edge=False)
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        figure = f"{share:.1%}" if whole else f"{share:.3f}"
        table.add_row(Text(name), Text("█" * max(1, round(BAR * share / most)), "cyan"), figure)
    return table


def _running(seen: EngineActivity) -> Table:
    table = Table("longest running", "seen for", "most of its time", "last stage", box=None, pad_edge=False)
    for request in seen.slowest:
        mostly = seen.use.mostly.get(request.request, "not known yet")
        table.add_row(Text(request.request), f"{request.seen_s:.0f} s", Text(mostly), Text(request.stage))
    return table
