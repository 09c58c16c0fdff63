"""Local representation alignment: its small steps are backpropagation's, its targets a hand-worked case's."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.local_representation_alignment import (
    ErrorDrivenAlignment,
    RecursiveAlignment,
)
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, LearningRule, State
from tools import gradients, learner, toy_batch, toy_task, updates


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def model_of(rule: LearningRule, name: str = "mlp", **options: Any) -> Learner:
    options = {"width": 7, "depth": 3, **options} if name == "mlp" else {"width": 3, **options}
    model = learner(rule, name=name, double=True, **options)
    model.state = State({key: value.double() for key, value in model.state.learned.items()})
    return model


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one.flatten() @ other.flatten() / one.norm() / other.norm())


# ------------------------------------------------------------------------------ LRA-E


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu"])
def test_small_displacements_through_the_transposed_weights_are_backpropagations(activation: str) -> None:
    """e_l = β^(L-l) δ_l and an O(β) of that beside it, though no derivative is taken."""
    batch, errors = double(toy_batch()), []
    for beta in (0.1, 0.01):
        model = model_of(ErrorDrivenAlignment(beta), activation=activation)
        for block in model.network.blocks[1:]:
            model.state.learned[block.name].copy_(block.weight)
        found, wanted = updates(model, batch), gradients(model, batch)
        scaled = {f"{place}.weight": found[f"{place}.weight"] / beta ** (3 - place) for place in range(4)}
        errors.append([float((own - wanted[key]).norm() / wanted[key].norm()) for key, own in scaled.items()])
    assert max(errors[1]) < 0.01
    for large, small in zip(*(own[:3] for own in errors), strict=True):
        assert small == pytest.approx(large / 10, rel=0.2)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_error_weights_learn_by_the_weights_own_update(name: str) -> None:
    model = model_of(ErrorDrivenAlignment(), name, activation="tanh")
    found = updates(model, double(toy_batch()))
    for block in model.network.blocks[1:]:
        assert torch.equal(found[block.name], found[f"{block.name}.weight"])


def test_error_weights_keep_their_distance_to_the_weights_and_come_to_point_as_they_do() -> None:
    model = learner(ErrorDrivenAlignment(), width=16, activation="tanh", rate=0.01)
    block, batch = model.network.blocks[1], toy_batch()
    apart = (block.weight - model.state.learned["1"]).clone()
    before = cosine(block.weight, model.state.learned["1"])
    for _ in range(100):
        model.step(batch)
    assert torch.allclose(block.weight - model.state.learned["1"], apart, atol=1e-5)
    assert cosine(block.weight, model.state.learned["1"]) > before + 0.2


def test_errors_pass_pooled_images_too() -> None:
    """Of a linear network that takes means over four, each pooled block makes the errors four times as long,
    as every one of the four gets the whole error; their direction is backpropagation's."""
    model = model_of(ErrorDrivenAlignment(), "conv", activation="identity", pooling="mean")
    for block in model.network.blocks[1:]:
        model.state.learned[block.name].copy_(block.weight)
    batch = double(toy_batch())
    found, wanted = updates(model, batch), gradients(model, batch)
    for name, factor in (("2.weight", 1.0), ("1.weight", 0.1), ("0.weight", 4 * 0.1**2)):
        assert torch.allclose(found[name], factor * wanted[name]), name


# ------------------------------------------------------------------------------ rec-LRA


