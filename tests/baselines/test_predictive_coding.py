"""Predictive coding against its theorems: what it tends to, what it equals, and where it settles."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.predictive_coding import (
    ErrorOptimisation,
    IncrementalPredictiveCoding,
    NudgedPredictiveCoding,
    OutputSlope,
    PredictiveCoding,
    ZeroDivergenceInference,
    carried_down,
    settle,
)
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.learner import Learner
from creditbench.suite.losses import CrossEntropy
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, LearningRule
from tools import gradients, learner, toy_batch, updates

NETWORKS = [("mlp", {"depth": 3, "width": 7}), ("conv", {"width": 3, "pooling": "mean"})]


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def model_of(rule: LearningRule, name: str = "mlp", **options: object) -> Learner:
    options = {"width": 7, "depth": 2, **options} if name == "mlp" else options
    return learner(rule, name=name, double=True, activation="tanh", **options)  # type: ignore[arg-type]


def away(found: dict[str, Tensor], true: dict[str, Tensor]) -> float:
    """Relative distance of all updates from all gradients."""
    ours = torch.cat([found[key].flatten() for key in true])
    theirs = torch.cat([true[key].flatten() for key in true])
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_zero_divergence_inference_is_backpropagation(name: str, options: dict[str, object]) -> None:
    model, batch = model_of(ZeroDivergenceInference(), name, **options), double(toy_batch())
    found, true = updates(model, batch), gradients(model, batch)
    for key, gradient in true.items():
        assert torch.allclose(found[key], gradient, atol=1e-12), key


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_zero_divergence_inference_is_predictive_coding_at_rate_one_read_in_time(
    name: str, options: dict[str, object]
) -> None:
    """All values settle at γ = 1; block L - t learns from its error at step t."""
    model, batch = model_of(ZeroDivergenceInference(), name, **options), double(toy_batch())
    blocks, context = model.network.blocks, model.context()
    found = updates(model, batch)
    forward = model.network.forward(batch.inputs, context)
    last = OutputSlope(context, batch.targets)
    for step in range(len(blocks)):
        traces, slopes = settle(blocks, forward, last, step, 1.0, context)
        block, place = blocks[-1 - step], len(blocks) - 1 - step
        # The error is the one at this step; what the block sees below has not moved yet.
        expected = block.update(traces[place], slopes[place] / batch.targets.shape[1])
        for key, tensor in expected.items():
            assert torch.allclose(found[f"{block.name}.{key}"], tensor, atol=1e-12), (block.name, key)


class Fainter(CrossEntropy):
    """A loss whose slope is scaled, as if the output were nearer to its target."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.scale * super().gradient(outputs, targets)


def test_predictive_coding_tends_to_backpropagation_as_the_output_error_shrinks() -> None:
    """The relative difference falls with the error, tenfold for tenfold."""
    rule = PredictiveCoding(steps=200, rate=0.3)
    distances = []
    for scale in (1e-1, 1e-2, 1e-3):
        model, batch = model_of(rule), double(toy_batch())
        model.loss = Fainter(scale)
        true = gradients(model, batch)
        found = updates(model, batch)
        distances.append(away({key: update / scale for key, update in found.items()}, true))
    assert distances[0] > 9 * distances[1] > 81 * distances[2]
    assert distances[2] < 1e-3


def nudged(beta: float, nudge: str, depth: int = 1) -> tuple[Learner, Batch, dict[str, Tensor]]:
    rule = NudgedPredictiveCoding(steps=300, rate=0.3, beta=beta, nudge=nudge)  # type: ignore[arg-type]
    model, batch = model_of(rule, depth=depth), double(toy_batch())
    return model, batch, updates(model, batch)


def test_weak_nudges_give_backpropagation_of_the_error_that_the_clamp_leaves() -> None:
    """One hidden block: the output's error is (I + JJᵀ)⁻¹ ∂C/∂u with J = W, the output layer."""
    model, batch, found = nudged(1e-4, "centred")
    low, top = model.network.blocks
    traces = model.network.forward(batch.inputs)
    error = model.loss.gradient(traces[-1].output, batch.targets)  # [seed, batch, classes]
    left = error @ torch.linalg.inv(torch.eye(3) + top.weight[0] @ top.weight[0].T)
    update, change = top.pullback(traces[1], left)
    for block, expected in ((top, update), (low, low.update(traces[0], change))):
        for key, tensor in expected.items():
            assert torch.allclose(found[f"{block.name}.{key}"], tensor, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("nudge", "order"), [("centred", 2), ("positive", 1), ("negative", 1)])
def test_nudged_predictive_coding_reaches_its_limit_as_a_power_of_the_nudge(nudge: str, order: int) -> None:
    limit = nudged(1e-4, "centred", depth=2)[2]
    distances = [away(nudged(beta, nudge, depth=2)[2], limit) for beta in (0.1, 0.01)]
    assert distances[0] / distances[1] == pytest.approx(10**order, rel=0.2)


