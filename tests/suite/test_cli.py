"""A user's session: what is typed, what comes back."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from creditbench.suite.cli import main


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)


def run(*words: str) -> int:
    return main([str(word) for word in words])


def test_a_session_from_run_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "r")
    words = ["--task", "digits", "--rule", "bp", "--rule", "last-layer", "--epochs", "1", "--seeds", "1"]
    assert run("run", *words, "--device", "cpu", "--results", folder) == 0
    out = capsys.readouterr().out
    assert "digits" in out
    assert "last-layer" in out
    page = tmp_path / "r" / "leaderboard.html"
    assert f"Leaderboard: {page}" in out
    assert "<table" in page.read_text()

    assert run("show", folder) == 0
    assert "last-layer" in capsys.readouterr().out
    assert run("show", folder, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["rule"] for row in rows} == {"bp", "last-layer"}
    assert all(0 <= row["score"] <= 1 and row["seed"] == 0 for row in rows)
    assert run("show", folder, "--csv") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["key"] for row in table] == [row["key"] for row in rows]

    site = tmp_path / "site"
    assert run("report", "leaderboard", folder, "--out", str(site)) == 0
    assert f"open {site / 'index.html'}" in capsys.readouterr().out
    (cell,) = [page for page in (site / "cells").iterdir() if "<h1>bp" in page.read_text()]
    assert "creditbench run --task digits --network mlp --rule bp --seeds 1 --epochs 1" in cell.read_text()
    assert run("report", "leaderboard", folder, "--out", folder) == 1
    assert "no site of creditbench" in capsys.readouterr().err


def test_quickstart_can_be_narrowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rule", "last-layer", "--task", "digits", "--seeds", "1", "--epochs", "1"]
    assert run("run", "quickstart", *words, "--results", str(tmp_path)) == 0
    assert "digit-sums" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["tasks", "networks", "rules", "suites"])
def test_lists_have_a_name_and_a_sentence_for_everything(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", what, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 3
    assert all(row["name"] and len(row["summary"]) > 20 for row in rows)
    assert run("list", what) == 0
    assert capsys.readouterr().out.count("\n") == len(rows)


def test_help_and_lists_do_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from creditbench.suite.cli import main\n"
        "for words in (['list', 'rules'], ['list', 'tasks'], ['list', 'suites'], ['list', 'networks']):\n"
        "    assert main(words) == 0\n"
        "heavy = {'torch', 'pandas', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_a_mistake_is_one_sentence_and_a_failing_exit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "--task", "digits", "--rule", "sigprob") == 1
    error = capsys.readouterr().err
    assert error.startswith("creditbench: There is no rule 'sigprob'. Did you mean 'sigprop'?")
    assert error.count("\n") == 1


def test_nothing_to_run_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run") == 1
    assert "name a suite" in capsys.readouterr().err


def test_an_empty_folder_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", str(tmp_path)) == 1
    assert "creditbench run quickstart" in capsys.readouterr().err
    assert run("show", str(tmp_path / "none")) == 1
    assert "There is no folder" in capsys.readouterr().err


def test_a_failed_run_keeps_its_row_and_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom creditbench.suite.types import LearningRule\n"
        "@dataclass(frozen=True)\nclass Bad(LearningRule):\n    name = 'bad'\n    source = 'me'\n"
        "    def step(self, network, batch, state, context):\n"
        "        yield network.blocks[0], {'weight': batch.inputs}\n"
    )
    words = ["--task", "digits", "--rule", f"{path}:Bad", "--rule", "last-layer", "--epochs", "1"]
    assert run("run", *words, "--seeds", "1", "--results", str(tmp_path / "r")) == 1
    captured = capsys.readouterr()
    assert "bad on digits, mlp, seed 0: failed: Rule 'bad' yielded an update of shape" in captured.err
    assert "Traceback" not in captured.err
    assert "bad" in captured.out
    assert "last-layer" in captured.out


def test_an_unreadable_record_is_named_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "digits", "--rule", "last-layer", "--epochs", "1", "--results", str(tmp_path)]
    assert run("run", *words, "--seeds", "2") == 0
    next(tmp_path.rglob("seed-1-*.json")).write_text("{")
    capsys.readouterr()
    assert run("show", str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert "last-layer" in captured.out
    assert "is not a readable record" in captured.err
    assert run("run", *words, "--seeds", "2") == 1
    assert "is not a readable record" in capsys.readouterr().err


def test_what_must_be_skipped_altogether_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "digits", "--network", "mlp:normalisation=batch", "--rule", "sigprop"]
    assert run("run", *words, "--seeds", "1", "--results", str(tmp_path)) == 1
    assert "skipped: batch normalisation would mix" in capsys.readouterr().err


def test_stopping_keeps_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.commands.run as module

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "execute", stop)
    assert run("run", "quickstart", "--results", str(tmp_path)) == 130
    assert "every finished record is kept" in capsys.readouterr().err


def test_checking_a_rule_goes_clause_by_clause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "last-layer") == 0
    out = capsys.readouterr().out
    assert "All clauses hold." in out
    assert out.count("seeds trained together") >= 4


def test_a_study_writes_recipes_that_say_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomllib

    suite = tmp_path / "own.toml"
    suite.write_text('summary = "s"\n[[part]]\ntasks = ["digits"]\nepochs = 2\ntuning_epochs = 1\n')
    words = ["tune", str(suite), "--rule", "sigprop", "--trials", "5", "--recipes", str(tmp_path / "c")]
    assert run(*words) == 0
    (entry,) = tomllib.loads((tmp_path / "c" / "sigprop.toml").read_text())["recipe"]
    tried = entry["provenance"]["tried"]
    assert len(tried) == entry["provenance"]["trials"] == 5
    best = max(tried, key=lambda trial: trial["validation_score"])
    assert entry["learning_rate"] in [
        t["learning_rate"] for t in tried if t["validation_score"] == best["validation_score"]
    ]
    assert entry["provenance"]["chosen_on"].startswith("validation")
    capsys.readouterr()
    assert run(*words) == 0
    assert "tuned already" in capsys.readouterr().out
