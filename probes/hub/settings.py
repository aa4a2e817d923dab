"""How this environment sets the hubs: address, caches, offline or not, and whether there is a token (never which)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HUGGINGFACE, MODELSCOPE = "https://huggingface.co", "https://modelscope.cn"
TRUE = ("1", "true", "yes", "on")
VLLMS_TRUE = ("1", "true")  # `vllm/envs.py`
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
MODELSCOPE_TOKEN = "MODELSCOPE_API_TOKEN"
NAMES = (
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("VLLM_USE_MODELSCOPE", "MODELSCOPE_CACHE", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_HOME"),
)


@dataclass(frozen=True)
class HubSettings:
    """What huggingface_hub and vLLM make of the environment.

    `endpoint` and `cache` are Hugging Face's, `modelscope` and `modelscope_cache` ModelScope's; `uses_modelscope` is
    whether vLLM takes that hub, and `has_token` is of the one that it takes.
    """

    endpoint: str
    cache: Path
    offline: bool
    has_token: bool
    uses_modelscope: bool
    modelscope: str
    modelscope_cache: Path
    variables: Mapping[str, str]

    @property
    def model_cache(self) -> Path:
        """The cache of the hub that vLLM takes."""
        return self.modelscope_cache if self.uses_modelscope else self.cache


def hub_settings(environ: Mapping[str, str]) -> HubSettings:
    """The settings that hold; the rules are those of `huggingface_hub.constants` and of `modelscope_hub.config`.

    | variable                                     | what it sets                              |
    | -------------------------------------------- | ----------------------------------------- |
    | HF_ENDPOINT                                  | the address, else https://huggingface.co  |
    | HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE     | the cache, else `hub` in HF_HOME          |
    | HF_HOME                                      | else `huggingface` in XDG_CACHE_HOME      |
    | HF_HUB_OFFLINE, else TRANSFORMERS_OFFLINE    | that the hub is not asked                 |
    | HF_TOKEN, or the file HF_TOKEN_PATH          | the token, else the file `token` in HF_HOME |
    | VLLM_USE_MODELSCOPE                          | that vLLM asks ModelScope instead         |
    | MODELSCOPE_ENDPOINT, else MODELSCOPE_DOMAIN  | its address, else https://modelscope.cn   |
    | MODELSCOPE_CACHE                             | its cache, else ~/.cache/modelscope       |
    | MODELSCOPE_API_TOKEN                         | its token, else a session in MODELSCOPE_HOME |
    """
    user_cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(environ.get("HF_HOME") or user_cache / "huggingface")
    cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub"
    token_file = Path(environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    has_token = any(environ.get(name) for name in TOKENS) or token_file.is_file()
    uses_modelscope = (environ.get("VLLM_USE_MODELSCOPE") or "").strip().lower() in VLLMS_TRUE
    return HubSettings(
        endpoint=(environ.get("HF_ENDPOINT") or HUGGINGFACE).rstrip("/"),
        cache=Path(cache).expanduser(),
        offline=_is_true(environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE")),
        has_token=_has_modelscope_token(environ) if uses_modelscope else has_token,
        uses_modelscope=uses_modelscope,
        modelscope=_with_scheme(environ.get("MODELSCOPE_ENDPOINT") or environ.get("MODELSCOPE_DOMAIN") or MODELSCOPE),
        modelscope_cache=Path(environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser(),
        variables={name: environ[name] for name in NAMES if name in environ},
    )


def model_places(name: str, settings: HubSettings) -> list[Path]:
    """The folders in which a model of that name may lie, of the hub that vLLM takes."""
    if settings.uses_modelscope:
        return _modelscope_places(name, settings.modelscope_cache)
    cached = settings.cache / f"models--{name.replace('/', '--')}"
    try:
        commit = (cached / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return []
    return [cached / "snapshots" / commit]


def _modelscope_places(name: str, cache: Path) -> list[Path]:
    """Where ModelScope's client looks, in its order: what an older version of it has put there comes first.

    | client                   | folder                                         |
    | ------------------------ | ---------------------------------------------- |
    | up to 1.37               | `models/Qwen/Qwen2___5-7B`, or that in `hub`   |
    | from 1.38 on             | `models/Qwen--Qwen2.5-7B/snapshots/master`     |
    | older still              | `Qwen/Qwen2.5-7B`, or that in `hub` or `models` |
    """
    owner, _, short = name.partition("/")
    safe, plain = Path(owner, short.replace(".", "___")), Path(owner, short)
    today = Path("models", name.replace("/", "--"), "snapshots", "master")
    oldest = [Path(above) / each for above in ("", "hub") for each in (plain, safe)]
    return [cache / each for each in ("models" / safe, "hub/models" / safe, today, *oldest, "models" / plain)]


def _has_modelscope_token(environ: Mapping[str, str]) -> bool:
    home = Path(environ.get("MODELSCOPE_HOME") or "~/.modelscope").expanduser()
    return bool(environ.get(MODELSCOPE_TOKEN)) or (home / "credentials" / "cookies").is_file()


def _with_scheme(address: str) -> str:
    return (address if "://" in address else f"https://{address}").rstrip("/")


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in TRUE
