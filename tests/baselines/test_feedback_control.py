"""Deep feedback control against its own dynamics, against Gauss-Newton and against backpropagation."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.feedback_control import DeepFeedbackControl
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Context, State
from tools import gradients, learner, network, toy_batch, toy_task, updates


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def model_of(rule: DeepFeedbackControl, activation: str = "tanh") -> Learner:
    model = learner(rule, double=True, width=7, activation=activation)
    model.state = State({name: tensor.double() for name, tensor in model.state.learned.items()})
    return model


def jacobian(model: Learner, batch: Batch) -> Tensor:
    """∂r/∂(v_1 ... v_L) of a batch's only sample, by autograd: [classes, all units]."""
    blocks = model.network.blocks
    sizes = [block.output_size for block in blocks]

    def output(pushes: Tensor) -> Tensor:
        h = batch.inputs
        for block, push in zip(blocks, pushes.split(sizes), strict=True):
            h = block.activate(block.preactivate(h) + push).output
        return h.flatten()

    with torch.enable_grad():
        result = torch.autograd.functional.jacobian(output, torch.zeros(sum(sizes), dtype=torch.float64))
    assert isinstance(result, Tensor)
    return result


def with_feedback(model: Learner, feedback: Tensor) -> Learner:
    """feedback [all units, classes], block by block."""
    blocks = model.network.blocks
    parts = feedback.split([block.output_size for block in blocks])
    model.state = State({b.name: q.mT.unsqueeze(0).clone() for b, q in zip(blocks, parts, strict=True)})
    return model


def pushes(model: Learner, batch: Batch) -> Tensor:
    """Q u of a batch's only sample, from the biases' updates -φ' ⊙ Q u: [all units]."""
    found = updates(model, batch)
    slopes = [
        block.deactivate(trace, torch.ones_like(trace.output))[0].flatten()
        for block, trace in zip(model.network.blocks, model.network.forward(batch.inputs), strict=True)
    ]
    biases = [found[f"{block.name}.bias"].flatten() for block in model.network.blocks]
    return torch.cat([-bias / slope for bias, slope in zip(biases, slopes, strict=True)])


# ------------------------------------------------------------------------------ the steady state


def simulated(model: Learner, batch: Batch, strength: float, seconds: float, dt: float) -> dict[str, Tensor]:
    """The weights' updates where Euler steps of the network and of a proportional-integral controller end:

        v̇ = -v + W φ(v) + Q u,   u = s + k e,   ṡ = e - a s,   e = r* - φ(v_L)

    whose leak seen from outside is e / u = a / (1 + a k)."""
    a, k = 1.5, 0.5
    blocks, samples, feedback = model.network.blocks, batch.targets.shape[1], model.state.learned
    traces = model.network.forward(batch.inputs)
    free = traces[-1].output
    target = free - strength * samples * model.loss.gradient(free, batch.targets)
    h = [batch.inputs] + [trace.output for trace in traces]
    v = [block.preactivate(below) for block, below in zip(blocks, h[:-1], strict=True)]
    stored = torch.zeros_like(free)
    for _ in range(round(seconds / dt)):
        h = [batch.inputs] + [block.activate(x).output for block, x in zip(blocks, v, strict=True)]
        error = target - h[-1]
        u = stored + k * error
        stored = stored + dt * (error - a * stored)
        drives = [b.preactivate(x) + u @ feedback[b.name] for b, x in zip(blocks, h[:-1], strict=True)]
        v = [x + dt * (drive - x) for x, drive in zip(v, drives, strict=True)]
    result = {}
    for block, x, below in zip(blocks, v, h[:-1], strict=True):
        change = block.activate(x).output - block.activate(block.preactivate(below)).output
        for key, tensor in block.synaptic_update(below, -change / (strength * samples)).items():
            result[f"{block.name}.{key}"] = tensor
    return result


def test_the_analytic_steady_state_is_where_the_simulated_controller_settles() -> None:
    """Up to what is of second order in the strength λ: ten times weaker, ten times nearer."""
    leak = 1.5 / (1 + 1.5 * 0.5)
    model, batch = model_of(DeepFeedbackControl(damping=leak)), double(toy_batch())
    found = updates(model, batch)

    def off(strength: float) -> float:
        there = simulated(model, batch, strength, seconds=30, dt=0.2)
        return max(float((found[key] - x).norm() / x.norm()) for key, x in there.items())

    weak, weaker = off(1e-3), off(1e-4)
    assert weaker < 1e-3
    assert weak / weaker == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_feedback_of_the_jacobian_makes_the_damped_gauss_newton_step(activation: str) -> None:
    """Q u = -Jᵀ (J Jᵀ + α I)⁻¹ ∂C/∂r; without damping J⁺, the least push that is right."""
    for damping in (0.7, 1e-9):
        model, batch = model_of(DeepFeedbackControl(damping), activation), double(toy_batch(samples=1))
        j = jacobian(model, batch)
        error = model.loss.gradient(model.network(batch.inputs), batch.targets).flatten()
        found = pushes(with_feedback(model, j.mT), batch)
        damped = j.mT @ torch.linalg.inv(j @ j.mT + damping * torch.eye(3)) @ error
        assert torch.allclose(found, -damped, rtol=1e-6, atol=1e-10)
    assert torch.allclose(found, -torch.linalg.pinv(j) @ error, rtol=1e-6)
    assert torch.allclose(j @ found, -error, rtol=1e-6)


