"""The figure: every seed at its place, every name escaped, every failure in its row."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from records import cost, run

from creditbench.reports.board import BoardRow, board
from creditbench.reports.drawing import NAMES, PLOT, drawing
from creditbench.suite.frame import load_results
from creditbench.suite.record import Record
from creditbench.suite.store import Store


def board_of(folder: Path, records: list[Record]) -> list[BoardRow]:
    for record in records:
        Store(folder).put(record)
    return board(load_results(folder))


def dots(text: str) -> list[float]:
    return [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', text)]


def test_every_seed_is_a_dot_and_better_ones_stand_further_right(tmp_path: Path) -> None:
    rows = board_of(tmp_path, [run(0.90), run(0.92, seed=1), run(0.95, rule="dfa"), run(0.97, "ok", "fa")])
    found = dots(drawing(rows))
    fa, dfa, first, second = found  # rows by falling score, seeds in their order
    assert fa > dfa > second > first
    assert all(NAMES <= x <= NAMES + PLOT for x in found)


def test_steps_are_told_beside_the_scores(tmp_path: Path) -> None:
    text = drawing(board_of(tmp_path, [run(0.9), cost(1e-3), run(0.8, rule="dfa"), cost(2e-3, "dfa")]))
    assert "2.00 × bp" in text


def test_tracks_are_drawn_apart(tmp_path: Path) -> None:
    text = drawing(board_of(tmp_path, [run(0.9), run(0.8, rule="own", recipe="default")]))
    assert text.index("digits, mlp, tuned") < text.index("digits, mlp, default settings")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "x\x1b[31m", "\ud800"])
def test_whatever_a_record_is_called_the_drawing_is_well_formed(name: str, tmp_path: Path) -> None:
    rows = board_of(tmp_path, [run(0.9), run(None, "failed", rule="bad", reason="r")])
    rows = [row if row.rule == "bp" else replace(row, rule=name) for row in rows]
    root = ElementTree.fromstring(drawing(rows).encode(errors="replace"))
    assert {child.tag.rpartition("}")[2] for child in root} <= {"rect", "text", "path", "circle"}
    assert "failed" in "".join(root.itertext())
