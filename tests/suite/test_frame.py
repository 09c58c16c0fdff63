"""Records as a table: one row per trained seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
from records import OTHER_MACHINE, cost, run, spec

from creditbench.suite.frame import load_results
from creditbench.suite.store import Store


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


def test_times_taken_in_company_stand_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path)
    beside = dataclasses.replace(run(0.9), provenance={**run(0.9).provenance, "company": 1})
    for record in (beside, cost(2e-3, alone=False), run(0.7, rule="dfa"), cost(3e-3, "dfa")):
        store.put(record)
    frame = load_results(tmp_path).set_index("rule")
    assert frame.loc["bp", ["step_seconds", "inference_seconds_per_sample"]].isna().all()
    assert frame.loc["bp", "peak_bytes"] == 1_850_000  # what needs no clock stays
    assert frame.loc["dfa", "step_seconds"] == 3e-3
    assert pd.isna(frame.loc["dfa", "bp_step_seconds"])
