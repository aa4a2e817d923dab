"""What goes wrong below an answer, by its class: no connection, one that breaks, no HTTP, a status that refuses."""

from __future__ import annotations

import ssl
import time
import zlib

from httptools import HttpParserError

from probes.client.answer import BAD_RESPONSE, CLIENT, CONNECT, TIMEOUT, Refused, refusal


def unconnected(error: OSError | ValueError) -> Refused:
    """Why there is no connection."""
    if not isinstance(error, OSError):  # a host name that cannot be one
        return Refused(CLIENT, f"not an address: {error}")
    if isinstance(error, TimeoutError) and error.errno is None:
        return Refused(TIMEOUT, "timed out while connecting", again=True)
    if isinstance(error, ssl.SSLError):
        return Refused(CONNECT, f"TLS: {error}")
    return Refused(CONNECT, f"cannot connect: {error.strerror or error}", again=True)


def broken(error: Exception, progress: str) -> Refused:
    """Why a response ended before its time; `progress` says how far it was."""
    text = str(error) or type(error).__name__
    if isinstance(error, (HttpParserError, ValueError)):
        return Refused(BAD_RESPONSE, f"not readable as HTTP: {text}")
    if isinstance(error, zlib.error):
        return Refused(BAD_RESPONSE, "the body is not in the Content-Encoding that it claims")
    return Refused(CONNECT, f"the connection broke {progress}: {text}", again=True)


def complaint(status: int, headers: dict[bytes, bytes], body: bytes) -> Refused:
    """Why a server says no."""
    if 300 <= status < 400:
        where = headers.get(b"location", b"nowhere").decode("latin-1")
        return Refused(CLIENT, f"{status}: redirected to {where}; give the final address with --base-url")
    retry_after = headers.get(b"retry-after")
    return refusal(status, body, retry_after.decode("latin-1") if retry_after else None, time.time())
