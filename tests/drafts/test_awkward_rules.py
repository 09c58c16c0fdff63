"""The interface holds for the rules that strain it most."""

import pytest
import torch
from awkward_rules import DiehlCook, IncrementalPredictiveCoding, KolenPollack

import creditbench
from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.suite.conformance import check
from creditbench.suite.evaluate import score
from creditbench.suite.types import Batch, LearningRule, State
from tools import gradients, learner, toy_batch, toy_task, updates


@pytest.mark.parametrize("rule", [KolenPollack, IncrementalPredictiveCoding, DiehlCook])
def test_awkward_rules_conform(rule: type[LearningRule]) -> None:
    broken = [f"{clause.sentence}: {clause.why}" for clause in check(rule) if clause.holds is False]
    assert not broken


def test_kolen_pollack_brings_weights_and_feedback_together_at_the_rate_of_its_decay() -> None:
    model = learner(KolenPollack(decay=0.5), rate=0.1)

    def apart() -> torch.Tensor:
        return model.network.blocks[1].weight - model.state.learned["1"]

    start = apart().clone()
    for number in range(20):
        model.step(toy_batch(seed=number))
    assert torch.allclose(apart(), start * (1 - 0.1 * 0.5) ** 20, atol=1e-5)


def test_incremental_predictive_coding_updates_every_block_at_every_relaxation() -> None:
    rule, batch = IncrementalPredictiveCoding(relaxations=5), toy_batch()
    model = learner(rule)
    seen = []
    model.step(batch, lambda target, update: seen.append(getattr(target, "name", target)))
    assert seen == ["0", "1", "2"] * 5


def test_the_first_relaxation_of_predictive_coding_moves_the_output_layer_as_bp_does() -> None:
    model, batch = learner(IncrementalPredictiveCoding(relaxations=1)), toy_batch()
    found, expected = updates(model, batch), gradients(model, batch)
    assert torch.allclose(found["2.weight"], expected["2.weight"], atol=1e-6)
    assert found["0.weight"].abs().max() < 1e-6  # the error has not come that far


@pytest.mark.parametrize("rule", [KolenPollack(), IncrementalPredictiveCoding()])
def test_awkward_rules_learn(rule: LearningRule) -> None:
    task = toy_task()
    splits = task.read()
    model = learner(rule, task, rate=3e-3, width=32)
    for _ in range(30):
        model.step(Batch(splits.train.inputs[None], splits.train.targets[None]))
    found = score(model.network, rule, model.state, task, splits.test, splits.train)
    assert found.score.item() > 0.9


def test_spike_timing_dependent_plasticity_keeps_its_sums_and_finds_the_classes() -> None:
    task = toy_task(samples=240)
    splits = task.read()
    rule = DiehlCook()
    model = learner(rule, task, depth=1, width=30)
    for start in range(0, 240, 20):
        part = slice(start, start + 20)
        model.step(Batch(splits.train.inputs[None, part], splits.train.targets[None, part]))
    weight = model.network.blocks[0].weight
    assert torch.allclose(weight.sum(-1), torch.full((1, 30), rule.total), atol=1e-4)
    assert weight.min() > 0
    assert model.state.carried["theta"].max() > 0
    found = score(model.network, rule, model.state, task, splits.test, splits.train)
    assert found.score.item() > 0.6  # chance is a third


def test_fa_trains_deep_normalised_convolutions_with_feedback_of_its_own() -> None:
    """vgg8b, batch normalisation and pooling: with the weights for feedback it is bp to rounding."""
    task = toy_task((1, 16, 16))
    model = learner(FeedbackAlignment(), task, "vgg8b", hidden=16)
    batch = toy_batch(shape=(1, 16, 16), samples=6)
    other = updates(model, batch)
    weights = {block.name: block.weight.clone() for block in model.network.blocks[1:]}
    model.state = State(carried=weights)
    found, expected = updates(model, batch), gradients(model, batch)
    assert found.keys() == expected.keys() == other.keys()
    for name in expected:
        # A bias in front of batch normalisation has no effect and no gradient but rounding.
        scale = expected[name].abs().max()
        assert torch.allclose(found[name], expected[name], atol=1e-5 + 1e-3 * scale.item()), name
    assert not torch.allclose(other["0.weight"], expected["0.weight"], rtol=0.1)


def test_a_rule_that_relaxes_costs_the_same_for_every_step_of_its_relaxation() -> None:
    samples = toy_batch()

    def counts(relaxations: int) -> list[int]:
        model = learner(IncrementalPredictiveCoding(relaxations=relaxations), toy_task((1, 4, 4), 3), width=8)
        model.step(samples)
        with creditbench.count_operations(strict=True) as ops:
            model.step(samples)
        return [ops.macs, ops.adds, ops.multiplies, ops.bytes_read]

    two, five, eight = counts(2), counts(5), counts(8)
    for few, some, many in zip(two, five, eight, strict=True):
        assert many - some == some - few > 0
