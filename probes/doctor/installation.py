"""The doctor's checks of enginescope's own parts: the plugin, the recorder, and that no folder hides its packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from probes.doctor.surroundings import Finding, Surroundings

PACKAGES = ("probes", "tracing", "offline", "notes")
NOT_TO_SHADOW = (*PACKAGES, "vllm", "torch", "transformers")
PLUGIN = "enginescope_plugin:load"
LOAD_TIMEOUT_S = 20
REINSTALL = "pip install --no-deps -e .   # in enginescope's checkout"


def plugin(at: Surroundings) -> Finding:
    """enginescope's entry point, through which vLLM calls it in each of its processes."""
    value = at.plugins.get("enginescope")
    if value != PLUGIN:
        detail = f"entry point is {value}, not {PLUGIN}" if value else "enginescope's entry point is not installed"
        return Finding("vLLM plugin", "block", f"{detail}: vLLM's processes cannot be hooked", REINSTALL)
    chosen = at.environ.get("VLLM_PLUGINS")
    if chosen is not None and "enginescope" not in chosen.split(","):
        remedy = f"export VLLM_PLUGINS='{','.join(filter(None, [chosen, 'enginescope']))}'"
        return Finding("vLLM plugin", "warn", f"VLLM_PLUGINS={chosen!r} leaves enginescope out", remedy)
    return Finding("vLLM plugin", "ok", f"enginescope = {value}")


def shadows(at: Surroundings) -> Finding:
    """Packages in the current folder that `python -m` would take for the installed ones, in spawned processes too."""
    elsewhere = [entry for entry in at.search_path if (at.folder / entry).resolve() != at.folder.resolve()]
    shadowed = []
    for name in NOT_TO_SHADOW:
        local = PathFinder.find_spec(name, [str(at.folder)])
        other = PathFinder.find_spec(name, elsewhere)
        if local and local.origin and other and other.origin and Path(local.origin) != Path(other.origin):
            shadowed.append(name)
    if shadowed:
        detail = f"{', '.join(shadowed)} in the current folder hides the installed package"
        return Finding("names", "block", detail, "cd ..   # or rename: " + " ".join(shadowed))
    return Finding("names", "ok", "nothing in the current folder hides an installed package")


def recorder(at: Surroundings) -> Finding:
    """The recorder's extension module: built, for this Python, of the present source, and loadable."""
    package = at.package("tracing")
    folder = package / "hooks" if package else None
    spec = PathFinder.find_spec("tracing.hooks._recorder", [str(folder)]) if folder else None
    if folder is None or spec is None or not spec.origin:
        return Finding("recorder", "block", "tracing.hooks._recorder is not built for this Python", REINSTALL)
    built = Path(spec.origin)
    if any(source.stat().st_mtime > built.stat().st_mtime for source in folder.glob("*.[ch]")):
        return Finding("recorder", "warn", "tracing.hooks._recorder is older than its source", REINSTALL)
    if error := _load_error(built):
        return Finding("recorder", "block", f"tracing.hooks._recorder does not load: {error}", REINSTALL)
    return Finding("recorder", "ok", built.name)


def _load_error(built: Path) -> str | None:
    """What a fresh Python says to the module; None when it loads."""
    code = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('tracing.hooks._recorder', sys.argv[1]);"
        "s.loader.exec_module(u.module_from_spec(s))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(built)], capture_output=True, text=True, timeout=LOAD_TIMEOUT_S
    )
    return None if result.returncode == 0 else (result.stderr.strip().splitlines() or ["it crashed"])[-1]
