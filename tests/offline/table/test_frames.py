"""A run read back as DataFrames, and a dictionary that knows all of its columns."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from offline.records.lines import StartRecord, TrialRecord
from offline.records.run import PlannedArm
from offline.records.runfolder import RunFolder, write_whole
from offline.spec.spec import Spec
from offline.table import read
from offline.table.cells import rows
from offline.table.dictionary import column_dictionary, table_columns
from offline.table.files import write
from probes.columns import dictionary
from probes.errors import EnginescopeError
from tests.offline.armrecords import ARM, COLD, WARM, started, trial
from tests.offline.runs import RUN, a_run

ROOT = Path(__file__).resolve().parents[3]
SPEC = Spec(
    batch_size=(2,),
    block_size=(32,),
    prefix_caching=("on",),
    input_len=(8,),
    output_len=(3,),
    shared_prefix_len=(4,),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one arm: an engine start and three trials."""
    arms = {ARM.id: PlannedArm(ARM.name, ARM.settings)}
    folder = RunFolder.create(tmp_path, a_run(spec=SPEC, arms=arms))
    for record in (started(), trial(COLD, 0), trial(COLD, 1), trial(WARM, 0)):
        folder.append(record)
    folder.close()
    return folder.path


def test_a_run_as_frames(run: Path) -> None:
    trials, arms = read(run)
    assert trials[["cache_state", "trial", "batch_size", "running_max"]].values.tolist() == [
        ["cold", 0, 2, 2],
        ["cold", 1, 2, 2],
        ["warm", 0, 2, 2],
    ]
    assert trials["output_tok_s"].tolist() == pytest.approx([20.0] * 3)
    assert arms[["name", "kv_blocks", "startup_s"]].values.tolist() == [[ARM.name, 10, 30.0]]
    assert arms["startup_warm_up_s"].isna().all() and str(arms["startup_warm_up_s"].dtype) == "Float64"
    assert trials.merge(arms, on=["arm", "engine"])["rss_bytes"].tolist() == [500] * 3


def test_a_run_of_an_older_schema_is_refused_by_its_number(run: Path) -> None:
    text = (run / "run.json").read_text()
    write_whole(run / "run.json", text.replace('"schema": 6', '"schema": 5'))
    with pytest.raises(EnginescopeError, match="has schema 5, this version reads 6"):
        read(run)


def test_no_column_is_undocumented(run: Path, tmp_path: Path) -> None:
    card = {"index": 1, "name": "H100", "used_bytes": 6, "total_bytes": 8, "utilization_percent": None, "power_w": 9.0}
    table = rows([ARM], 2, [started(), trial(COLD, 0, devices=[card]), trial(COLD, 1), trial(WARM, 0)])
    write(tmp_path, table, ARM.axes, None, RUN)
    written = {re.sub(r"^(effective|gpu\d)_", "", name) for name in pd.read_csv(tmp_path / "table.csv").columns}
    assert written - table_columns() == set()
    assert (tmp_path / "columns.md").read_text() == column_dictionary()
    trials, arms = read(run)
    keys = {each.name for cls in (TrialRecord, StartRecord) for each in dictionary(cls)}
    assert set(trials.columns) - table_columns() - keys == set()
    assert set(arms.columns) - table_columns() - keys == {"effective_enable_prefix_caching"}


def test_the_rooms_readme_has_the_dictionary() -> None:
    """`python -c "from offline.table.dictionary import column_dictionary; print(column_dictionary())"` prints it."""
    assert column_dictionary().partition("\n")[2].strip() in (ROOT / "offline" / "README.md").read_text()
