"""What a sweep is asked for: a spec is read as written, or refused in one line that names the mistake."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.spec.spec import OWNED, Spec, integers, numbers, parse_engine, read_toml, words
from offline.sweep.__main__ import command_parser, spec_values
from probes.errors import USAGE, EnginescopeError


def refusal(call: Any, *args: Any) -> str:
    """The line that a mistake of the user ends in."""
    with pytest.raises(EnginescopeError) as caught:
        call(*args)
    assert caught.value.code == USAGE
    return str(caught.value)


def test_nothing_said_is_the_default_spec() -> None:
    assert Spec.from_dict({}) == Spec()
    assert (Spec().prefix_caching, Spec().cache_state, Spec().repeats, Spec().starts) == (
        ("off", "on"),
        ("cold", "warm"),
        0,
        0,
    )


def test_one_value_is_a_list_of_one() -> None:
    mapping = {
        "batch_size": 4,
        "prefix_caching": True,
        "cache_state": "cold",
        "engine": {"dtype": "float32", "n": [1, 2]},
    }
    assert Spec.from_dict(mapping) == Spec(
        batch_size=(4,), prefix_caching=("on",), cache_state=("cold",), engine={"dtype": ["float32"], "n": [1, 2]}
    )


def test_booleans_are_words_for_prefix_caching() -> None:
    assert Spec.from_dict({"prefix_caching": [False, True]}).prefix_caching == ("off", "on")
    assert Spec.from_dict({"prefix_caching": False}).prefix_caching == ("off",)


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"batchsize": 4}, "unknown key 'batchsize' in the spec; did you mean 'batch_size'?"),
        ({"Repeat": 4}, "unknown key 'Repeat' in the spec; did you mean 'repeats'?"),
        ({"zzz": 4}, "unknown key 'zzz' in the spec"),
        ({"batch_size": ["8"]}, "batch_size takes whole numbers, not '8'"),
        ({"batch_size": True}, "batch_size takes whole numbers, not True"),
        ({"block_size": [16.0]}, "block_size takes whole numbers, not 16.0"),
        ({"batch_size": [4, 0]}, "batch_size must be 1 or more, not 0"),
        ({"repeats": 1.5}, "repeats must be a whole number, not 1.5"),
        ({"seed": False}, "seed must be a whole number, not False"),
        ({"starts": "2"}, "starts must be a whole number, not '2'"),
        ({"repeats": 0}, "repeats must be 1 or more, not 0"),
        ({"starts": 0}, "starts must be 1 or more, not 0"),
        ({"output_len": -1}, "output_len must be 1 or more, not -1"),
        ({"input_len": 0}, "input_len must be 1 or more, not 0"),
        ({"temperature": [0.8, -1]}, "temperature takes numbers, 0 or more, not -1"),
        ({"temperature": "hot"}, "temperature takes numbers, 0 or more, not 'hot'"),
        ({"temperature": [0, 0.0]}, "temperature names a value twice: 0.0, 0.0"),
        ({"model": 7}, "model must be text, not 7"),
        ({"prefix_caching": "maybe"}, "prefix_caching is one of off, on, not 'maybe'"),
        ({"cache_state": ["cold", "hot"]}, "cache_state is one of cold, warm, not 'hot'"),
        ({"batch_size": [8, 4, 8]}, "batch_size names a value twice: 8, 4, 8"),
        ({"prefix_caching": ["on", True]}, "prefix_caching names a value twice: on, on"),
        ({"engine": "dtype"}, "[engine] must be a table of engine arguments, not 'dtype'"),
        ({"engine": {"block_size": 16}}, "--engine block_size is set by --block-size"),
        ({"engine": {"enable_prefix_caching": True}}, "--engine enable_prefix_caching is set by --prefix-caching"),
    ],
)
def test_refused(mapping: dict[str, Any], line: str) -> None:
    assert refusal(Spec.from_dict, mapping) == line


@pytest.mark.parametrize("key", OWNED)
def test_what_the_sweep_sets_is_no_engine_argument(key: str) -> None:
    assert refusal(Spec.from_dict, {"engine": {key: 1}}) == f"--engine {key} is set by {OWNED[key]}"


@pytest.mark.parametrize(
    "mapping", [{"engine": {"max_num_seqs": [8, 8]}}, {"engine": {"max_num_seqs": []}}, {"prefix_caching": []}]
)
def test_an_axis_without_values_or_with_one_twice_is_refused(mapping: dict[str, Any]) -> None:
    """Twice the same value would be two arms of one id, none would be no arm at all."""
    line = refusal(Spec.from_dict, mapping)
    assert line.startswith(
        ("max_num_seqs names a value twice: 8, 8", "max_num_seqs names no value", "prefix_caching names no")
    )


def distinct(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=3, unique=True)


SIZES = distinct(st.integers(1, 4096))
ENGINE_VALUES = st.one_of(st.text(max_size=5), st.integers(), st.none(), st.just({"method": "ngram"}), st.just([1, 2]))
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(max_size=8),
        "batch_size": SIZES,
        "block_size": SIZES,
        "prefix_caching": distinct(st.sampled_from(["off", "on"])),
        "cache_state": distinct(st.sampled_from(["cold", "warm"])),
        "input_len": SIZES,
        "shared_prefix_len": distinct(st.integers(0, 9999)),
        "temperature": distinct(st.floats(0, 2)),
        "repeats": st.integers(1, 9),
        "seed": st.integers(),
        "engine": st.dictionaries(
            st.sampled_from(["dtype", "max_num_seqs", "speculative_config"]),
            st.lists(ENGINE_VALUES, min_size=1, max_size=3, unique_by=repr),
        ),
    },
)


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_a_spec_survives_json(mapping: dict[str, Any]) -> None:
    spec = Spec.from_dict(mapping)
    assert Spec.from_dict(spec.as_dict()) == spec
    assert {name: spec.as_dict()[name] for name in mapping} == mapping


@pytest.mark.parametrize(
    ("typed", "engine"),
    [
        (["dtype=float32"], {"dtype": ["float32"]}),
        (["max-num-seqs=8,16"], {"max_num_seqs": ["8", "16"]}),
        (["a=1", "b=x=y"], {"a": ["1"], "b": ["x=y"]}),
        (['c={"method":"ngram","n":3}'], {"c": [{"method": "ngram", "n": 3}]}),
        (["c=[1,2]"], {"c": [[1, 2]]}),
        ([], {}),
    ],
)
def test_engine_words(typed: list[str], engine: dict[str, list[Any]]) -> None:
    assert parse_engine(typed) == engine


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["dtype"], "--engine takes KEY=VALUE[,VALUE…], not 'dtype'"),
        (["=1"], "--engine takes KEY=VALUE[,VALUE…], not '=1'"),
        (["dtype="], "--engine takes KEY=VALUE[,VALUE…], not 'dtype='"),
        (["a=1", "a=2"], "--engine names a twice; write --engine a=V1,V2 for an axis"),
        (["max-seqs=1", "max_seqs=2"], "--engine names max_seqs twice; write --engine max_seqs=V1,V2 for an axis"),
    ],
)
def test_engine_words_refused(typed: list[str], line: str) -> None:
    assert refusal(parse_engine, typed) == line


def test_engine_json_with_a_mistake_says_where() -> None:
    assert refusal(parse_engine, ['c={"n":}']) == "--engine c: not JSON: Expecting value: line 1 column 6 (char 5)"


def test_numbers_and_words_with_commas() -> None:
    assert integers("1,4, 8") == [1, 4, 8]
    assert numbers("0,0.8") == [0.0, 0.8]
    assert words("off, on") == ["off", "on"]
    with pytest.raises(argparse.ArgumentTypeError, match="whole numbers with commas between them, not '1,x'"):
        integers("1,x")
    with pytest.raises(argparse.ArgumentTypeError, match="expected numbers with commas between them, not '0,hot'"):
        numbers("0,hot")


def test_a_spec_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing, broken = tmp_path / "none.toml", tmp_path / "broken.toml"
    assert refusal(read_toml, str(missing)) == f"cannot read the spec {missing}: No such file or directory"
    broken.write_text("batch_size = [1, 4")
    assert refusal(read_toml, str(broken)).startswith(f"{broken} is not TOML: Unclosed array")


def test_a_spec_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "weights.toml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert refusal(read_toml, str(path)).startswith(f"{path} is not TOML")


def merged(tmp_path: Path, toml: str, *flags: str) -> dict[str, Any]:
    """What a sweep with this spec file and these flags is asked for."""
    path = tmp_path / "spec.toml"
    path.write_text(toml)
    return spec_values(command_parser().parse_args(["--spec", str(path), *flags]))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    toml = """
batch_size = [1, 4]
repeats = 5
[engine]
dtype = "bfloat16"
max_num_seqs = 8
"""
    flags = ["--batch-size", "2,16", "--prefix-caching", "on", "--engine", "dtype=float32", "--engine", "seed=1,2"]
    assert merged(tmp_path, toml, *flags) == {
        "batch_size": [2, 16],
        "repeats": 5,
        "prefix_caching": ["on"],
        "engine": {"dtype": ["float32"], "max_num_seqs": 8, "seed": ["1", "2"]},
    }
    assert merged(tmp_path, "repeats = 5") == {"repeats": 5}


def test_without_a_file_only_what_was_said() -> None:
    assert spec_values(command_parser().parse_args([])) == {}
    assert spec_values(command_parser().parse_args(["--seed", "7", "--model", "m"])) == {"seed": 7, "model": "m"}


def test_an_engine_key_in_the_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    assert refusal(Spec.from_dict, merged(tmp_path, "engine = 5")) == (
        "[engine] must be a table of engine arguments, not 5"
    )
    assert "engine" in refusal(merged, tmp_path, "engine = 5", "--engine", "dtype=float32")