def test_recursive_targets_of_two_layers_by_hand() -> None:
    """One input, one unit, one unit, two classes. Zero weights at the top give each class one half."""
    rule = RecursiveAlignment(beta=0.1, gamma=0.01)
    task = toy_task((1,), 2)
    model = learner(rule, task, width=1, depth=2, double=True, activation="tanh")
    given = {"0": (1.0, 0.0), "1": (0.0, 0.2), "2": (0.0, 0.0)}
    for block in model.network.blocks:
        for key, value in zip(("weight", "bias"), given[block.name], strict=True):
            block.parameters[key].fill_(value)
    errors = {"0.errors": [2.0, 4.0], "1.errors": [1.0, 5.0]}
    model.state = State({key: torch.tensor(value).double().view(1, 2, 1) for key, value in errors.items()})
    found = updates(model, Batch(torch.full((1, 1, 1), 0.3).double(), torch.tensor([[0]])))
    # e_2 = (½ - 1, ½); d_0 = -1 + 2, d_1 = -½ + 2½; targets tanh(0.3 - 0.1) and tanh(0.2 - 0.2)
    lower, upper = math.tanh(0.3) - math.tanh(0.2), math.tanh(0.2)
    expected = {
        "0.weight": [lower * 0.3], "0.bias": [lower],
        "1.weight": [upper * math.tanh(0.3)], "1.bias": [upper],
        "2.weight": [-0.5 * math.tanh(0.2), 0.5 * math.tanh(0.2)], "2.bias": [-0.5, 0.5],
        "0.errors": [0.01 * -0.5 * 1, 0.01 * 0.5 * 1], "1.errors": [0.01 * -0.5 * 2, 0.01 * 0.5 * 2],
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].flatten().tolist() == pytest.approx(values, rel=1e-6), key


def test_a_share_of_the_error_may_be_its_sign() -> None:
    batch = double(toy_batch(samples=1))
    parts = {
        alpha: updates(model_of(RecursiveAlignment(alpha=alpha), activation="tanh", depth=2), batch)
        for alpha in (0.0, 0.25, 1.0)
    }
    for name in ("0.bias", "1.bias"):
        assert torch.equal(parts[0.0][name], parts[1.0][name].sign())
        mixed = 0.25 * parts[1.0][name] + 0.75 * parts[0.0][name]
        assert torch.allclose(parts[0.25][name], mixed)


def test_every_other_block_hears_from_the_output_and_not_from_the_block_above() -> None:
    model, batch = model_of(RecursiveAlignment(), depth=5), double(toy_batch())
    shapes = {key: tuple(value.shape[1:]) for key, value in model.state.learned.items()}
    straight, handed = (3, 7), (7, 7)
    assert list(shapes.values()) == [straight, handed, straight, handed, straight]
    before = updates(model, batch)
    for source, hearers in (("4", {"3", "4"}), ("2", {"1", "2"}), ("0", {"0"})):
        model.state.learned[f"{source}.errors"].neg_()
        after = updates(model, batch)
        model.state.learned[f"{source}.errors"].neg_()
        moved = {str(n) for n in range(6) if not torch.equal(after[f"{n}.weight"], before[f"{n}.weight"])}
        assert moved == hearers


@pytest.mark.parametrize("rule", [ErrorDrivenAlignment(), RecursiveAlignment()])
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_the_first_block_learns(rule: LearningRule, name: str) -> None:
    model, batch = learner(rule, name=name, width=6, rate=0.01), toy_batch()
    before = model.network.blocks[0].weight.clone()
    for _ in range(5):
        model.step(batch)
    assert (model.network.blocks[0].weight - before).norm() > 0.01 * before.norm()


@pytest.mark.parametrize("rule", ["lra-e", "rec-lra", "l-drl", "ddtp-linear"])
def test_rules_that_look_at_a_block_twice_refuse_dropout_and_say_why(rule: str) -> None:
    with pytest.raises(CreditbenchError, match="dropout=0"):
        learner(load_rule(rule)(), dropout=0.5)


# ------------------------------------------------------------------------------ what they cost


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 12), st.integers(2, 15), st.integers(1, 5))
def test_alignment_costs_its_closed_forms(batch: int, width: int, depth: int) -> None:
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    forward, above = batch * sum(layers), batch * sum(layers[1:])

    def counted(rule: LearningRule) -> int:
        model = learner(rule, width=width, depth=depth)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    assert counted(ErrorDrivenAlignment()) == 2 * forward + above
    # An error goes down and teaches its way: from the output, or to every other block from the next.
    handed = sum(place % 2 for place in range(depth - 1))
    ways = (depth - handed) * 3 * width + handed * width * width
    assert counted(RecursiveAlignment()) == 2 * forward + 2 * batch * ways