@pytest.mark.parametrize("kind", [PredictiveCoding, ErrorOptimisation])
def test_settling_ends_where_the_energy_has_no_slope(kind: type[LearningRule]) -> None:
    """Both ways of settling end in one equilibrium: autograd's slope of F is zero there."""
    rule = kind(steps=400, rate=0.2)  # type: ignore[call-arg]
    model, batch = model_of(rule), double(toy_batch())
    blocks, context = model.network.blocks, model.context()
    last = OutputSlope(context, batch.targets)
    traces, slopes = settle(blocks, model.network.forward(batch.inputs, context), last, 400, 0.2, context)
    values = [
        (trace.output - slope).requires_grad_() for trace, slope in zip(traces[:-1], slopes[:-1], strict=True)
    ]
    with torch.enable_grad():
        below = [batch.inputs, *values]
        made = [block.forward(h, context).output for block, h in zip(blocks, below, strict=True)]
        energy = sum(0.5 * (h - p).square().sum() for h, p in zip(values, made[:-1], strict=True))
        energy = energy + len(batch.targets[0]) * context.loss.value(made[-1], batch.targets).sum()
        pulls = torch.autograd.grad(energy, values)
    assert all(pull.abs().max() < 1e-8 for pull in pulls)
    expected = {
        f"{block.name}.{key}": tensor
        for block, trace, slope in zip(blocks, traces, slopes, strict=True)
        for key, tensor in block.update(trace, slope / batch.targets.shape[1]).items()
    }
    found = updates(model, batch)
    for key, tensor in expected.items():
        assert torch.allclose(found[key], tensor, atol=1e-8), key


def test_squared_error_clamps_the_output_at_the_one_hot_target() -> None:
    model, batch = model_of(PredictiveCoding(steps=0, loss="squared-error")), double(toy_batch())
    traces = model.network.forward(batch.inputs)
    error = traces[-1].output - torch.nn.functional.one_hot(batch.targets, 3)
    top = model.network.blocks[-1]
    found = updates(model, batch)
    for key, tensor in top.update(traces[-1], error / 9).items():
        assert torch.allclose(found[f"{top.name}.{key}"], tensor)
    assert all((found[f"{block.name}.weight"] == 0).all() for block in model.network.blocks[:-1])


def test_incremental_predictive_coding_moves_each_block_once_the_error_has_reached_it() -> None:
    """Three blocks, four steps: the output learns four times, the one below three times, the lowest twice."""
    model, batch = learner(IncrementalPredictiveCoding(steps=4), width=7), toy_batch()
    names = [
        target.name  # type: ignore[union-attr]
        for target, _ in model.rule.step(model.network, batch, model.state, model.context())
    ]
    assert [names.count(block.name) for block in model.network.blocks] == [2, 3, 4]


@settings(max_examples=8, deadline=None)
@given(st.integers(3, 9), st.integers(2, 12), st.integers(1, 4), st.integers(1, 6))
def test_a_step_of_settling_costs_twice_the_blocks_that_the_error_has_reached(
    batch: int, width: int, depth: int, steps: int
) -> None:
    """Down and up, one block more at every step, and never the first; at the end each block takes its outer
    product."""
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    forward, above = batch * sum(layers), batch * sum(layers[1:])
    settled = 2 * batch * sum(sum(layers[max(1, len(layers) - 1 - step) :]) for step in range(steps))

    def counted(rule: LearningRule) -> int:
        model = learner(rule, width=width, depth=depth)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    assert counted(PredictiveCoding(steps=steps)) == 2 * forward + settled
    assert counted(ZeroDivergenceInference()) == 2 * forward + above
    nudged = NudgedPredictiveCoding(steps=steps)
    assert counted(nudged) == forward + 2 * (2 * forward + settled)
    assert counted(replace(nudged, nudge="positive")) == forward + 2 * forward + settled
    assert counted(ErrorOptimisation(steps=steps)) == 2 * forward + steps * (above + forward)


def test_all_variants_can_be_run_by_name_and_learn() -> None:
    for name in ("pc", "pc-nudged", "ipc", "z-il", "epc"):
        model, batch = learner(load_rule(name)(), width=16, rate=0.01), toy_batch(samples=30)
        before = model.loss.value(model.network(batch.inputs), batch.targets)
        for _ in range(30):
            model.step(batch)
        assert model.loss.value(model.network(batch.inputs), batch.targets) < 0.5 * before, name


def test_what_comes_down_is_autograds() -> None:
    model, batch = model_of(ZeroDivergenceInference()), double(toy_batch())
    block = model.network.blocks[0]
    inputs = batch.inputs.clone().requires_grad_()
    with torch.enable_grad():
        output = block.forward(inputs).output
        (expected,) = torch.autograd.grad(output.sum(), inputs)
    trace = block.forward(batch.inputs)
    assert torch.allclose(carried_down(block, trace, torch.ones_like(trace.output)), expected)
