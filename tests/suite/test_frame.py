"""Records as a table: one row per trained seed."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from records import OTHER_MACHINE, cost, run, spec

from creditbench.suite.frame import load_results
from creditbench.suite.record import Point
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


# ------------------------------------------------------------------------- costs and learning curves

STEP = {"forward": {"macs": 100.0}, "credit": {"macs": 150.0, "adds": 10.0}, "update": {"multiplies": 20.0}}


def test_energy_is_the_counts_times_the_table(tmp_path: Path) -> None:
    """cmos45-fp32: a multiplication 3.7 pJ, an addition 0.9 pJ (Horowitz, ISSCC 2014)."""
    store = Store(tmp_path)
    store.put(run(0.9))
    store.put(cost(operations={**STEP, "inference": {"macs": 100.0}}))
    row = load_results(tmp_path).iloc[0]
    assert row["forward_energy_pj"] == pytest.approx(100 * 4.6)
    assert row["credit_energy_pj"] == pytest.approx(150 * 4.6 + 10 * 0.9)
    assert row["update_energy_pj"] == pytest.approx(20 * 3.7)
    parts = ("forward_energy_pj", "credit_energy_pj", "update_energy_pj")
    assert row["train_energy_pj"] == pytest.approx(sum(row[part] for part in parts))
    assert row["inference_energy_pj"] == pytest.approx(460.0)
    assert row["train_adds_per_sample"] == 10
    assert row["credit_macs_per_sample"] == 150


def test_an_operation_without_a_price_leaves_no_energy(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(run(0.9))
    store.put(cost(operations={**STEP, "inference": {"macs": 100.0}}, uncounted_operations={"svd": 5}))
    row = load_results(tmp_path).iloc[0]
    assert pd.isna(row["train_energy_pj"])
    assert row["energy_table"] == "cmos45-fp32"
    assert row["train_adds_per_sample"] == 10


def test_a_cost_without_phases_has_no_energy_and_no_zeros(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(run(0.9))
    store.put(cost())
    row = load_results(tmp_path).iloc[0]
    for name in ("train_energy_pj", "train_adds_per_sample", "peak_activations_bytes", "energy_table"):
        assert pd.isna(row[name]), name


def test_the_way_to_the_target_is_read_off_the_curve(tmp_path: Path) -> None:
    """Validation 0.5, 0.8, 0.7, 0.9 against 0.75: the second epoch of four, so half of the 400 steps."""
    scores = (0.5, 0.8, 0.7, 0.9)
    curve = tuple(Point(epoch, score, 1.0, 2.5 * epoch) for epoch, score in enumerate(scores, 1))
    trained = replace(run(0.9, epochs=4, batch_size=10), curve=curve, steps=400, target_score=0.75)
    store = Store(tmp_path)
    store.put(trained)
    store.put(cost(epochs=4, batch_size=10, operations={**STEP, "inference": {"macs": 1.0}}))
    row = load_results(tmp_path).iloc[0]
    assert (row["epochs_to_target"], row["steps_to_target"], row["seconds_to_target"]) == (2, 200, 5.0)
    assert row["energy_to_target_pj"] == pytest.approx(200 * 10 * row["train_energy_pj"])
    store.put(replace(trained, target_score=0.95))
    row = load_results(tmp_path).iloc[0]
    assert pd.isna(row["epochs_to_target"])
    assert pd.isna(row["energy_to_target_pj"])
    lower = replace(trained, higher_is_better=False, target_score=0.75)  # as for an error
    store.put(lower)
    assert load_results(tmp_path).iloc[0]["epochs_to_target"] == 1


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
