"""The names of the models that a server has, for who asked for one that it has not."""

from __future__ import annotations

import aiohttp

from probes.batch.sending import Settings, authorization

PATIENCE_S = 3.0


async def model_names(settings: Settings, key: str | None) -> list[str]:
    """The names at `/models` beside the endpoint that was asked; none where the server does not tell."""
    base = settings.url.removesuffix("/chat/completions").removesuffix("/completions")
    times = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=times, headers=authorization(key), trust_env=settings.trust_env) as session,
            session.get(f"{base}/models", allow_redirects=False) as response,
        ):
            answer = await response.json(content_type=None)
        return [str(model["id"]) for model in answer["data"]]
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
        return []
