"""Identity, records, folders of records and the frame: strict, atomic, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import MACHINE, OTHER_MACHINE, cost, run, spec

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import load_results
from creditbench.suite.record import Point, Record, from_json, to_json
from creditbench.suite.specification import Spec, canonical_json, format_label, parse_label, parse_value
from creditbench.suite.store import Store, read, replacing

words = st.from_regex(r"[a-z][a-z_-]{0,12}", fullmatch=True).filter(
    lambda word: isinstance(parse_value(word), str)
)
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.integers(-(10**9), 10**9), finite, st.booleans(), st.none(), words)
options = st.dictionaries(words, values, max_size=4)
specs = st.builds(
    Spec,
    task=st.text(max_size=20), task_version=st.integers(1, 9), network=st.text(max_size=20),
    rule=st.text(max_size=20), seed=st.integers(0, 10**6), learning_rate=st.none() | finite,
    epochs=st.integers(1, 1000), train_samples=st.none() | st.integers(1, 10**6),
    augmentation=st.none() | st.text(max_size=9), network_choices=options, hyperparameters=options,
)  # fmt: skip


def reordered(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: reordered(data[name]) if isinstance(data[name], Mapping) else data[name]
        for name in reversed(data)
    }


# ------------------------------------------------------------------------------ labels and specs


@given(words, options)
def test_a_label_reads_back_as_it_was_written(name: str, chosen: dict[str, Any]) -> None:
    assert parse_label(format_label(name, chosen)) == (name, chosen)


@given(st.text(max_size=30))
def test_a_label_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    try:
        name, chosen = parse_label(text)
    except CreditbenchError:
        return
    canonical_json(chosen)  # whatever is let through can be part of an identity
    assert name


def test_a_path_keeps_its_own_colon() -> None:
    assert parse_label("dir/my_net.py:net:width=64") == ("dir/my_net.py:net", {"width": 64})


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "Infinity"])
def test_no_option_is_a_number_that_json_lacks(text: str) -> None:
    assert parse_value(text) == text


@given(specs)
def test_a_spec_survives_strict_json(one: Spec) -> None:
    text = canonical_json(one.as_dict())
    again = Spec.from_dict(json.loads(text, parse_constant=pytest.fail))
    assert again == one
    assert (again.key, again.cell) == (one.key, one.cell)


@given(specs)
def test_the_key_does_not_depend_on_the_order_of_fields(one: Spec) -> None:
    assert Spec.from_dict(reordered(one.as_dict())).key == one.key


@given(specs, st.integers(0, 10**6))
def test_seeds_share_a_cell_and_nothing_else_does(one: Spec, seed: int) -> None:
    other = one.with_seed(seed)
    assert other.cell == one.cell
    assert (other.key == one.key) == (seed == one.seed)
    assert dataclasses.replace(one, epochs=one.epochs + 1).cell != one.cell


def test_a_known_spec_keeps_its_key_for_good() -> None:
    # SHA-256 of the canonical JSON, worked out with sha256sum: a change here orphans every record
    assert spec().key == "0d2b52edc516"


def test_a_whole_learning_rate_is_the_same_as_a_float() -> None:
    assert spec(learning_rate=1).key == spec(learning_rate=1.0).key


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "unknown fields: \\['colour'\\]"),
        ({"seed": "../../x"}, "'seed' is '../../x', not int"),
        ({"seed": True}, "'seed' is True"),
        ({"epochs": 1.5}, "'epochs' is 1.5"),
        ({"task": 3}, "'task' is 3"),
        ({"hyperparameters": []}, "'hyperparameters' is \\[\\]"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'"),
    ],
)
def test_a_spec_of_strange_fields_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CreditbenchError, match=complaint):
        Spec.from_dict(spec().as_dict() | change)


def test_a_spec_that_lacks_a_field_is_refused() -> None:
    data = spec().as_dict()
    del data["task"]
    with pytest.raises(CreditbenchError, match="incomplete.*task"):
        Spec.from_dict(data)


# ------------------------------------------------------------------------------ records


def full_run() -> Record:
    points = (Point(1, 0.5, 1.0, 0.1), Point(2, None, None, 0.2))
    return dataclasses.replace(run(0.9), curve=points, digest={"loss": [1.0, 0.5]}, best_epoch=2)


@pytest.mark.parametrize("record", [full_run(), run(None, "failed", reason="é <b> \u202e"), cost()])
def test_a_record_survives_strict_json(record: Record) -> None:
    text = to_json(record)
    json.loads(text, parse_constant=pytest.fail)
    assert from_json(text, "here") == record


@given(specs, st.one_of(st.none(), finite), st.text())
def test_any_run_survives_strict_json(one: Spec, score: float | None, reason: str) -> None:
    record = dataclasses.replace(run(score), spec=one, reason=reason)
    assert from_json(to_json(record), "here") == record


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_written_as_null(value: float) -> None:
    data = json.loads(to_json(run(value)), parse_constant=pytest.fail)
    assert data["score"] is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"score": 0.9', '"score": NaN', "NaN is not JSON"),
        ('"score": 0.9', '"score": 1e999', "'score' is inf"),
        ('"score": 0.9', '"score": "good"', "'score' is 'good'"),
        ('"score": 0.9', '"score": true', "'score' is True"),
        ('"score": 0.9', '"score": 0.9, "colour": "red"', "colour"),
        ('"epochs": 40', '"epochs": 50', "edited by hand"),
        ('"seed": 0', '"seed": 1', "edited by hand"),
        ('"status": "ok"', '"status": "great"', "'great' is none of ok"),
        ('"schema": 1', '"schema": 99', "its schema is 99"),
        ('"kind": "run"', '"kind": "song"', "its kind is 'song'"),
        ('"reason": null', '"reason": ["a"]', "'reason' is"),
        ('"fingerprint": "ffffffffffff"', '"fingerprint": 7', "'fingerprint' is 7"),
        ('"validation_score": 0.5', '"validation_score": "x"', "'validation_score' is 'x'"),
    ],
)
def test_an_altered_record_is_refused_with_a_sentence(old: str, new: str, complaint: str) -> None:
    text = to_json(full_run())
    assert text.count(old) >= 1
    with pytest.raises(CreditbenchError, match=complaint) as caught:
        from_json(text.replace(old, new), "seed-0.json")
    assert str(caught.value).startswith("seed-0.json is not a readable record: ")
    assert "Delete it or restore it" in str(caught.value)


@pytest.mark.parametrize("part", ["key", "spec", "kind", "schema", "curve", "status"])
def test_a_record_that_lacks_a_part_is_refused(part: str) -> None:
    data = json.loads(to_json(full_run()))
    del data[part]
    with pytest.raises(CreditbenchError, match=part):
        from_json(json.dumps(data), "here")


@given(st.integers(0, 10**6))
def test_a_truncated_record_is_refused_wherever_it_ends(where: int) -> None:
    text = to_json(full_run())
    with pytest.raises(CreditbenchError, match="not a readable record"):
        from_json(text[: where % (len(text) - 2)], "here")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"run"', "[" * 100_000, "{}", "\x00"])
def test_what_is_no_record_at_all_is_refused(text: str) -> None:
    with pytest.raises(CreditbenchError, match="here is not a readable record"):
        from_json(text, "here")


# ------------------------------------------------------------------------------ the store


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_is_put_is_what_is_got(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.put(run(0.9), {"last": np.array([1, 2, 3])})
    store.put(cost())
    one = spec()
    assert path == tmp_path / "digits" / "mlp" / "bp" / f"seed-0-{one.key}.json"
    assert store.get(one) == run(0.9)
    assert store.get_cost(one, MACHINE) == cost()
    assert store.get(one.with_seed(1)) is store.get_cost(one, OTHER_MACHINE) is None
    with np.load(path.with_suffix(".npz")) as arrays:
        assert arrays["last"].tolist() == [1, 2, 3]
    assert list(store.records()) == [cost(), run(0.9)]


def test_hyperparameters_that_json_changes_are_still_found(tmp_path: Path) -> None:
    one = run(0.9, hyperparameters={"sizes": (1, 2)})
    Store(tmp_path).put(one)
    found = Store(tmp_path).get(one.spec)
    assert found is not None
    assert found.score == 0.9


def test_a_replaced_record_is_moved_and_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for score in (0.7, 0.8, 0.9):
        store.put(run(score), {"last": np.array([score])})
    assert store.get(spec()) == run(0.9)
    attic = tmp_path / "superseded" / "digits" / "mlp" / "bp"
    old = sorted(attic.glob("*.json"))
    assert [read(path) for path in old] == [run(0.7), run(0.8)]
    for path, score in zip(old, (0.7, 0.8), strict=True):
        with np.load(path.with_suffix(".npz")) as arrays:
            assert arrays["last"].tolist() == [score]
    assert list(store.records()) == [run(0.9)]


def test_a_moved_record_never_lands_on_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for score in (0.6, 0.7, 0.8):
        store.put(run(score))
    attic = tmp_path / "superseded" / "digits" / "mlp" / "bp"
    next(attic.glob("*.0.json")).unlink()
    store.put(run(0.9))
    assert sorted(r.score for r in map(read, attic.glob("*.json")) if r) == [0.7, 0.8]  # type: ignore[union-attr]


def test_a_writer_that_fails_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    with replacing(path) as file:
        file.write(b"whole")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"par")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"whole"
    assert files(tmp_path) == ["deep/file.json"]


def test_a_full_disk_is_a_sentence_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CreditbenchError, match="No space left on device"):
        Store(tmp_path).put(run(0.9), {"last": np.zeros(3)})
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with pytest.raises(CreditbenchError, match="choose another --results folder"):
        store.put(run(0.9))


def test_a_note_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).put(run(0.9))

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(CreditbenchError, match="Permission denied"):
        Store(tmp_path).revalidate(spec(), "a" * 12, 0.0)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", ".", "a/b", "a\\b", "", "\x00", "x\n", "é"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "inside")
    one = run(0.9, rule=name, task=name, network=name)
    made = cost(1e-3, name, machine=name, task=name, network=name)
    for record in (one, made):
        path = store.put(record)
        assert path.resolve().is_relative_to((tmp_path / "inside").resolve())
        assert len(path.relative_to(tmp_path / "inside").parts) == 4
    assert store.get(one.spec) == one
    assert store.get_cost(one.spec, name) == made
    assert {type(record) for record in store.records()} == {type(one), type(made)}
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_a_note_makes_a_run_valid_for_its_fingerprint_only(tmp_path: Path) -> None:
    store, one = Store(tmp_path), run(0.9)
    store.put(one)
    assert store.is_valid(one, one.fingerprint)
    assert not store.is_valid(one, "a" * 12)
    store.revalidate(one.spec, "a" * 12, 1e-6)
    assert store.is_valid(one, "a" * 12)
    assert not store.is_valid(one, "b" * 12)
    assert not store.is_valid(run(0.9, seed=1), "a" * 12)
    assert list(store.records()) == [one]  # the note is no record


def test_a_note_says_nothing_about_the_run_that_comes_after(tmp_path: Path) -> None:
    store, one = Store(tmp_path), run(0.9)
    store.put(one)
    store.revalidate(one.spec, "a" * 12, 1e-6)
    newer = dataclasses.replace(one, score=0.8, fingerprint="c" * 12)
    store.put(newer)
    assert not store.is_valid(newer, "a" * 12)


def test_a_note_says_nothing_about_a_run_that_was_copied_over(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.put(run(0.9))
    here.revalidate(spec(), "a" * 12, 1e-6)
    other = dataclasses.replace(run(0.8), fingerprint="c" * 12)
    there.put(other)
    shutil.copytree(there.folder, here.folder, dirs_exist_ok=True)
    assert here.get(spec()) == other
    assert not here.is_valid(other, "a" * 12)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "\x80"])
def test_a_broken_note_is_no_note(tmp_path: Path, text: str) -> None:
    store, one = Store(tmp_path), run(0.9)
    path = store.put(one)
    path.with_suffix(f".same-{'a' * 12}.json").write_text(text, encoding="latin-1")
    assert not store.is_valid(one, "a" * 12)


def test_there_is_no_note_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CreditbenchError, match="no run to revalidate"):
        Store(tmp_path).revalidate(spec(), "a" * 12, 0.0)


def test_a_record_under_another_ones_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shutil.copy(store.put(run(0.9)), store.run_path(spec(seed=1)))
    with pytest.raises(CreditbenchError, match="holds another run"):
        store.get(spec(seed=1))


def test_folders_merge_by_copying(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.put(run(0.9))
    one.put(cost())
    two.put(run(0.8, rule="dfa"))
    two.put(cost(2e-3, machine=OTHER_MACHINE))
    shutil.copytree(one.folder, two.folder, dirs_exist_ok=True)
    expected = [cost(), cost(2e-3, machine=OTHER_MACHINE), run(0.9), run(0.8, rule="dfa")]
    assert sorted(map(to_json, two.records())) == sorted(map(to_json, expected))


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(run(0.9))
    (tmp_path / "notes.json").write_text("mine")
    (tmp_path / "leaderboard.html").write_text("<html>")
    assert list(store.records()) == [run(0.9)]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = Store(tmp_path).put(run(0.9))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CreditbenchError, match=path.name):
        load_results(tmp_path)


# ------------------------------------------------------------------------------ the frame


def test_the_frame_has_a_row_per_seed_with_its_cost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for record in (run(0.9, seed=1), run(0.8, seed=0), cost(2e-3), run(0.7, rule="dfa")):
        store.put(record)
    frame = load_results(tmp_path)
    assert frame[["rule", "seed", "score"]].values.tolist() == [
        ["bp", 0, 0.8],
        ["bp", 1, 0.9],
        ["dfa", 0, 0.7],
    ]
    assert frame["step_seconds"].tolist()[:2] == [2e-3, 2e-3]
    assert frame.loc[2, ["step_seconds", "peak_bytes", "cost_machine", "bp_step_seconds"]].isna().all()
    assert frame["peak_bytes"].dtype == "Int64"
    assert frame["key"].tolist() == [spec(seed=0).key, spec(seed=1).key, spec("dfa").key]


def test_the_cost_of_the_machine_that_trained_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for record in (run(0.9, machine=OTHER_MACHINE), cost(1e-3), cost(5e-3, machine=OTHER_MACHINE)):
        store.put(record)
    row = load_results(tmp_path).iloc[0]
    assert (row["machine"], row["cost_machine"], row["step_seconds"]) == (OTHER_MACHINE, OTHER_MACHINE, 5e-3)


def test_a_frame_of_nothing_has_all_its_columns(tmp_path: Path) -> None:
    empty = load_results(tmp_path)
    Store(tmp_path).put(run(0.9))
    assert empty.empty
    assert list(empty.columns) == list(load_results(tmp_path).columns)


def test_strange_provenance_is_shown_as_text(tmp_path: Path) -> None:
    one = dataclasses.replace(run(0.9), provenance={"machine": ["a"], "device": {"b": 1}})
    Store(tmp_path).put(one)
    row = load_results(tmp_path).iloc[0]
    assert (row["machine"], row["device"]) == ("['a']", "{'b': 1}")
    assert pd.isna(row["recipe"])
