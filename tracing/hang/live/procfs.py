"""What /proc says of the engine's processes and of its clients' connections: no right is needed but to read it."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from tracing.hang.situation import ProcessState, UnreadAnswer

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
ESTABLISHED = "01"
TABLES = ("net/tcp", "net/tcp6")


def state_of(pid: int, proc: Path = PROC) -> ProcessState | None:
    """The state of a process; `cpu_s` is what it has used since it began. None where it is gone."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
    return ProcessState(fields[0], _kernel_function(proc / str(pid)), cpu_s, int(fields[1]))


def _kernel_function(folder: Path) -> str:
    try:
        name = (folder / "wchan").read_text().strip()
    except OSError:
        return ""
    return "" if name == "0" else name


def unread_answers(pid: int, port: int, proc: Path = PROC) -> dict[str, int]:
    """Bytes that wait in the server's sockets, by the client that does not take them; `pid` is any process of the
    server, whose network it is."""
    waiting: dict[str, int] = {}
    for table in TABLES:
        for local_port, client, state, queued in _connections(proc / str(pid) / table):
            if local_port == port and state == ESTABLISHED and queued:
                waiting[client] = queued
    return waiting


def still_unread(before: dict[str, int], after: dict[str, int]) -> tuple[UnreadAnswer, ...]:
    """What a client took nothing of between two looks."""
    return tuple(UnreadAnswer(client, size) for client, size in after.items() if before.get(client) == size)


def _connections(path: Path) -> Iterator[tuple[int, str, str, int]]:
    """Local port, remote address, state and bytes not yet acknowledged of each connection."""
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        address, _, port = fields[2].partition(":")
        yield (
            int(fields[1].rpartition(":")[2], 16),
            f"{_address(address)}:{int(port, 16)}",
            fields[3],
            int(fields[4].partition(":")[0], 16),
        )


def _address(text: str) -> str:
    """`0100007F` is 127.0.0.1: the kernel writes words of four bytes in the machine's own order."""
    words = struct.pack(f"={len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
