"""From records to rows: every cell keeps its row, and no number stands for what was not measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from records import MACHINE, OTHER_MACHINE, cost, run

from creditbench.reports.leaderboard import BoardRow, board
from creditbench.suite.frame import load_results
from creditbench.suite.record import Record
from creditbench.suite.store import Store


def board_of(folder: Path, records: Sequence[Record]) -> list[BoardRow]:
    store = Store(folder)
    for record in records:
        store.put(record)
    return board(load_results(folder))


def test_the_score_is_the_mean_and_sample_deviation_worked_out_by_hand(tmp_path: Path) -> None:
    # mean of 0.90, 0.92, 0.97 is 0.93; squares of the distances: 9e-4 + 1e-4 + 16e-4 = 26e-4, over n - 1
    (row,) = board_of(tmp_path, [run(s, seed=n) for n, s in enumerate([0.90, 0.92, 0.97])])
    assert row.score == pytest.approx(0.93)
    assert row.score_std == pytest.approx((26e-4 / 2) ** 0.5)
    assert row.scores == (0.90, 0.92, 0.97)
    assert not row.few


def test_a_failed_seed_is_named_and_left_out_of_the_mean(tmp_path: Path) -> None:
    bad = run(None, "diverged", seed=2, reason="weights no longer finite")
    (row,) = board_of(tmp_path, [run(0.8, seed=0), run(0.9, seed=1), bad])
    assert row.score == pytest.approx(0.85)
    assert row.status == "2 of 3 ok, 1 diverged"
    assert row.reasons == ("seed 2: weights no longer finite",)
    assert row.seeds == (0, 1, 2)


def test_a_score_that_a_failed_seed_carries_is_not_averaged(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, [run(0.8, seed=0), run(0.1, "timeout", seed=1, reason="late")])
    assert row.scores == (0.8,)
    assert row.score == pytest.approx(0.8)


@pytest.mark.parametrize("status", ["skipped", "diverged", "failed", "timeout", "out-of-memory"])
def test_a_cell_without_any_ok_seed_keeps_its_row(tmp_path: Path, status: str) -> None:
    lost = [run(None, status, rule="dfa", seed=n, reason="why") for n in range(3)]  # type: ignore[arg-type]
    good, row = board_of(tmp_path, [run(0.5), *lost])
    assert good.rule == "bp"
    assert (row.status, row.reasons, row.score, row.scores) == (status, ("why",), None, ())


def test_fewer_than_three_seeds_are_marked_and_one_has_no_deviation(tmp_path: Path) -> None:
    records = [run(0.9, seed=0), run(0.8, rule="fa", seed=0), run(0.8, rule="fa", seed=1)]
    one, two = board_of(tmp_path, records)
    assert one.few
    assert two.few
    assert one.score_std is None
    assert two.score_std == pytest.approx(0.0)


def test_a_cell_without_a_cost_has_none_and_not_zero(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, [run(0.9)])
    assert row.step_seconds is row.step_ratio is row.peak_bytes is row.train_macs is None
    assert row.inference_macs is row.parameters is row.learned_parameters is None


def test_the_ratio_is_to_the_step_of_bp_on_the_same_machine(tmp_path: Path) -> None:
    records: list[Record] = [run(0.9), cost(2e-3), run(0.8, rule="dfa"), cost(3e-3, "dfa")]
    bp, dfa = board_of(tmp_path, records)
    assert bp.step_ratio == pytest.approx(1.0)
    assert dfa.step_ratio == pytest.approx(1.5)
    assert dfa.step_seconds == pytest.approx(3e-3)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [cost(1e-3, machine=OTHER_MACHINE)],
        [cost(1e-3, network="conv")],
        [cost(1e-3, task="mnist")],
        [cost(1e-3, task_version=2)],
        [cost(1e-3, batch_size=32)],
    ],
)
def test_there_is_no_ratio_to_a_bp_measured_elsewhere_or_on_something_else(
    tmp_path: Path, other: list[Record]
) -> None:
    rows = board_of(tmp_path, [run(0.8, rule="dfa"), cost(3e-3, "dfa"), *other])
    assert [row.step_ratio for row in rows] == [None]


def test_the_ratio_needs_no_row_of_bp_on_the_board(tmp_path: Path) -> None:
    board_of(tmp_path, [run(0.9), cost(2e-3), run(0.8, rule="dfa"), cost(3e-3, "dfa")])
    frame = load_results(tmp_path)
    (row,) = board(frame[frame["rule"] == "dfa"])
    assert row.step_ratio == pytest.approx(1.5)


def test_the_ratio_is_to_the_bp_of_the_own_budget_where_there_are_several(tmp_path: Path) -> None:
    records: list[Record] = [run(0.8, rule="dfa", epochs=10), cost(3e-3, "dfa", epochs=10)]
    records += [cost(seconds, epochs=epochs) for epochs, seconds in ((5, 9e-3), (10, 1e-3), (20, 9e-3))]
    (row,) = board_of(tmp_path, records)
    assert row.step_ratio == pytest.approx(3.0)


def test_a_cost_from_another_machine_says_whose_it_is(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, [run(0.9, machine=MACHINE), cost(2e-3, machine=OTHER_MACHINE)])
    assert row.cost_machine == OTHER_MACHINE
    assert row.cost_device is not None
    assert OTHER_MACHINE in row.cost_device


def test_rows_go_by_task_and_network_and_then_by_falling_score_failed_last(tmp_path: Path) -> None:
    records = [
        run(0.7, rule="a"),
        run(0.9, rule="b"),
        run(None, "failed", rule="c", reason="why"),
        run(0.8, rule="d", network="conv"),
        run(0.6, rule="e", task="cifar10"),
    ]
    rows = board_of(tmp_path, records)
    assert [row.rule for row in rows] == ["e", "d", "b", "a", "c"]


def test_the_order_of_files_and_of_rows_in_the_frame_does_not_matter(tmp_path: Path) -> None:
    records: list[Record] = [run(0.9, rule=rule, seed=n) for rule in "abc" for n in range(3)]
    records += [cost(1e-3, rule) for rule in "abc"]
    forth = board_of(tmp_path / "forth", records)
    back = board_of(tmp_path / "back", records[::-1])
    frame = load_results(tmp_path / "forth")
    assert forth == back == board(frame.iloc[::-1]) == board(frame.sample(frac=1, random_state=1))
    assert [row.rule for row in forth] == ["a", "b", "c"]  # equal scores: by name


def test_cells_of_one_rule_say_what_differs_and_only_that(tmp_path: Path) -> None:
    records = [
        run(0.9, rule="dfa", hyperparameters={"scale": 2.0, "bias": True}),
        run(0.8, rule="dfa", hyperparameters={"bias": True}),
        run(0.7, rule="dfa", hyperparameters={"bias": True}, learning_rate=0.1),
        run(0.6, rule="fa"),
    ]
    variants = {row.score: row.variant for row in board_of(tmp_path, records)}
    assert variants == {
        0.9: "lr 0.003, scale 2.0",
        0.8: "lr 0.003, scale default",
        0.7: "lr 0.1, scale default",
        0.6: "",
    }


def test_a_budget_that_not_all_rows_of_a_table_share_is_said_in_every_row(tmp_path: Path) -> None:
    records = [run(0.9, epochs=10), run(0.8, rule="slow", epochs=10, train_samples=10_000)]
    bp, slow = board_of(tmp_path, records)
    assert bp.variant == "all training samples"
    assert slow.variant == "10,000 samples"
    assert bp.budget == slow.budget == "10 epochs, batch 128, linear schedule, protocol 1"


def test_versions_of_a_task_are_never_in_one_table(tmp_path: Path) -> None:
    from creditbench.reports.board import tables

    rows = board_of(tmp_path, [run(0.9), run(0.95, rule="dfa", task_version=2)])
    assert [[row.rule for row in table] for table in tables(rows)] == [["bp"], ["dfa"]]


def test_a_run_that_lies_in_two_folders_counts_once(tmp_path: Path) -> None:
    Store(tmp_path / "one").put(run(0.8, finished="2026-01-01T00:00:00+00:00"))
    Store(tmp_path / "two").put(run(0.9, finished="2026-01-02T00:00:00+00:00"))
    (row,) = board(load_results(tmp_path))
    assert row.scores == (0.9,)


def test_tracks_stand_in_tables_of_their_own_whatever_their_scores(tmp_path: Path) -> None:
    from creditbench.reports.board import tables

    rows = board_of(
        tmp_path,
        [
            run(0.7),
            run(0.99, rule="own", recipe="default"),
            run(0.8, rule="dfa"),
            run(0.9, rule="fa", recipe="published"),
            run(0.95, rule="bp", recipe="by-hand", learning_rate=0.1),
        ],
    )
    found = [(table[0].track, [row.rule for row in table]) for table in tables(rows)]
    assert found == [
        ("tuned", ["dfa", "bp"]), ("published", ["fa"]), ("by-hand", ["bp"]), ("default", ["own"])
    ]  # fmt: skip


def test_a_cell_of_which_one_seed_ran_untuned_is_not_in_the_tuned_track(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, [run(0.9), run(0.8, seed=1, recipe="default")])
    assert row.track == "default"


def test_macs_with_uncounted_operations_are_a_lower_bound(tmp_path: Path) -> None:
    some = cost(1e-3, "dfa", uncounted_operations={"_cdist_forward": 2})
    rows = board_of(tmp_path, [run(0.9), cost(), run(0.8, rule="dfa"), some])
    assert [row.macs_complete for row in rows] == [True, False]


def test_folders_merge_into_one_board_by_copying(tmp_path: Path) -> None:
    board_of(tmp_path / "a", [run(0.9), cost()])
    board_of(tmp_path / "b", [run(0.8, rule="dfa"), cost(2e-3, "dfa")])
    shutil.copytree(tmp_path / "a", tmp_path / "b", dirs_exist_ok=True)
    rows = board(load_results(tmp_path / "b"))
    assert [(row.rule, row.step_ratio) for row in rows] == [("bp", 1.0), ("dfa", pytest.approx(2.0))]


def test_an_empty_frame_is_an_empty_board(tmp_path: Path) -> None:
    assert board(load_results(tmp_path)) == []
