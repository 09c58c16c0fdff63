"""Real learning on real digits: whoever assigns credit leaves random features far behind."""

from dataclasses import replace

import pytest

from creditbench.suite import registry
from creditbench.suite.plan import Part, Suite, make_rule, plan
from creditbench.suite.recipes import recipe, track
from creditbench.suite.train import Cell, train
from creditbench.suite.types import Splits, Task


@pytest.fixture(scope="module")
def sums() -> tuple[Task, Splits]:
    task: Task = registry.load("task", "digit-sums")
    return task, task.read()


def score(rule: str, sums: tuple[Task, Splits], epochs: int = 3) -> float:
    """The test score of one seed of `mlp` with the rule's recipe, after a few epochs."""
    (cell,) = plan(Suite("", "", (Part(("digit-sums",), rules=(rule,), epochs=epochs, seeds=1),)))
    spec = replace(cell.specs[0])
    made = make_rule(registry.load("rule", rule), spec.hyperparameters)
    things = Cell(*sums, registry.load("network", "mlp"), made)
    found = train(things, [spec])[0].run.score
    assert found is not None
    return found


TUNED = sorted(
    rule for rule in registry.table("rule") if track(recipe(rule, "digit-sums", "mlp").origin) == "tuned"
)
# Their hidden blocks stay as drawn, or learn without labels what is frequent in their input.
UNTAUGHT = (
    "cafo",
    "scff",
    "hebb",
    "oja",
    "oja-subspace",
    "sanger",
    "bcm",
    "som",
    "krotov-hopfield",
    "softhebb",
)
LABEL_ALONE = ("drtp", "sdfa")  # send nothing of a sample's error: after ten epochs where last-layer is
# One number comes back for all units or weights: at 2 x 256 its variance outlasts the epochs that there are.
# That they learn where units are few, tests/baselines/test_perturbation.py and docs/claims.md show.
OF_ONE_NUMBER = (
    "node-perturbation", "decorrelated-node-perturbation", "weight-perturbation", "forward-gradient",
    "forward-gradient-activity", "reward-hebb",
)  # fmt: skip
LONG = ("pff",)  # twelve updates of every weight for each batch
CREDITED = [
    pytest.param(rule, marks=pytest.mark.slow) if rule in LONG else rule
    for rule in TUNED
    if rule not in ("last-layer", *UNTAUGHT, *LABEL_ALONE, *OF_ONE_NUMBER)
]


def test_the_rules_of_quickstart_are_tuned() -> None:
    assert {"bp", "dfa", "fa", "last-layer", "sigprop"} <= set(TUNED)


@pytest.mark.parametrize("rule", ["cafo", "oja", "scff"])
def test_hidden_blocks_that_no_label_forms_are_not_enough(rule: str, sums: tuple[Task, Splits]) -> None:
    """Better than chance, which is a tenth, and about what the last layer makes of random features."""
    assert 0.15 < score(rule, sums) < score("last-layer", sums) + 0.2


@pytest.mark.parametrize("rule", CREDITED)
def test_every_tuned_rule_that_assigns_credit_beats_the_last_layer_alone(
    rule: str, sums: tuple[Task, Splits]
) -> None:
    assert score(rule, sums) > score("last-layer", sums) + 0.2
