"""A window of a server as it is shown: on a terminal, in one line, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.text import Text

from probes.devices.sampling import DeviceSampler, SampledDevice, sampled_text
from probes.metrics.configuration import CacheConfiguration, configuration
from probes.metrics.endpoint import Endpoint
from probes.metrics.exposition import Window
from probes.metrics.findings import WindowFacts, WindowFinding, finding_lines, findings
from probes.metrics.histograms import HistogramFigures
from probes.metrics.quantities import ServerMetric, WindowFigures, engines, figures, missing
from probes.metrics.table import lengths_table, report, short_line
from probes.metrics.traffic import HandledRequests, handled, lengths


@dataclass(frozen=True)
class WindowReport:
    """All that is known of a window. `devices` is None where none was sampled."""

    url: str
    figures: WindowFigures
    by_engine: dict[str, WindowFigures]
    missing: list[ServerMetric]
    handled: list[HandledRequests] | None
    lengths: dict[str, HistogramFigures | None]
    cache: CacheConfiguration | None
    devices: list[SampledDevice] | None
    findings: list[WindowFinding]

    def as_dict(self) -> dict[str, object]:
        """For JSON: all engines together, then each; the sampled devices where there are some."""
        values: dict[str, object] = {"url": self.url, "missing": [each.key for each in self.missing]}
        values |= self.figures.as_dict()
        values["engines"] = {name: each.as_dict() for name, each in self.by_engine.items()}
        values["http"] = self.handled and [asdict(each) for each in self.handled]
        values["lengths"] = {key: each and each.as_dict() for key, each in self.lengths.items()}
        values["cache_config"] = self.cache and asdict(self.cache)
        values["findings"] = [asdict(each) for each in self.findings]
        return values | ({} if self.devices is None else {"gpus": [asdict(each) for each in self.devices]})

    def rendered(self) -> RenderableType:
        """For the terminal."""
        title = f"{self.url}, {self.figures.seconds:.1f} s to {time.strftime('%H:%M:%S')}"
        absent = [each.title for each in self.missing]
        parts = [report(self.figures, self.by_engine, absent, title), Text("\n".join(["", *self._lines()]))]
        if any(self.lengths.values()):
            parts[1:1] = [Text(""), lengths_table(self.lengths)]
        return Lines(*parts)

    def line(self) -> str:
        """For logs: figures, devices, and the names of the findings."""
        names = ", ".join(each.name for each in self.findings)
        return "  ".join([short_line(self.figures), *self._device_lines(), *([f"findings: {names}"] if names else [])])

    def _lines(self) -> Iterator[str]:
        if self.handled is not None:
            yield f"HTTP requests  {', '.join(each.text() for each in self.handled) or '0'}"
        if self.cache:
            yield f"KV cache  {self.cache.line()}"
        yield from self._device_lines()
        yield ""
        yield from finding_lines(self.findings, bool(self.devices))

    def _device_lines(self) -> list[str]:
        if self.devices is None:
            return []
        return [*map(sampled_text, self.devices)] or ["GPU: no sample in this window"]


def window_report(at: Endpoint, window: Window, gpus: DeviceSampler | None = None) -> WindowReport:
    """Read a window; the devices are those sampled since the last one."""
    together, requests, cache = figures(window), handled(window), configuration(window.after)
    devices = gpus.take() if gpus else None
    return WindowReport(
        at.url,
        together,
        {name: figures(window, name) for name in engines(window.after)},
        missing(window.after),
        requests,
        lengths(window),
        cache,
        devices,
        findings(WindowFacts(at.beside(""), together, requests, cache, devices or ())),
    )
