"""How a command writes its runs to `run.json`: a schema, the command's kind, and the record of the run."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from probes.errors import EnginescopeError, usage_error
from probes.jsonform import read_record

SWEEP = "sweep"  # the kind of a run that names none

RUNS = "each folder results/<model>/<variant>/<run>"


def kind_of(folder: Path) -> str:
    """The command whose run a folder has; a sweep's where its `run.json` does not say or cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "run.json").read_text()).get("kind", SWEEP))
    return SWEEP


class AnyRun(Protocol):
    """What the record of every command's run has."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # as every dataclass has it

    @property
    def state(self) -> str:
        """Running, complete, incomplete or interrupted."""
        ...


R = TypeVar("R", bound=AnyRun)


@dataclass(frozen=True)
class RunFormat(Generic[R]):
    """The format of one command's runs; `kind` tells them from those of other commands."""

    record: type[R]
    schema: int
    kind: str = SWEEP

    def text(self, run: R) -> str:
        """The text of a `run.json`."""
        kind = {} if self.kind == SWEEP else {"kind": self.kind}
        return json.dumps({"schema": self.schema, **kind, **asdict(run)}, indent=1) + "\n"

    def read(self, folder: Path) -> R:
        """The run of a folder; refused where it has none, a damaged one, or one of another kind or schema."""
        file = folder / "run.json"
        try:
            values: dict[str, Any] = json.loads(file.read_text())
            schema, kind = values.pop("schema", None), values.pop("kind", SWEEP)
            if kind != self.kind:
                raise usage_error(f"{folder} is not a run of offline.{self.kind}")
            if schema == self.schema:
                return read_record(self.record, values)
        except OSError:
            raise usage_error(f"{folder} is not a run: it has no run.json; {RUNS} has one") from None
        except (ValueError, AttributeError, TypeError) as error:
            raise EnginescopeError(f"{file} is damaged: {error}") from error
        raise EnginescopeError(
            f"{folder} has schema {schema}, this version reads {self.schema}: use the enginescope that wrote it"
        )

    def newest_unfinished(self, out: Path, variant: str) -> Path | None:
        """The last run in the folders of a variant that did not complete."""
        for file in sorted(out.glob(f"*/{variant}/*/run.json"), key=lambda file: file.parent.name, reverse=True):
            with contextlib.suppress(EnginescopeError):
                if self.read(file.parent).state != "complete":
                    return file.parent
        return None
