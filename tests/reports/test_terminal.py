"""The board as text: fixed, aligned, and never a 0 for what is absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from records import OTHER_MACHINE, cost, run

from creditbench.reports.leaderboard import BoardRow, board, terminal
from creditbench.suite.frame import load_results
from creditbench.suite.record import Record
from creditbench.suite.store import Store


def board_of(folder: Path, *records: Record) -> list[BoardRow]:
    store = Store(folder)
    for record in records:
        store.put(record)
    return board(load_results(folder))


@pytest.fixture
def rows(tmp_path: Path) -> list[BoardRow]:
    """bp with everything, fa with two seeds and no cost, dfa failed."""
    good = [run(s, seed=n, validation_score=0.985) for n, s in enumerate([0.981, 0.982, 0.983])]
    return board_of(
        tmp_path, *good, cost(1.25e-3, learned_parameters=12_800),
        run(0.97, rule="fa", seed=0), run(0.96, rule="fa", seed=1),
        run(None, "failed", rule="dfa", reason="it broke"),
    )  # fmt: skip


def line_of(text: str, rule: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"{rule} ")).split()


def test_every_figure_stands_in_its_column(rows: list[BoardRow]) -> None:
    expected = "bp 98.20 ±0.10 98.50 3 1.00 1.25 1.85 254k 85.0k 85.0k+12.8k ok"
    assert line_of(terminal(rows), "bp") == expected.split()


def test_what_was_not_measured_is_a_dash_and_never_zero(rows: list[BoardRow]) -> None:
    expected = "fa 96.50 ±0.71* – 2 – – – – – – ok"
    assert line_of(terminal(rows), "fa") == expected.split()


def test_a_failed_cell_shows_its_status_and_its_reason(rows: list[BoardRow]) -> None:
    text = terminal(rows)
    assert line_of(text, "dfa") == ["dfa", "–", "–", "0/1", *["–"] * 6, "failed"]
    assert "dfa: failed: it broke" in text


def test_the_footnotes_explain_exactly_the_marks_in_use(tmp_path: Path, rows: list[BoardRow]) -> None:
    text = terminal(rows)
    assert "\n* fewer than 3 seeds" in text
    assert "\n– not measured" in text
    assert "Not in these records: memory inside kernels" in text
    assert "†" not in text
    assert "\n> " not in text
    own = board_of(
        tmp_path / "own", run(0.9, rule="own", recipe="default"),
        cost(1e-3, "own", uncounted_operations={"_sparse_mm": 1}),
    )  # fmt: skip
    assert terminal(own).startswith("digits, mlp, default settings: ")
    assert ">254k" in terminal(own)
    assert "\n> lower bound" in terminal(own)


def test_the_text_is_the_same_whatever_the_terminal_says(
    rows: list[BoardRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = terminal(rows)
    for name, value in {
        "COLUMNS": "40", "LINES": "5", "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm-256color",
        "COLORTERM": "truecolor", "JUPYTER_COLUMNS": "30", "TTY_INTERACTIVE": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert terminal(rows) == plain
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal(rows) == plain


@pytest.mark.parametrize("width", [100, 110, 140])
def test_every_line_fits_the_width_and_ends_without_blanks(rows: list[BoardRow], width: int) -> None:
    for line in terminal(rows, width).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


def test_the_text_can_be_printed_on_windows(rows: list[BoardRow]) -> None:
    terminal(rows).encode("cp1252")


def test_a_record_cannot_send_the_terminal_commands(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 [bold]loud[/bold] \u202e\r\n"
    text = terminal(board_of(tmp_path, run(None, "failed", rule=f"evil{evil}", reason=f"because{evil}")))
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "[bold]loud[/bold]" in text  # nor is it markup


def test_times_of_two_machines_are_told_apart(tmp_path: Path) -> None:
    records: list[Record] = [run(0.9), cost(2e-3), run(0.8, rule="dfa", machine=OTHER_MACHINE)]
    text = terminal(board_of(tmp_path, *records, cost(3e-3, "dfa", machine=OTHER_MACHINE)))
    assert line_of(text, "bp")[4:8] == ["1", "1.00", "2.00", "a"]
    assert line_of(text, "dfa")[4:8] == ["1", "–", "3.00", "b"]
    assert "\na timed on Testing Processor" in text
    assert "\nb timed on Testing Processor" in text


def test_an_empty_board_says_so() -> None:
    assert terminal([]) == "No results."


def test_errors_are_told_as_errors_and_the_least_comes_first(tmp_path: Path) -> None:
    told = run(1.25, rule="bp", validation_score=1.5), run(0.5, rule="fa", validation_score=0.75)
    rows = board_of(tmp_path, *(replace(one, metric="mse", higher_is_better=False) for one in told))
    text = terminal(rows)
    assert [row.rule for row in rows] == ["fa", "bp"]
    assert line_of(text, "bp")[1:4] == ["1.250", "±–*", "1.500"]
    assert "MSE" in text.splitlines()[1] + text.splitlines()[2]
    assert "125" not in text
