"""What the devices waited for: a sentence a device and kind of step, and on a terminal a table of the kinds."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from probes.console import Rows, show_text, table
from tracing.breakdown.gaps import ALL
from tracing.breakdown.otherwatchers import GpuDevice

COUNTED_CAUSES = 0.001  # of the window: smaller ones are summed up as "other"
MOST_CAUSES = 5  # on a terminal; the page and `review.json` have all
SHOWN_WAIT = 0.0005  # of the window, from which a kind of step has a row
WAITS = ["GPU", "step", "busy", "waited", "for"]


def show(devices: Sequence[GpuDevice], out: Console) -> None:
    """A line a device, of all steps, and below them a row a kind of step in which it waited; on a terminal."""
    if devices:
        out.print()
    for device in devices:
        if device.kind == ALL:
            show_text(out, sentence(device, MOST_CAUSES))
    table(out, "what a GPU waited for, by kind of step", WAITS, wait_rows(devices), (1, 4))


def wait_rows(devices: Sequence[GpuDevice]) -> Rows:
    """A row a device and kind of step in which it waited, with the largest causes."""
    return [
        [device.device, device.kind, _busy(device), _waited(device), _causes(device, MOST_CAUSES)]
        for device in devices
        if device.kind != ALL and device.gap_ns >= SHOWN_WAIT * max(device.window_ns, 1)
    ]


def sentence(device: GpuDevice, most: int | None = None) -> str:
    """`GPU 0 waited 18 % of decode: 9 % schedule, 6 % detokenize on the front end, 3 % ZMQ`, with all causes or the
    `most` largest."""
    of = "the time" if device.kind == ALL else device.kind
    waited = f"GPU {device.device} waited {_waited(device)} of {of}"
    if _is_doubtful(device):
        waited += f" (busy for {_busy(device)}: what it did while the host still launched is not known)"
    causes = _causes(device, most)
    return f"{waited}: {causes}" if causes else waited


def _is_doubtful(device: GpuDevice) -> bool:
    """Whether it may have been busy for less than is known at most."""
    return device.busy_ns - device.busy_least_ns > COUNTED_CAUSES * max(device.window_ns, 1)


def _waited(device: GpuDevice) -> str:
    share = f"{device.gap_ns / max(device.window_ns, 1):.1%}"
    return f"at least {share}" if _is_doubtful(device) else share


def _busy(device: GpuDevice) -> str:
    least, most = (f"{ns / max(device.window_ns, 1):.1%}" for ns in (device.busy_least_ns, device.busy_ns))
    return f"{least} to {most}" if _is_doubtful(device) else most


def _causes(device: GpuDevice, most: int | None) -> str:
    """The largest causes as shares of the window, and what is left of the waiting."""
    whole = max(device.window_ns, 1)
    shares = [(each.cause, each.ns / whole) for each in device.causes if each.ns / whole >= COUNTED_CAUSES][:most]
    other = device.gap_ns / whole - sum(share for _, share in shares)
    if shares and other >= COUNTED_CAUSES / 10:
        shares.append(("other", other))
    return ", ".join(f"{share:.1%} {cause}" for cause, share in shares)
