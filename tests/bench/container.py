"""The tool in a root file system laid out like vLLM's images: no compiler, 64 MiB of /dev/shm, no CAP_SYS_PTRACE.

Makes it with debootstrap (Debian's Python 3.11), hard-links this environment's packages into it, installs the wheel of
`make wheel`, and there asks the doctor, records a batch on a two-layer model and reviews it. Needs root.

example: make wheel && python tests/bench/container.py --root build/container
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from probes.checkpoint import two_layer_model

ROOT = Path(__file__).resolve().parents[2]
VENV = "opt/vllm"
PACKAGES = f"{VENV}/lib/python3.11/site-packages"
DEBIAN = ("--variant=minbase", "--include=python3,python3-distutils,libnuma1,ca-certificates", "bookworm")
PYVENV = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
PROGRAM = """
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    llm = LLM("/model", load_format="dummy", enforce_eager=True, max_model_len=256, kv_cache_memory_bytes=2**27)
    outputs = llm.generate(["one", "two"] * 2, SamplingParams(max_tokens=16, ignore_eos=True), use_tqdm=False)
    print("generated", sum(len(each.outputs[0].token_ids) for each in outputs))
"""
# In mounts of its own, which end with it; the capability is taken as a container's runtime does.
INSIDE = """
mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount -t tmpfs -o size=$1 tmpfs "$0/dev/shm" && shift &&
exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace chroot "$0" \\
    /usr/bin/env -i HOME=/root PATH=/opt/vllm/bin:/usr/bin:/bin "$@"
"""
SMALL, LARGE = "64m", "1g"  # of /dev/shm: a container's default, and what an engine needs
CHECKS = (
    ("python", "-m", "probes.doctor", "--problems"),
    ("python", "-m", "tracing.record", "--out", "/root/trace", "--", "python", "/program.py"),
    ("python", "-m", "tracing.review", "/root/trace"),
    ("bash", "-c", "python -c 'import time; time.sleep(30)' & sleep 2; py-spy dump --pid $!; kill $!"),
)


def make(root: Path, wheel: Path) -> None:
    """The file system, with vLLM's environment and the wheel in it."""
    subprocess.run(["debootstrap", *DEBIAN, str(root)], check=True, stdout=subprocess.DEVNULL)
    (root / PACKAGES).parent.mkdir(parents=True)
    (root / VENV / "bin").mkdir()
    # A link of a file costs no room. What the checkout's own installation left would be taken for the wheel's.
    ours = shutil.ignore_patterns("__editable__.enginescope*", "enginescope-*.dist-info")
    shutil.copytree(sysconfig.get_path("purelib"), root / PACKAGES, copy_function=os.link, ignore=ours, symlinks=True)
    (root / VENV / "pyvenv.cfg").write_text(PYVENV)
    (root / VENV / "bin/python").symlink_to("/usr/bin/python3.11")
    shutil.copy(Path(sys.executable).parent / "py-spy", root / VENV / "bin")
    shutil.copytree(two_layer_model(), root / "model")
    shutil.copy(wheel, root)
    (root / "program.py").write_text(PROGRAM)
    inside(root, "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", f"/{wheel.name}")


def inside(root: Path, *words: str, shared: str = SMALL) -> None:
    """Run a command there and print what it says."""
    print(f"$ [{shared} of /dev/shm]", *words, flush=True)
    command = ["unshare", "--mount", "--pid", "--fork", "bash", "-c", INSIDE, str(root), shared, *words]
    ended = subprocess.run(command, timeout=900)
    print(f"(code {ended.returncode})\n", flush=True)


def main() -> None:
    """The bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, default=ROOT / "build/container", help="the file system, made where none is"
    )
    root = parser.parse_args().root.absolute()
    wheels = sorted((ROOT / "dist").glob("enginescope-*.whl"), key=lambda path: path.stat().st_mtime)
    if os.geteuid() or not shutil.which("debootstrap") or not wheels:
        print("not run: it needs root, debootstrap, and a wheel (make wheel)")
        return
    if not root.exists():
        make(root, wheels[-1])
    for words in CHECKS:
        inside(root, *words, shared=LARGE if "tracing.record" in words else SMALL)


if __name__ == "__main__":
    main()
