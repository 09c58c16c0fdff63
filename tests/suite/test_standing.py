"""Why a cell is done, stale, skipped or missing: the driver and `creditbench why` tell one story."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from records import run, spec

from creditbench.suite.api import execute
from creditbench.suite.cli import main
from creditbench.suite.fingerprint import modules
from creditbench.suite.standing import changed, nearest, stand, stand_cost
from creditbench.suite.store import Store

RULE = """
from dataclasses import dataclass
from typing import ClassVar
from creditbench.suite.types import LearningRule
from helper import SCALE

@dataclass(frozen=True)
class Mine(LearningRule):
    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "me"

    def step(self, network, batch, state, context):
        traces = network.forward(batch.inputs, context)
        error = SCALE * context.loss.gradient(traces[-1].output, batch.targets)
        yield network.blocks[-1], network.blocks[-1].update(traces[-1], error)
"""
FINGERPRINT, OTHER = "f" * 12, "0" * 12


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)


def test_every_verdict_is_reached_by_what_it_says(tmp_path: Path) -> None:
    store, one = Store(tmp_path), spec()

    def verdict(record: Any, code: str) -> str:
        shutil.rmtree(tmp_path)
        store.put(record)
        return stand(one, store, code).verdict

    tmp_path.mkdir(exist_ok=True)
    assert stand(one, store, FINGERPRINT).verdict == "missing"
    assert verdict(run(0.9), FINGERPRINT) == "done"
    assert verdict(run(status="diverged"), FINGERPRINT) == "done"
    assert verdict(run(status="skipped"), FINGERPRINT) == "skipped"
    assert verdict(run(status="failed"), FINGERPRINT) == "retry"
    assert verdict(run(0.9), OTHER) == "again"
    digested = dataclasses.replace(run(0.9), digest={"loss": [1.0]})
    assert verdict(digested, OTHER) == "replay"
    store.revalidate(one, OTHER, 0.001)
    assert stand(one, store, OTHER).verdict == "kept"
    store.run_path(one).write_text("{")
    assert stand(one, store, OTHER).verdict == "unreadable"


def test_a_cost_stands_by_machine_and_code(tmp_path: Path) -> None:
    from records import MACHINE, OTHER_MACHINE, cost

    store = Store(tmp_path)
    store.put(cost(fingerprint=FINGERPRINT))
    assert stand_cost(spec(), store, MACHINE, FINGERPRINT).verdict == "done"
    assert stand_cost(spec(), store, MACHINE, OTHER).verdict == "again"
    assert stand_cost(spec(), store, OTHER_MACHINE, FINGERPRINT).verdict == "missing"


def test_what_differs_between_two_fingerprints_is_named() -> None:
    before = {"suite.train": "1", "rule.py": "1", "old": "1", "torch": "2.8"}
    now = {"suite.train": "1", "rule.py": "2", "new": "1", "torch": "2.9"}
    assert changed(before, now) == "changed since: new (new), old (gone), rule.py, torch 2.8 to 2.9"
    assert changed(now, now) == "nothing has changed"
    assert changed(None, now) == "what has changed was not kept"


def test_a_missing_run_is_held_against_the_nearest_stored_one() -> None:
    stored = [run(0.9, epochs=10), run(0.9, epochs=10, batch_size=64), run(0.9, rule="bp", seed=3, epochs=5)]
    assert nearest(spec(), stored[:2]) == "the nearest stored run is another: epochs is 10 there and 40 here"
    assert nearest(spec(seed=1), [run(0.9)]) == "other seeds of this cell are there"
    assert nearest(spec(), []) == ""


def test_the_modules_of_a_fingerprint_bear_no_folder_and_follow_code_alone(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("SCALE = 1.0  # as in the paper\n")
    rule = tmp_path / "rule.py"
    rule.write_text(RULE)
    before = modules([rule], "2.9.1+cpu")
    assert {"rule.py", "helper.py", "suite.train", "suite.learner", "torch"} <= set(before)
    assert before["torch"] == "2.9"
    assert not any("/" in name for name in before)
    # A module is followed through its file's time of change, which this writes anew.
    (tmp_path / "helper.py").write_text("SCALE = 1.0  # another comment, and longer\n")
    assert modules([rule], "2.9.2") == before
    (tmp_path / "helper.py").write_text("SCALE = 2.0\n")
    after = modules([rule], "2.9.1")
    assert {name for name in before if before[name] != after[name]} == {"helper.py"}


def test_a_session_of_asking_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule, folder = tmp_path / "rule.py", str(tmp_path / "r")
    (tmp_path / "helper.py").write_text("SCALE = 1.0\n")
    rule.write_text(RULE.replace("from helper import SCALE", "SCALE = 1.0"))
    label = f"{rule}:Mine"
    execute(None, "digits", None, [label, "last-layer"], 2, 1, None, "cpu", folder)

    def why(*words: str) -> str:
        assert main(["why", *words, "--results", folder, "--device", "cpu"]) == 0
        return capsys.readouterr().out

    assert "seed 0, 1: done: made by this very code" in why("digits/mlp/last-layer")
    assert "cost: done" in why("digits/mlp/last-layer")
    said = why("digits")
    assert "last-layer on digits, mlp, 1 epochs" in said
    assert "2 runs cannot be judged here: no rule 'mine' is installed; name its file with --rule" in said
    rule.write_text(RULE.replace("from helper import SCALE", "SCALE = 2.0"))
    said = why("digits/mlp/mine", "--rule", label)
    assert "seed 0, 1: replay: " in said
    assert "changed since: rule.py" in said
    said = why("--suite", "quickstart", "--task", "digits", "--rule", "last-layer")
    assert "seed 0, 1, 2: missing: not there; the nearest stored run is another: epochs is 1 there" in said
    rows = json.loads(why("digits/mlp/last-layer", "--json"))
    assert [(row["what"], row["verdict"]) for row in rows] == [("seed 0, 1", "done"), ("cost", "done")]


def test_asking_why_of_nothing_says_what_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path).put(run(0.9))
    for words, complaint in (
        ([], "Name TASK/NETWORK/RULE"),
        (["digits/mlp/fa"], "holds nothing of digits/mlp/fa"),
        (["a/b/c/d"], "write TASK/NETWORK/RULE"),
        (["digits", "--suite", "quickstart"], "not both"),
    ):
        assert main(["why", *words, "--results", str(tmp_path)]) == 1
        assert complaint in capsys.readouterr().err


def test_the_words_of_a_record_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(tmp_path).put(run(status="failed", reason="\x1b[2J gone"))
    assert main(["why", "digits", "--results", str(tmp_path)]) == 0
    assert main(["doctor", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("[2J gone") == 2
    assert "\x1b" not in out
