"""Our own packages for another interpreter: a folder for its path that holds them and nothing of what they need."""

from __future__ import annotations

import os
from pathlib import Path

from offline.environments.environment import OWN, Environment

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("enginescope_plugin.py", "offline", "probes", "tracing")
METADATA = f"Metadata-Version: 2.1\nName: {OWN}\nVersion: 0\n"
ENTRY_POINTS = "[vllm.general_plugins]\nenginescope = enginescope_plugin:load\n"  # as our pyproject.toml has it


def lay_out(folder: Path) -> Path:
    """Make `folder` with links to our packages, and with what lets vLLM find the plugin among them."""
    folder.mkdir()
    for name in PACKAGES:
        (folder / name).symlink_to(ROOT / name)
    info = folder / f"{OWN}-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def python_in(environment: Environment, packages: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words that start Python in an environment, and the variables by which it finds our packages.

    `packages` is a folder to be made, which has to stay while that Python runs.
    """
    # -P: a `vllm` in the current folder would stand before the one that is meant.
    path = python_path(environment.first_folder, str(lay_out(packages)))
    return (str(environment.executable), "-P"), {"PYTHONPATH": path}


def python_path(*folders: str) -> str:
    """`PYTHONPATH` with some folders before those that it has."""
    return os.pathsep.join(filter(None, [*folders, os.environ.get("PYTHONPATH", "")]))
