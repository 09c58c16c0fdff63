"""A user's session: a rule in a file of their own, against the references, in one command."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from creditbench.suite import measure
from creditbench.suite.challenge import Estimate, Pace, challenge, shipped, stability_cell
from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.tuning import stability as grid
from creditbench.suite.tuning import trial

RULE = '''
from dataclasses import dataclass
from typing import ClassVar
from creditbench.suite.types import LearningRule

@dataclass(frozen=True)
class Mine(LearningRule):
    """The last layer alone, with a factor."""
    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "me"
    learning_rates: ClassVar = (0.005, 0.02)
    search: ClassVar = {"factor": (1.0, 2.0)}
    factor: float = 1.0

    def step(self, network, batch, state, context):
        traces = network.forward(batch.inputs, context)
        error = self.factor * context.loss.gradient(traces[-1].output, batch.targets)
        yield network.blocks[-1], network.blocks[-1].update(traces[-1], error)
'''
SUITE = """
summary = "A budget of seconds"
epochs = 40
seeds = 3
tuning_epochs = 2
[[part]]
tasks = ["digits"]
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with everything cut to seconds but what the references were given."""
    monkeypatch.setattr(measure, "BUDGET", 0.0)
    monkeypatch.setattr(grid, "STEPS", 9)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rule.py").write_text(RULE)
    (tmp_path / "tiny.toml").write_text(SUITE)
    return tmp_path


WORDS = [
    "challenge",
    "my_rule.py:Mine",
    "--suite",
    "tiny.toml",
    "--against",
    "bp,last-layer",
    "--trials",
    "2",
    "--references",
    str(Path(__file__).resolve().parents[2] / "results"),
]


def test_an_afternoon_with_ones_own_rule(
    own_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(WORDS) == 0
    said = capsys.readouterr()
    folder = own_folder / "creditbench-challenge"
    assert "Borrowed 6 reference runs" in said.err
    assert "running references" not in said.err  # they have records
    assert "\nAbout " in said.err
    assert "This rests on 5 steps" in said.err
    assert "mine on digits, mlp: learning rate" in said.err
    assert "digits, mlp, tuned: 40 epochs" in said.out  # one table: all three in one track
    assert all(f"\n{rule} " in said.out for rule in ("mine", "bp", "last-layer"))
    (price,) = [line for line in said.out.splitlines() if line.startswith("Tuning on validation")]
    assert "mine 2 trials" in price  # the references had more, which the line says as well
    assert "Stability of mine on digits, mlp: 5 learning rates × 3 seeds × 3 depths" in said.out
    assert "\nRecords: creditbench-challenge\n" in said.out
    assert (folder / "leaderboard.html").exists()
    assert "mine" in "".join(ElementTree.parse(folder / "leaderboard.svg").getroot().itertext())
    (found,) = folder.glob("stability-mine-*.json")
    assert len(json.loads(found.read_text())["points"]) == 45

    def nothing_is_left(*_: object) -> None:
        raise AssertionError("a trial was made again")

    monkeypatch.setattr(trial, "try_out", nothing_is_left)
    assert main(WORDS) == 0
    again = capsys.readouterr()
    assert "All is there" in again.err
    assert "mine on digits, mlp: tuned already\n" in again.err
    assert again.out == said.out


def test_how_long_it_takes_is_said_without_doing_it(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--estimate", "--references", str(own_folder / "none")]) == 0
    said = capsys.readouterr()
    assert "running references without a record" in said.err
    assert said.out == ""
    assert not list(own_folder.rglob("seed-*.json"))


def test_a_training_takes_its_steps_and_its_scoring() -> None:
    from creditbench.suite.specification import Spec

    spec = Spec("digits", 1, "mlp", "bp", 0, 1e-3, epochs=4, batch_size=100, train_samples=1050)
    pace = Pace(step=0.5, sample=0.01, train=5000, validation=200)
    assert pace.training(spec) == pytest.approx(4 * (10 * 0.5 + 2.0))
    assert pace.training(spec, tested=300) == pytest.approx(4 * (10 * 0.5 + 2.0) + 3.0)
    told = Estimate(7000, 100, 0, 20, 0, 1).sentences()[0]
    assert told == "About 2 h: 1.9 h tuning, 2 min running the rule, 20 s measuring costs."


def test_trials_are_as_many_as_the_references_had(own_folder: Path) -> None:
    asked = challenge("my_rule.py:Mine", ["bp"], "quickstart", [], [], None, own_folder, None)
    assert asked.trials == 12
    assert asked.references == shipped()


def test_a_reference_without_a_recipe_is_tuned_with_the_rule(own_folder: Path) -> None:
    asked = challenge("my_rule.py:Mine", ["bp"], "tiny.toml", [], ["vgg8b", "mlp"], 2, own_folder, None)
    studies = {(part.networks, part.rules) for part in asked.to_tune().parts}
    assert studies == {
        (("vgg8b",), ("my_rule.py:Mine",)), (("vgg8b",), ("bp",)), (("mlp",), ("my_rule.py:Mine",))
    }  # fmt: skip


def test_options_in_the_rules_label_are_refused(own_folder: Path) -> None:
    with pytest.raises(CreditbenchError, match="a challenge tunes them"):
        challenge("my_rule.py:Mine:factor=2", ["bp"], "tiny.toml", [], [], 2, own_folder, None)


# ------------------------------------------------------------------------- stability


def test_a_rule_is_stable_where_its_error_is_a_tenth_below_the_last_layers() -> None:
    def point(score: float | None) -> grid.GridPoint:
        return grid.GridPoint(2, 0.1, 0, "ok" if score else "diverged", None, score, floor=0.9)

    found = grid.Stability("r", "t", "mlp", 1, 10, 0.5, tuple(map(point, (0.95, 0.911, 0.909, 0.54, None))))
    assert [p.validation_score for p in found.training] == [0.95, 0.911]
    assert (found.share, found.share_over_chance) == (2 / 5, 3 / 5)
    assert "40 % of the grid: 2 of 5" in found.text()
    assert "2/5" in found.text()


def test_bp_trains_in_the_middle_of_its_grid_and_the_last_layer_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid, "STEPS", 150)
    bp = grid.stability("bp", "digit-sums", depths=(1,), rates=3, seeds=2)
    assert {p.learning_rate for p in bp.training} >= {0.002}
    assert len({p.seed for p in bp.points}) == 2
    floor = grid.stability("last-layer", "digit-sums", depths=(1,), rates=3, seeds=2)
    assert floor.share == 0.0


def test_what_a_rule_refuses_is_no_failure_of_stability(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "STEPS", 9)
    words = ["--task", "digits", "--network", "mlp", "--depths", "1", "--rates", "2", "--seeds", "1"]
    assert main(["stability", "sigprop", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["share"] is not None
    found = grid.Stability(
        "r", "t", "mlp", 1, 10, 0.5, (grid.GridPoint(1, 0.1, 0, "skipped", "no", None, 0.9),)
    )
    assert found.share is None
    assert "refuses the whole grid" in found.text()


@pytest.mark.parametrize(
    ("task", "network", "reason"),
    [
        (
            "irregular-sines",
            "rnn-dt",
            "task 'irregular-sines' is judged by mse",
        ),
        ("cue-accumulation-10", "rnn-dt", "network 'rnn-dt' has no depth"),
    ],
)
def test_where_there_is_no_grid_it_is_said(task: str, network: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CreditbenchError, match=reason):
        grid.stability("bp", task, network)
    asked = challenge("bp", (), "series", [task], [f"{network}:width=32"], 1, tmp_path, None)
    cell, words = stability_cell(asked)
    assert cell is None
    assert reason in words


def test_the_grid_of_a_rule_for_spiking_networks_lies_on_one(tmp_path: Path) -> None:
    cell, _ = stability_cell(challenge("e-prop", (), "events", ["digits-dvs"], [], 1, tmp_path, None))
    assert cell is not None
    assert cell.origin.network == "snn"
    cell, _ = stability_cell(challenge("fa", (), "quickstart", ["digits"], [], 1, tmp_path, None))
    assert cell is not None
    assert cell.origin.network == "mlp"
