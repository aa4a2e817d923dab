"""The names of the models that a server has, for who asked for one that it has not."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.request import ProxyHandler, Request, build_opener

from probes.batch.sending import Settings, authorization
from probes.metrics.endpoint import NoRedirects

PATIENCE_S = 3.0
LARGEST_BYTES = 2**20


def model_names(settings: Settings, key: str | None) -> list[str]:
    """The names at `/models` beside the endpoint that was asked; none where the server does not tell."""
    base = settings.url.removesuffix("/chat/completions").removesuffix("/completions")
    opener = build_opener(NoRedirects, *([] if settings.trust_env else [ProxyHandler({})]))
    try:
        with opener.open(Request(f"{base}/models", headers=authorization(key)), timeout=PATIENCE_S) as answer:
            models = json.loads(answer.read(LARGEST_BYTES))["data"]
        return [str(model["id"]) for model in models]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return []
