"""Energy-based rules against their theorems: energy falls, and contrasts of equilibria are gradients."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.energy import (
    ContrastiveHebbian,
    CoupledLearning,
    EquilibriumPropagation,
    from_below,
    settle,
)
from creditbench.baselines.rules.holomorphic import HolomorphicEquilibriumPropagation, sigmoid
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Block, LearningRule
from tools import learner, network, toy_batch, toy_task, updates

NETWORKS = ["mlp", "conv"]


def settling(rule: LearningRule, name: str = "mlp") -> tuple[Learner, Batch]:
    """A small network in double precision whose hidden units all settle between their limits."""
    options: dict[str, Any] = (
        {"width": 6, "depth": 2} if name == "mlp" else {"width": 3, "depth": 1, "pooling": "mean"}
    )
    model = learner(rule, name=name, double=True, activation="identity", **options)
    for block in model.network.blocks:
        block.parameters["bias"].fill_(0.5)
        block.parameters["weight"].mul_(0.4)
    batch = toy_batch()
    return model, Batch(0.1 * batch.inputs.double(), batch.targets)


def energy(blocks: tuple[Block, ...], inputs: Tensor, values: list[Tensor]) -> Tensor:
    """E, written out: [batch]."""
    below, total = inputs, torch.zeros(inputs.shape[1], dtype=inputs.dtype)
    for block, value in zip(blocks, values, strict=True):
        own = 0.5 * value.square() - value * block.forward(below).output
        total = total + own.flatten(2).sum(-1)[0]
        below = value
    return total


@pytest.mark.parametrize("name", NETWORKS)
def test_no_sweep_raises_the_energy(name: str) -> None:
    model, batch = settling(EquilibriumPropagation(), name)
    blocks = model.network.blocks
    first, values = from_below(blocks, batch.inputs)
    before = energy(blocks, batch.inputs, values)
    assert (
        settle(blocks, first, values, 1, lambda output: output)[0] - values[0]
    ).abs().max() > 1e-3  # something happens
    for _ in range(10):
        values = settle(blocks, first, values, 1, lambda output: output)
        after = energy(blocks, batch.inputs, values)
        assert (after <= before + 1e-12).all()
        before = after


def slope_of_the_settled_loss(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """Autograd's, through two hundred sweeps, of ½‖s_L - t‖² where the free network settles."""
    leaves = [
        {key: p.detach().clone().requires_grad_() for key, p in block.parameters.items()}
        for block in model.network.blocks
    ]
    blocks = model.network.bind(leaves).blocks
    first, values = from_below(blocks, batch.inputs)
    output = settle(blocks, first, values, 200, lambda output: output)[-1]
    target = torch.nn.functional.one_hot(batch.targets, 3)
    (0.5 * (output - target).square().sum() / batch.targets.shape[1]).backward()
    return {
        f"{block.name}.{key}": leaf.grad
        for block, own in zip(blocks, leaves, strict=True)
        for key, leaf in own.items()
        if leaf.grad is not None
    }


def away(found: dict[str, Tensor], true: dict[str, Tensor]) -> float:
    ours = torch.cat([found[key].flatten() for key in true])
    theirs = torch.cat([true[key].flatten() for key in true])
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("nudge", "order"), [("centred", 2), ("one-sided", 1)])
def test_equilibrium_propagation_tends_to_the_gradient_as_a_power_of_the_nudge(
    name: str, nudge: str, order: int
) -> None:
    distances = []
    for beta in (0.1, 0.01):
        rule = EquilibriumPropagation(200, 200, beta=beta, nudge=nudge)  # type: ignore[arg-type]
        model, batch = settling(rule, name)
        distances.append(away(updates(model, batch), slope_of_the_settled_loss(model, batch)))
    assert distances[0] / distances[1] == pytest.approx(10**order, rel=0.35)
    assert distances[1] < (1e-3 if nudge == "centred" else 0.1)


