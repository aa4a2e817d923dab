"""How this environment sets the hubs: address, caches, offline or not, and whether there is a token (never which)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HUGGINGFACE = "https://huggingface.co"
TRUE = ("1", "true", "yes", "on")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
NAMES = (
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("VLLM_USE_MODELSCOPE", "MODELSCOPE_CACHE"),
)


@dataclass(frozen=True)
class HubSettings:
    """What huggingface_hub and vLLM make of the environment.

    `cache` is Hugging Face's, `modelscope_cache` ModelScope's; `uses_modelscope` is whether vLLM takes that hub.
    """

    endpoint: str
    cache: Path
    offline: bool
    has_token: bool
    uses_modelscope: bool
    modelscope_cache: Path
    variables: Mapping[str, str]


def hub_settings(environ: Mapping[str, str]) -> HubSettings:
    """The settings that hold; the rules are those of `huggingface_hub.constants`.

    | variable                                     | what it sets                              |
    | -------------------------------------------- | ----------------------------------------- |
    | HF_ENDPOINT                                  | the address, else https://huggingface.co  |
    | HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE     | the cache, else `hub` in HF_HOME          |
    | HF_HOME                                      | else `huggingface` in XDG_CACHE_HOME      |
    | HF_HUB_OFFLINE, else TRANSFORMERS_OFFLINE    | that the hub is not asked                 |
    | HF_TOKEN, or the file HF_TOKEN_PATH          | the token, else the file `token` in HF_HOME |
    | VLLM_USE_MODELSCOPE                          | that vLLM asks ModelScope instead         |
    """
    user_cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(environ.get("HF_HOME") or user_cache / "huggingface")
    cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub"
    token_file = Path(environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    return HubSettings(
        endpoint=(environ.get("HF_ENDPOINT") or HUGGINGFACE).rstrip("/"),
        cache=Path(cache).expanduser(),
        offline=_is_true(environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE")),
        has_token=any(environ.get(name) for name in TOKENS) or token_file.is_file(),
        uses_modelscope=_is_true(environ.get("VLLM_USE_MODELSCOPE")),
        modelscope_cache=Path(environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub").expanduser(),
        variables={name: environ[name] for name in NAMES if name in environ},
    )


def model_places(name: str, settings: HubSettings) -> list[Path]:
    """The folders in which a model of that name may lie, of the hub that vLLM takes."""
    if settings.uses_modelscope:
        owner, _, short = name.partition("/")
        # A dot in a name is written so in its folder's; the folders above it have changed over the versions.
        folders = {Path(owner, short.replace(".", "___")), Path(owner, short)}
        return [settings.modelscope_cache / above / each for above in ("models", "hub/models", "") for each in folders]
    cached = settings.cache / f"models--{name.replace('/', '--')}"
    try:
        commit = (cached / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return []
    return [cached / "snapshots" / commit]


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in TRUE
