"""`python -m offline.sweep`: drives `vllm.LLM` across batch sizes, block sizes and prefix caching, and leaves a table.

This module is the command and the loop; what is measured is in `offline.arm`, how it is read in `offline.cells`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import FAILED, INCOMPLETE, INTERRUPTED, EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from rich.console import Console

    from offline.expected import PrefixCache
    from offline.grid import Arm, Cell, Trial
    from offline.process import ArmProcess
    from offline.progress import SweepProgress
    from offline.runfolder import RunFolder
    from offline.spec import Spec

ASK_ABOVE_S = 30 * 60
SPEC_FLAGS = (
    *("model", "load_format", "batch_size", "block_size", "prefix_caching", "cache_state", "input_len", "output_len"),
    *("shared_prefix_len", "repeats", "passes", "seed"),
)
EPILOG = """examples:
  python -m offline.sweep                                     what fits this machine, in at most ten minutes
  python -m offline.sweep --plan                              say what it would do, and how long
  python -m offline.sweep --batch-size 1,8 --block-size 32 --engine max_num_batched_tokens=512,2048
  python -m offline.sweep --engine 'speculative_config={"method":"ngram","num_speculative_tokens":3}'
  python -m offline.sweep --resume                            go on with the last run that was cut short

exit codes: 0 done (refused cells included), 3 a cell failed, 2 bad usage, 1 anything else, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from offline.spec import integers, words

    made = argparse.ArgumentParser(
        prog="python -m offline.sweep",
        description="Throughput and latency of vllm.LLM across batch sizes, block sizes and prefix caching, offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    grid = made.add_argument_group("the grid")
    grid.add_argument("--model", metavar="M", help="a local folder or a hub id (default: the embedded default model)")
    grid.add_argument("--load-format", metavar="F", help="vLLM's load format; `dummy` makes random weights")
    grid.add_argument("--batch-size", type=integers, metavar="N,…", help="requests handed over at once (default 1,4,8,16, "
                      "less where that takes over ten minutes)")  # fmt: skip
    grid.add_argument(
        "--block-size", type=integers, metavar="N,…", help="KV block sizes (default 32,64,128; CUDA 16,32,64)"
    )
    grid.add_argument("--prefix-caching", type=words, metavar="off,on", help="default: both")
    grid.add_argument("--cache-state", type=words, metavar="cold,warm", help="warm: the shared prefix is in the cache")
    grid.add_argument("--input-len", type=int, metavar="N", help="prompt tokens (default: shared prefix + 32)")
    grid.add_argument("--output-len", type=int, metavar="N", help="tokens to generate (default 16)")
    grid.add_argument("--shared-prefix-len", type=int, metavar="N", help="default: two of the largest blocks")
    grid.add_argument(
        "--engine", action="append", metavar="KEY=V1,V2", help="any engine argument: one value or an axis"
    )
    grid.add_argument("--spec", metavar="FILE.toml", help="all of this in a file; flags win over it")
    run = made.add_argument_group("the run")
    run.add_argument("--repeats", type=int, metavar="N", help="trials of each cell in each pass (default 3)")
    run.add_argument("--passes", type=int, metavar="N", help="run all arms again, in reverse order (default 1)")
    run.add_argument("--seed", type=int, metavar="N", help="prompts and orders are drawn from it (default 0)")
    run.add_argument("--time-limit", type=float, default=600.0, metavar="S", help="an engine start or a trial that takes "
                     "longer is killed (default 600)")  # fmt: skip
    run.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where runs go (default results)")
    run.add_argument("--variant", default="default", metavar="NAME", help="a name for this kind of run")
    run.add_argument("--resume", nargs="?", const="", default=None, metavar="RUN", help="go on with a run (default: the "
                     "last unfinished one)")  # fmt: skip
    run.add_argument("--plan", action="store_true", default=False, help="print the plan and stop")
    run.add_argument("--yes", action="store_true", default=False, help="do not ask before a long run")
    return made


def asked_for(args: argparse.Namespace) -> dict[str, Any]:
    """What the spec file and the flags say, flags last; only what was said."""
    from offline.spec import parse_engine, read_toml

    said: dict[str, Any] = read_toml(args.spec) if hasattr(args, "spec") else {}
    said |= {name: getattr(args, name) for name in SPEC_FLAGS if hasattr(args, name)}
    if hasattr(args, "engine"):
        said["engine"] = {**said.get("engine", {}), **parse_engine(args.engine)}
    return said


def typed_engine(engine: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Engine arguments by vLLM's own types, checked in a process of its own (it costs vLLM's import)."""
    if not engine:
        return {}
    done = subprocess.run(
        [sys.executable, "-m", "offline.engine"], input=json.dumps(engine), capture_output=True, text=True
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise EnginescopeError(f"vLLM cannot be asked about its engine arguments: {last}") from None
    if "problem" in answer:
        raise usage_error(answer["problem"])
    typed: dict[str, list[Any]] = answer["typed"]
    return typed


def model_folder(name: str, load_format: str) -> Path | str:
    """The model to load: the default one, a local folder that was looked at, or a hub id as it stands."""
    from probes.checkpoint import default_model

    if not name:
        return default_model()
    path = Path(name).expanduser()
    if not path.exists():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise usage_error(f"--model {name}: no such folder, and not a hub id (ORG/NAME)")
        return name
    if not (path / "config.json").is_file():
        raise usage_error(f"--model {name}: not a model: it has no config.json")
    weights = [p for pattern in ("*.safetensors", "*.bin", "*.pt", "*.gguf") for p in path.glob(pattern)]
    if not weights and load_format != "dummy":
        raise usage_error(f"--model {name}: no weights in it (*.safetensors); --load-format dummy makes random ones")
    return path.resolve()


def model_mark(model: Path | str) -> dict[str, Any]:
    """What tells one model from another of the same name: its configuration's digest and its files' sizes."""
    import hashlib

    if isinstance(model, str):
        return {"hub": model}
    config = hashlib.sha256((model / "config.json").read_bytes()).hexdigest()[:16]
    sizes = {p.name: p.stat().st_size for p in sorted(model.glob("*")) if p.suffix in (".safetensors", ".bin", ".gguf")}
    return {"config_sha256": config, "weights_bytes": sizes}


# --- the run ---


@dataclass
class Sweep:
    """One run in progress: the folder, the grid and what has been recorded so far."""

    spec: Spec
    grid: list[Arm]
    folder: RunFolder
    time_limit_s: float
    done: set[tuple[str, int]] = field(default_factory=set)
    stopped: bool = False  # an arm failed
    refused: bool = False
    engine: int = 0  # engine starts, counted over resumes

    def run(self, progress: SweepProgress) -> None:
        """All passes, all arms; a refused or failed arm does not hold up the others."""
        from offline.grid import arm_order, trial_order

        given_up: set[str] = set()
        for number, order in enumerate(arm_order(self.spec, self.grid)):
            for place, arm in enumerate(order):
                trials = [t for t in trial_order(self.spec, arm, number) if self.key(t) not in self.done]
                if trials and arm.id not in given_up:
                    progress.arm(arm, place + 1, len(order))
                    if not self.run_arm(arm, trials, progress):
                        given_up.add(arm.id)

    @staticmethod
    def key(trial: Trial) -> tuple[str, int]:
        return (trial.arm.cell_id(trial.cell), trial.index)

    def run_arm(self, arm: Arm, trials: list[Trial], progress: SweepProgress) -> bool:
        """One engine, all its trials; False when the arm was refused or failed."""
        from offline.process import ArmFailed, ArmProcess

        self.engine += 1
        with ArmProcess(self.folder.log(arm.id)) as process:
            try:
                started = process.ask({"do": "start", "settings": arm.settings}, self.time_limit_s)
                self.prove(started)
                self.folder.append({"kind": "arm", "arm": arm.id, "engine": self.engine, "name": arm.name, **started})
                progress.ready(arm, (started["start_ns"][1] - started["import_ns"][0]) / 1e9)
                self.run_trials(arm, trials, process, started, progress)
                process.stop()
                return True
            except ArmFailed as failure:
                status = "refused" if failure.refused else "failed"
                self.stopped |= not failure.refused
                self.refused |= failure.refused
                self.folder.append(
                    {"kind": "stop", "arm": arm.id, "engine": self.engine, "status": status, "reason": str(failure)}
                )
                progress.problem(f"{status}: {arm.name}: {failure}")
                return False

    @staticmethod
    def prove(started: dict[str, Any]) -> None:
        """A watcher proves that it was there: without the step log's hooks in the core there is no table to trust."""
        from offline.process import ArmFailed

        if not started["step_log"]:
            missing = ", ".join(started["unhooked"]) or "the plugin was not loaded: is enginescope installed here?"
            raise ArmFailed(f"the step log is not in the engine's core ({missing})")

    def run_trials(
        self, arm: Arm, trials: list[Trial], process: ArmProcess, started: dict[str, Any], progress: SweepProgress
    ) -> None:
        """Warm each cell up at its own shape, then the trials, interleaved as they come."""
        from offline.grid import seed_of
        from tracing.steplog import STEP_FIELDS

        for cell in dict.fromkeys(trial.cell for trial in trials):
            seed = seed_of(self.spec, arm, cell, -1 - self.engine)
            process.ask({"do": "trial", "cell": asdict(cell), "seed": seed}, self.time_limit_s)
        cache = prefix_cache(started["resolved"])
        for trial in trials:
            measured = process.ask({"do": "trial", "cell": asdict(trial.cell), "seed": trial.seed}, self.time_limit_s)
            record = {
                "kind": "trial",
                "cell": arm.cell_id(trial.cell),
                "trial": trial.index,
                "seed": trial.seed,
                "arm": arm.id,
                "engine": self.engine,
                **rates(measured),
                "asked_tokens": trial.cell.batch_size * trial.cell.output_len,
                "expected_cached_tokens": expected_tokens(cache, trial.cell, trial.seed, started["vocabulary"]),
                "step_fields": STEP_FIELDS,
                **measured,
            }
            self.folder.append(record)
            self.done.add(self.key(trial))
            progress.trial(trial, record["output_tok_s"])


def rates(measured: dict[str, Any]) -> dict[str, Any]:
    """Elapsed time and token rates of a trial, which its raw stamps and counts give."""
    elapsed = (measured["end_ns"] - measured["start_ns"]) / 1e9
    generated = sum(r["generated_tokens"] for r in measured["requests"])
    prompted = sum(r["prompt_tokens"] for r in measured["requests"])
    return {
        "elapsed_s": elapsed,
        "generated_tokens": generated,
        "output_tok_s": generated / elapsed,
        "total_tok_s": (generated + prompted) / elapsed,
    }


def prefix_cache(resolved: dict[str, Any]) -> PrefixCache | None:
    """The arithmetic's own cache for an engine's resolved settings, or None where it does not apply."""
    from offline.expected import CacheConfig, PrefixCache

    if resolved["speculative"] is not None or not resolved["kv_blocks"] or resolved["scheduling_policy"] != "fcfs":
        return None
    config = CacheConfig(
        block_size=resolved["effective_block_size"] or resolved["block_size"],
        num_blocks=resolved["kv_blocks"],
        enable_prefix_caching=resolved["enable_prefix_caching"],
        max_num_batched_tokens=resolved["max_num_batched_tokens"],
        max_num_seqs=resolved["max_num_seqs"],
        max_model_len=resolved["max_model_len"],
        enable_chunked_prefill=bool(resolved["enable_chunked_prefill"]),
        long_prefill_token_threshold=resolved["long_prefill_token_threshold"] or 0,
        reserve_full_isl=bool(resolved["scheduler_reserve_full_isl"]),
        watermark=resolved["watermark"] or 0.0,
    )
    return PrefixCache(config)


def expected_tokens(cache: PrefixCache | None, cell: Cell, seed: int, vocabulary: int) -> int | None:
    """Cached tokens that a trial should find, by arithmetic from its prompts; see `offline.expected`."""
    from offline.prompts import workload

    if cache is None:
        return None
    work = workload(cell, seed, vocabulary)
    cache.reset()
    if work.primer is not None:
        cache.run([work.primer], 1)
    return cache.run(work.prompts, cell.output_len).total


# --- starting and ending ---


def open_run(args: argparse.Namespace, said: dict[str, Any]) -> tuple[RunFolder, Spec, list[Arm], float] | None:
    """A new run after its plan was shown, or the one to resume; None where only the plan was wanted."""
    return resumed_run(args, said) if args.resume is not None else new_run(args, said)


def new_run(args: argparse.Namespace, said: dict[str, Any]) -> tuple[RunFolder, Spec, list[Arm], float] | None:
    """Plan, ask where it takes long, and make the folder."""
    from offline.grid import arms
    from offline.plan import base_settings, complete, describe, estimate_s, minutes
    from offline.runfolder import RunFolder
    from offline.spec import Spec
    from probes.machine import command_line, fingerprint

    asked = Spec.from_dict(said)
    model, machine = model_folder(asked.model, asked.load_format), fingerprint()
    asked = Spec.from_dict({**asked.as_dict(), "engine": typed_engine(asked.engine)})
    spec, note = complete(asked, model, machine)
    grid = arms(spec, base_settings(spec, model, machine))
    if not grid:
        raise usage_error("no cells: --cache-state warm exists only with --prefix-caching on")
    seconds = estimate_s(spec, model, machine)
    print(describe(spec, grid, asked.model or Path(model).name.rpartition("-")[0], seconds, note), flush=True)
    if args.plan:
        return None
    if seconds > ASK_ABOVE_S and not args.yes and sys.stdin.isatty() and not confirmed(minutes(seconds)):
        raise EnginescopeError("not started")
    name = Path(model).name.rpartition("-")[0] if not asked.model else asked.model.rstrip("/").split("/")[-1]
    run = {
        "command_line": command_line(sys.argv),
        "asked": said_as_json(spec),
        "said": json.loads(json.dumps(said)),
        "model": name,
        "model_path": str(model),
        "model_mark": model_mark(model),
        "machine": machine.as_dict(),
        "estimate_s": seconds,
        "arms": {arm.id: {"name": arm.name, "settings": arm.settings} for arm in grid},
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return RunFolder.create(args.out, name, args.variant, run), spec, grid, seconds


def said_as_json(spec: Spec) -> dict[str, Any]:
    """The complete spec as `run.json` keeps it."""
    return spec.as_dict()


def resumed_run(args: argparse.Namespace, said: dict[str, Any]) -> tuple[RunFolder, Spec, list[Arm], float] | None:
    """Open the run to go on with; refused, with the difference named, where it would not be the same run."""
    from offline.grid import arms
    from offline.plan import base_settings, estimate_s
    from offline.runfolder import RunFolder, newest_unfinished, read_run
    from offline.spec import Spec
    from probes.machine import differences, fingerprint

    path = Path(args.resume) if args.resume else newest_unfinished(args.out, None, args.variant)
    run = read_run(path)
    spec, machine = Spec.from_dict(run["asked"]), fingerprint()
    model: Path | str = Path(run["model_path"]) if Path(run["model_path"]).exists() else run["model_path"]
    unlike = differences(run["machine"], machine.as_dict())
    if "engine" in said:
        said = {**said, "engine": typed_engine(Spec.from_dict({"engine": said["engine"]}).engine)}
    wanted = Spec.from_dict({**said}).as_dict()
    for key in said:
        if wanted[key] != run["asked"][key]:
            unlike.append(f"{key}: {run['asked'][key]!r} in the run, {wanted[key]!r} asked now")
    if (mark := model_mark(model)) != run["model_mark"]:
        unlike.append(f"model: {run['model_mark']} in the run, {mark} now")
    grid = arms(spec, base_settings(spec, model, machine))
    if not unlike and {arm.id for arm in grid} != set(run["arms"]):
        unlike.append("engine arguments: this version of enginescope makes others of the same spec")
    if unlike:
        raise EnginescopeError(f"{path} cannot be resumed, it is another run: {'; '.join(unlike)}")
    if args.plan:
        return None
    return RunFolder(path), spec, grid, estimate_s(spec, model, machine)


def confirmed(time_text: str) -> bool:
    """Ask on the terminal."""
    return input(f"This may take {time_text}. Start? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends a sweep as Ctrl-C does: the line being written is finished, children are stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(folder: RunFolder, spec: Spec, grid: list[Arm], state: str, console: Console) -> list[dict[str, Any]]:
    """Tables, index and the final state; the short table on the terminal."""
    from offline import table
    from offline.cells import rows, run_drift
    from offline.runfolder import write_index

    records = folder.records()
    made, drift = rows(grid, spec.repeats * spec.passes, records), run_drift(records)
    resolved = {r["arm"]: r["resolved"] for r in records if r["kind"] == "arm"}
    run = folder.read_run() | {"state": state, "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    for arm_id, settings in resolved.items():
        run["arms"][arm_id]["resolved"] = settings
    folder.write_run(run)
    table.write(folder.path, made, grid[0].axes, drift, run)
    write_index(folder.path.parents[2])
    table.show(console, made, grid[0].axes, drift, spec.passes)
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    with terminable():
        opened = open_run(args, asked_for(args))
        if opened is None:
            return 0
        return measure(args, *opened)


def measure(args: argparse.Namespace, folder: RunFolder, spec: Spec, grid: list[Arm], seconds: float) -> int:
    """Run what is missing, write the tables, and say how it ended."""
    from rich.console import Console

    from offline.progress import SweepProgress

    console = Console()
    records = folder.records()
    finished = {(r["cell"], r["trial"]) for r in records if r["kind"] == "trial"}
    starts = max((r["engine"] for r in records if "engine" in r), default=0)
    sweep = Sweep(spec, grid, folder, args.time_limit, finished, engine=starts)
    total = sum(len(arm.cells) for arm in grid) * spec.repeats * spec.passes
    state, code = "failed", FAILED
    try:
        folder.write_run(folder.read_run() | {"state": "running"})
        with SweepProgress(total - len(finished), seconds * (1 - len(finished) / total), console) as progress:
            sweep.run(progress)
        state, code = ("incomplete", INCOMPLETE) if sweep.stopped else ("complete", 0)
    except KeyboardInterrupt:
        state, code = "interrupted", INTERRUPTED
        console.print(f"interrupted; go on with: python -m offline.sweep --resume {folder.path}", soft_wrap=True)
    made = finish(folder, spec, grid, state, console)
    for status in ("refused", "failed"):
        for reason in dict.fromkeys(row["reason"] for row in made if row["status"] == status):
            count = sum(row["status"] == status and row["reason"] == reason for row in made)
            console.print(f"warning: {count} cells {status}: {reason}", style="yellow", markup=False, soft_wrap=True)
    folder.close()
    console.print(f"Wrote {folder.path}", highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    run_main(main)