@pytest.mark.parametrize("rule", [CoupledLearning(100, 100), ContrastiveHebbian(100, 100)])
def test_a_network_that_settles_at_its_targets_has_nothing_to_learn(rule: LearningRule) -> None:
    model, batch = settling(rule)

    class Content:
        """Wants just what comes out."""

        name = "content"

        def wanted(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs

    model.loss = Content()  # type: ignore[assignment]
    assert all(update.abs().max() < 1e-6 for update in updates(model, batch).values())


def test_contrastive_hebbian_by_hand() -> None:
    """x = 1 through w = 0.2 to one hidden unit, v = (0.5, 0) to two outputs, target class 1, biases 0.

    Free: h = 0.2 + 0.5 (0.5 h), so h = 0.2 / 0.75, outputs (0.5 h, 0). Held at (0, 1): h = 0.2 + 0 · 1."""
    model = learner(ContrastiveHebbian(100, 100), name="mlp", width=1, depth=1, activation="identity")
    low, top = model.network.blocks
    low.weight.zero_()
    low.weight[0, 0, 0] = 0.2
    top.weight.copy_(torch.tensor([[[0.5], [0.0], [0.0]]]))
    for block in (low, top):
        block.parameters["bias"].zero_()
    inputs = torch.zeros(1, 1, 1, 4, 4)
    inputs[0, 0, 0, 0, 0] = 1.0
    found = updates(model, Batch(inputs, torch.tensor([[1]])))
    free, held = 0.2 / 0.75, 0.2
    assert found["0.weight"][0, 0, 0].item() == pytest.approx(free - held, abs=1e-6)
    expected = [free * 0.5 * free, -held * 1.0, 0.0]
    assert found["1.weight"].flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_inference_settles_and_does_not_look_at_labels() -> None:
    model, batch = settling(EquilibriumPropagation())
    scores = model.rule.predict(model.network, batch.inputs, model.state)
    _, values = from_below(model.network.blocks, batch.inputs)
    assert not torch.allclose(scores, values[-1])  # what comes down changes the answer
    more = EquilibriumPropagation(free_steps=100).predict(model.network, batch.inputs, model.state)
    assert torch.allclose(scores, more, atol=1e-3)


def test_energy_rules_refuse_units_with_another_nonlinearity_and_networks_without_hidden_ones() -> None:
    rule, task = ContrastiveHebbian(), toy_task()
    assert "activation=identity" in (rule.supports(network(task, activation="relu"), task) or "")
    assert "hidden block" in (rule.supports(network(task, activation="identity", depth=0), task) or "")
    assert rule.supports(network(task, activation="identity"), task) is None


@settings(max_examples=8, deadline=None)
@given(st.integers(3, 9), st.integers(2, 12), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
def test_what_settling_costs_is_affine_in_its_sweeps(
    batch: int, width: int, depth: int, free: int, nudged: int
) -> None:
    """A sweep sees every layer but the first twice, down and up; what it starts from goes up once more."""
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    forward, above = batch * sum(layers), batch * sum(layers[1:])

    def counted(rule: LearningRule) -> int:
        model = learner(rule, width=width, depth=depth, activation="identity")
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    sweep, contrast = 2 * above, 2 * 2 * forward
    for rule, times in (
        (EquilibriumPropagation(free, nudged), 2),
        (EquilibriumPropagation(free, nudged, nudge="one-sided"), 1),
        (CoupledLearning(free, nudged), 1),
        (ContrastiveHebbian(free, nudged), 1),
    ):
        starts = (1 + times) * above
        assert counted(rule) == forward + starts + (free + times * nudged) * sweep + contrast


# ------------------------------------------------------------------------------ holomorphic


def settled_slope(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """Autograd's, of ½‖s_L - t‖² where the free network of sigmoid units settles."""
    leaves = [
        {key: p.detach().clone().requires_grad_() for key, p in block.parameters.items()}
        for block in model.network.blocks
    ]
    rule = HolomorphicEquilibriumPropagation(free_steps=200)
    output = rule.settled(model.network.bind(leaves), batch.inputs)[1][-1]
    target = torch.nn.functional.one_hot(batch.targets, 3)
    (0.5 * (output - target).square().sum() / batch.targets.shape[1]).backward()
    return {
        f"{block.name}.{key}": leaf.grad
        for block, own in zip(model.network.blocks, leaves, strict=True)
        for key, leaf in own.items()
        if leaf.grad is not None
    }


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("nudges", [2, 4])
def test_the_bias_of_holomorphic_equilibrium_propagation_falls_as_the_radius_to_the_number_of_nudges(
    name: str, nudges: int
) -> None:
    distances = []
    for radius in (0.2, 0.1):
        rule = HolomorphicEquilibriumPropagation(200, 200, radius=radius, nudges=nudges)
        model, batch = settling(rule, name)
        distances.append(away(updates(model, batch), settled_slope(model, batch)))
    assert distances[0] / distances[1] == pytest.approx(2**nudges, rel=0.25)


def test_complex_sigmoids_are_torchs() -> None:
    re, im = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.sigmoid(4 * torch.complex(re, im) - 2)
    found = torch.complex(*sigmoid(re, im))
    assert torch.allclose(found, expected)
