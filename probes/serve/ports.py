"""The port that a server of ours is to listen on: one that is free, or why it cannot be had."""

from __future__ import annotations

import socket

import psutil

from probes.errors import EnginescopeError, usage_error
from probes.processes.enginegroup import listener
from probes.serve.command import HOST

AUTO = "auto"
LAST = 65535


def port_number(text: str) -> int | None:
    """`--port` as a number; None for `auto`."""
    if text == AUTO:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= LAST:
        raise usage_error(f"--port must be from 1 to {LAST}, or {AUTO}, not {text}")
    return int(text)


def free_port(host: str = HOST) -> int:
    """A port of this machine's address `host` that nothing listens on now."""
    try:
        with socket.socket(_family(host)) as any_port:
            any_port.bind((host, 0))
            return int(any_port.getsockname()[1])
    except OSError as error:
        raise EnginescopeError(f"--host {host}: {error.strerror}; an address of this machine, or 0.0.0.0") from None


def refuse_taken(host: str, port: int) -> None:
    """Refuse a port that another listens on: its answers would be taken for our server's, and vLLM shares ports."""
    if reason := _taken(host, port):
        free = next_free(host, port)
        raise EnginescopeError(f"port {port}: {reason} {holder(port)}; end it, or take a free one: --port {free}")


def next_free(host: str, port: int) -> int | str:
    """The next port above that can be listened on, which was tried; `auto` where there is none."""
    return next((each for each in range(port + 1, LAST + 1) if _taken(host, each) is None), AUTO)


def holder(port: int) -> str:
    """Who listens on a port: its program and PID. Its arguments may hold keys and are not shown."""
    pid = listener(port)
    try:
        return f"by {psutil.Process(pid).name()} (process {pid})" if pid else "but the system does not show by whom"
    except psutil.Error:
        return f"by process {pid}"


def _taken(host: str, port: int) -> str | None:
    """Why a port cannot be listened on; None where it can."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _family(host: str) -> socket.AddressFamily:
    """Of IPv6 addresses, or of all others."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
