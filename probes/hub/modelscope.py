"""ModelScope asked for a model, by the addresses of its own client (`modelscope_hub` 0.5, `modelscope` before that)."""

from __future__ import annotations

import json
import os
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from probes.hub.files import INDEX
from probes.hub.hubmodel import HubModel, ModelFile
from probes.hub.settings import MODELSCOPE_TOKEN
from probes.privacy.secretvalues import blanked

TIMEOUT_S = 10
REVISION = "master"
REFUSED, NOT_THERE = (401, 403), 404


def ask_modelscope(name: str, endpoint: str) -> HubModel:
    """The answer for the model's main branch; nothing is written into the cache."""
    sizes: dict[str, int] = {}
    try:
        sizes = _sizes(_fetch(endpoint, name, "repo/files", Recursive="True"))
        config, index = (_contents(endpoint, name, file, sizes) for file in ("config.json", INDEX))
    except (OSError, HTTPException, ValueError) as error:
        return _without_contents(error, blanked(endpoint), sizes)
    return HubModel("there", "", sizes, config, index)


def _without_contents(error: Exception, shown: str, sizes: dict[str, int]) -> HubModel:
    """The answer of a hub that refused, or of none; `sizes` where its list of files came before that."""
    status = error.code if isinstance(error, HTTPError) else None
    if status in REFUSED:
        return HubModel("gated", "it is private, or its terms are not accepted with this token", sizes)
    if sizes:
        return HubModel("there", f"its config.json could not be read ({type(error).__name__})", sizes)
    if status == NOT_THERE:
        return HubModel("unknown", f"{shown} has no such model, or it is private")
    if status:
        return HubModel("not asked", f"{shown} answers with status {status}")
    how = "as ModelScope does" if isinstance(error, ValueError) else f"({type(error).__name__})"
    return HubModel("not asked", f"{shown} does not answer {how}")


def _fetch(endpoint: str, name: str, what: str, **words: str) -> bytes:
    query = urlencode({"Revision": REVISION, **words})
    request = Request(f"{endpoint}/api/v1/models/{quote(name)}/{what}?{query}")
    if token := os.environ.get(MODELSCOPE_TOKEN):  # not for the store that a file's address may lead to
        request.add_unredirected_header("Authorization", f"Bearer {token}")
        request.add_unredirected_header("Cookie", f"m_session_id={token}")
    with urlopen(request, timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read()
    return body


def _sizes(body: bytes) -> dict[str, int]:
    """The bytes of each file; ValueError where the answer is none of ModelScope's."""
    answer = json.loads(body)
    data = answer.get("Data") if isinstance(answer, dict) else None
    rows = data.get("Files") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise ValueError("no list of files")
    files = [row for row in rows if isinstance(row, dict) and row.get("Type") != "tree"]
    return {str(row.get("Path")): row["Size"] for row in files if isinstance(row.get("Size"), int)}


def _contents(endpoint: str, name: str, file: str, sizes: dict[str, int]) -> ModelFile:
    """A small file of the model's; empty where it has none."""
    contents = json.loads(_fetch(endpoint, name, "repo", FilePath=file)) if file in sizes else {}
    return contents if isinstance(contents, dict) else {}
