"""The two public sets of prompts, from the first hub or mirror that can be reached: fetched, checked and kept.

A hub's `resolve` address answers with a redirect that names the file's SHA-256 (`X-Linked-Etag`) where it is a large
one; ModelScope has the same address without that.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from probes.checkpoint import cache_folder
from probes.errors import EnginescopeError
from probes.prompts.files import Prompt, examined

HUB, MODELSCOPE = "https://huggingface.co", "https://www.modelscope.cn"
PATIENCE_S = 30.0
CHUNK_BYTES = 1 << 20
SHA256 = re.compile(r'"?([0-9a-f]{64})"?')


@dataclass(frozen=True)
class PublicSet:
    """Where a set lies; `modelscope` is None where it is not known to be there. `least` prompts make it whole."""

    repository: str
    modelscope: str | None
    file: str
    least: int


SETS = {
    "sharegpt": PublicSet(
        "anon8231489123/ShareGPT_Vicuna_unfiltered",
        "gliang1001/ShareGPT_V3_unfiltered_cleaned_split",
        "ShareGPT_V3_unfiltered_cleaned_split.json",
        10_000,
    ),
    "alpaca": PublicSet("yahma/alpaca-cleaned", None, "alpaca_data_cleaned.json", 10_000),
}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect to the caller, for its headers."""

    def redirect_request(self, *_: object) -> None:
        return None


def fetch(which: PublicSet, tell: Callable[[int], object], environ: Mapping[str, str] = os.environ) -> Path:
    """The file of a set: what is cached, else fetched; `tell` hears the bytes so far."""
    kept = cache_folder() / "datasets" / which.file
    if kept.is_file():
        return kept
    if (cached := hub_cached(which, environ)) is not None:
        return cached
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft, failures = kept.with_name(f".{os.getpid()}-{kept.name}"), []
    try:
        for address in addresses(which, environ):
            try:
                download(address, draft, tell)
                check(draft, which)
                draft.rename(kept)
                return kept
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(f"{address}: {reason_of(error)}")
    finally:
        draft.unlink(missing_ok=True)
    raise EnginescopeError(
        f"no hub gave {which.file} ({'; '.join(failures)}); set HF_ENDPOINT to a mirror, or fetch the file on another "
        "machine, copy it here and name it with --workload; the built-in profiles (--workload alpaca) need none"
    )


def addresses(which: PublicSet, environ: Mapping[str, str]) -> Iterator[str]:
    """Where to look, in order; a mirror that the user names is the only hub."""
    hub = environ.get("HF_ENDPOINT", HUB).rstrip("/")
    yield f"{hub}/datasets/{which.repository}/resolve/main/{which.file}"
    if which.modelscope:
        mirror = environ.get("MODELSCOPE_ENDPOINT", MODELSCOPE).rstrip("/")
        yield f"{mirror}/datasets/{which.modelscope}/resolve/master/{which.file}"


def hub_cached(which: PublicSet, environ: Mapping[str, str]) -> Path | None:
    """The file in the hub's own cache, where another program fetched it."""
    home = Path(environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    files = cache.glob(f"datasets--{which.repository.replace('/', '--')}/snapshots/*/{which.file}")
    return next((file for file in files if file.is_file()), None)


def download(address: str, path: Path, tell: Callable[[int], object]) -> None:
    """Fetch a file; ValueError where it is not the one that the hub names, or not whole."""
    expected = expected_sha256(address)
    digest, size = hashlib.sha256(), 0
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            tell(size)
    if length is not None and size != int(length):
        raise ValueError(f"{size} bytes came of {length}")
    if expected and digest.hexdigest() != expected:
        raise ValueError(f"its SHA-256 is {digest.hexdigest()[:12]}…, and the hub names {expected[:12]}…")


def expected_sha256(address: str) -> str | None:
    """The digest that a hub names for a file; None where it names none."""
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE_S) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        if not 300 <= error.code < 400:
            raise
        headers = error.headers
    match = SHA256.fullmatch(headers.get("X-Linked-Etag") or "")
    return match[1] if match else None


def check(path: Path, which: PublicSet) -> None:
    """Refuse a file with fewer prompts than the set has; ValueError says what is wrong."""
    try:
        prompts = sum(isinstance(entry, Prompt) for entry in examined(path))
    except EnginescopeError as error:
        raise ValueError(str(error)) from None
    if prompts < which.least:
        raise ValueError(f"{prompts} prompts, and the set has at least {which.least}")


def reason_of(error: Exception) -> str:
    """Why an address gave nothing, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__
