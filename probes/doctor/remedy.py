"""A remedy as it is to be pasted here: for this Python and this user, from whatever folder."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from probes.doctor.surroundings import Surroundings

CHECKOUT = re.compile(r"   # in enginescope's checkout(?:; (.*))?$", re.M)


def pasted(remedy: str, at: Surroundings) -> str:
    """The lines of a remedy, which the checks write as for an activated environment, the checkout's folder and a user.

    | a check writes                             | pasted                                             |
    | ------------------------------------------ | -------------------------------------------------- |
    | `pip install …`                            | `~/x/.venv/bin/python -m pip install …`            |
    | `… -r requirements/cpu.txt   # in engine…` | `… -r ~/enginescope/requirements/cpu.txt`          |
    | `sudo apt-get …`                           | `apt-get …`, of root                               |
    """
    if at.checkout:
        folder = _typed(at.checkout, at.home)
        remedy = re.sub(r"(?<= -r )(?=requirements/)", f"{folder}/", remedy)
        remedy = re.sub(r"(?<= -e )\.(?=\s|$)", folder, remedy)
        remedy = CHECKOUT.sub(lambda comment: f"   # {comment[1]}" if comment[1] else "", remedy)
    if re.search("^pip ", remedy, re.M) and not _is_first(at):
        python = _typed(at.executable, at.home)
        remedy = re.sub("^pip ", f"{python} -m pip ", remedy, flags=re.M)
        if "pip" not in at.distributions:
            remedy = f"{python} -m ensurepip   # this environment has no pip\n{remedy}"
    return re.sub(r"\bsudo ", "", remedy) if at.user == 0 else remedy


def _is_first(at: Surroundings) -> bool:
    """Whether the word `pip` means that of this Python, as in an activated environment."""
    first = shutil.which("pip", path=at.environ.get("PATH", ""))
    return not at.executable.is_absolute() or (first is not None and Path(first).parent == at.executable.parent)


def _typed(path: Path, home: Path) -> str:
    """A path as one types it: quoted where it has to be, but for the home folder's `~`."""
    if len(home.parts) > 1 and path.is_relative_to(home):
        return f"~/{shlex.quote(str(path.relative_to(home)))}"
    return shlex.quote(str(path))