def test_without_damping_any_feedback_of_the_right_column_space_makes_the_least_push() -> None:
    model, batch = model_of(DeepFeedbackControl(1e-9)), double(toy_batch(samples=1))
    j, mixed = jacobian(model, batch), torch.tensor([[2.0, 1, 0], [0, 1, 0], [1, 0, 3]]).double()
    error = model.loss.gradient(model.network(batch.inputs), batch.targets).flatten()
    found = pushes(with_feedback(model, j.mT @ mixed), batch)
    assert torch.allclose(found, -torch.linalg.pinv(j) @ error, rtol=1e-5)


def test_strong_damping_makes_the_gradient() -> None:
    """Of relu units, whose slope is its own square: α ΔW becomes backpropagation's as 1/α."""
    batch = double(toy_batch(samples=1))
    worst = []
    for damping in (1e4, 1e5):
        model = model_of(DeepFeedbackControl(damping), "relu")
        found = updates(with_feedback(model, jacobian(model, batch).mT), batch)
        true = gradients(model, batch)
        worst.append(max(float((damping * found[k] - g).norm() / g.norm()) for k, g in true.items()))
    assert worst[0] < 1e-3
    assert worst[0] / worst[1] == pytest.approx(10, rel=0.01)


# ------------------------------------------------------------------------------ feedback that learns


class EveryUnitOnce:
    """Noise whose second moment over the batch is exactly the identity: sample i shakes unit i, by √units."""

    def __init__(self, sizes: list[int]) -> None:
        rows = float(sum(sizes)) ** 0.5 * torch.eye(sum(sizes)).double()
        self.left: list[Tensor] = list(rows.split(sizes, 1))

    def normal(self, *shape: int) -> Tensor:
        return self.left.pop(0).unsqueeze(0)

    def uniform(self, *shape: int) -> Tensor:
        raise NotImplementedError

    def integers(self, high: int, *shape: int) -> Tensor:
        raise NotImplementedError


def test_feedback_rests_where_its_columns_are_those_of_the_jacobian() -> None:
    """For one input Q = Jᵀ M rests if α = β m (s m + α)² for M's and J Jᵀ's common eigenvectors, m and s."""
    alpha, beta = 0.8, 0.3
    model = model_of(DeepFeedbackControl(alpha, beta))
    sizes = [block.output_size for block in model.network.blocks]
    one = double(toy_batch(samples=1))
    j = jacobian(model, one)
    values, vectors = torch.linalg.eigh(j @ j.mT)
    low, high = torch.zeros_like(values), torch.full_like(values, 100.0)
    for _ in range(80):  # bisection
        m = (low + high) / 2
        above = beta * m * (values * m + alpha).square() > alpha
        low, high = torch.where(above, low, m), torch.where(above, m, high)
    at_rest = j.mT @ vectors @ torch.diag(m) @ vectors.mT
    many = Batch(one.inputs.expand(1, sum(sizes), 1, 4, 4), one.targets.expand(1, sum(sizes)))

    def pull(feedback: Tensor) -> Tensor:
        context: Context = replace(model.context(), noise=EveryUnitOnce(sizes))
        yielded = model.rule.step(model.network, many, with_feedback(model, feedback).state, context)
        found = {target: update for target, update in yielded if isinstance(target, str)}
        parts = [found[block.name] for block in model.network.blocks]
        return torch.cat([part[0].mT for part in parts if isinstance(part, Tensor)])

    assert pull(at_rest).norm() < 1e-12
    aside = 0.01 * torch.randn(at_rest.shape, generator=torch.Generator().manual_seed(0)).double()
    assert (pull(at_rest + aside) * aside).sum() > 0.1 * aside.square().sum()  # and it is pulled back


def test_feedback_turns_into_the_jacobians_row_space() -> None:
    """The share of its length that lies there, from random feedback by plain descent on one input."""
    model = model_of(DeepFeedbackControl(1.0, 0.1))
    one = double(toy_batch(samples=1))
    many = Batch(one.inputs.expand(1, 50, 1, 4, 4), one.targets.expand(1, 50))
    j = jacobian(model, one)
    onto = torch.linalg.pinv(j) @ j

    def share() -> float:
        q = torch.cat([model.state.learned[block.name][0].mT for block in model.network.blocks])
        return float((onto @ q).norm() / q.norm())

    before = share()
    for _ in range(300):
        found = updates(model, many)
        model.state = State({name: q - 0.1 * found[name] for name, q in model.state.learned.items()})
    assert before < 0.8
    assert share() > 0.98


# ------------------------------------------------------------------------------ what it needs and costs


def test_feedback_control_says_what_it_cannot_do() -> None:
    rule, task = DeepFeedbackControl(), toy_task()
    assert "elementwise" in (rule.supports(network(task, "conv"), task) or "")
    assert "elementwise" in (rule.supports(network(task, normalisation="layer"), task) or "")
    assert rule.supports(network(task, activation="gelu"), task) is None
    with pytest.raises(CreditbenchError, match="damping is 0"):
        DeepFeedbackControl(damping=0)


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 12), st.integers(2, 15), st.integers(1, 4))
def test_feedback_control_costs_its_closed_form(batch: int, width: int, depth: int) -> None:
    """Forward pass and outer products; three controls and the noise through all but the first weights; pushes
    of both phases and the feedback's outer product; elimination in 3 x 3 systems with two right sides."""
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    units = depth * width + 3
    model = learner(DeepFeedbackControl(), width=width, depth=depth)
    with count_operations() as ops:
        model.step(toy_batch(samples=batch))
    elimination, substitution = 3 * 2 * 5 // 6, 2 * 2 * (3 * 2 // 2)
    expected = 2 * sum(layers) + 4 * sum(layers[1:]) + 3 * 3 * units + elimination + substitution
    assert ops.macs == batch * expected
