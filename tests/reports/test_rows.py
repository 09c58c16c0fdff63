"""The rows of a frame as strict JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from records import cost, run

from creditbench.reports.leaderboard import json_rows
from creditbench.suite.frame import load_results
from creditbench.suite.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    store.put(run(0.98, seed=0, train_samples=1000))
    store.put(cost(2e-3, train_samples=1000))
    store.put(run(None, "failed", rule="dfa", seed=1, reason='a "quoted", broken\nreason – <b>'))
    return tmp_path


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_strict_with_one_object_per_seed_and_every_column(folder: Path) -> None:
    rows = strict(json_rows(load_results(folder)))
    frame = load_results(folder)
    assert [list(row) for row in rows] == [list(frame.columns)] * 2
    bp, dfa = rows
    assert bp["score"] == 0.98
    assert dfa["score"] is None
    assert dfa["step_seconds"] is None
    assert dfa["peak_bytes"] is None
    assert dfa["reason"] == 'a "quoted", broken\nreason – <b>'


def test_whole_numbers_stay_whole_in_json(folder: Path) -> None:
    text = json_rows(load_results(folder))
    row = strict(text)[0]
    for name in ("seed", "epochs", "batch_size", "peak_bytes", "parameters", "train_samples", "task_version"):
        assert type(row[name]) is int, name
    assert '"peak_bytes": 1850000,' in text


def test_json_of_no_rows_is_an_empty_list(tmp_path: Path) -> None:
    assert strict(json_rows(load_results(tmp_path))) == []


def test_infinity_is_refused_and_never_written(folder: Path) -> None:
    frame = load_results(folder)
    frame["score"] = float("inf")
    with pytest.raises(ValueError, match="JSON compliant"):
        json_rows(frame)


def test_csv_has_the_same_rows(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(load_results(folder).to_csv(index=False), newline="")))
    assert list(rows[0]) == list(load_results(folder).columns)
    assert [row["score"] for row in rows] == ["0.98", ""]
    assert rows[1]["reason"] == 'a "quoted", broken\nreason – <b>'


def test_reports_never_import_torch() -> None:
    program = (
        "import sys, creditbench.reports.leaderboard as b; b.page([]); b.terminal([]);"
        "import pandas; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
