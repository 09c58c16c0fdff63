"""Rules that send targets, two states or labels: each against the limit or the oracle that defines it."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import elu, one_hot

from creditbench.baselines.rules.counter_current import CounterCurrentLearning
from creditbench.baselines.rules.dual_propagation import DualPropagation
from creditbench.baselines.rules.target_propagation import (
    DifferenceTargetPropagation,
    FixedWeightTargetPropagation,
    way_back,
)
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, LearningRule, Network, State
from tools import gradients, learner, network, toy_batch, updates


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def model_of(rule: LearningRule, name: str = "mlp", activation: str = "tanh", **options: Any) -> Learner:
    options = {"width": 7, "depth": 2, **options} if name == "mlp" else {"width": 3, **options}
    model = learner(rule, name=name, double=True, activation=activation, **options)
    state = model.state
    model.state = State(
        {key: value.double() for key, value in state.learned.items()},
        {key: value.double() for key, value in state.carried.items()},
    )
    return model


# ------------------------------------------------------------------------------ target propagation


def test_small_target_steps_send_back_the_slope_of_the_way_back() -> None:
    """As τ falls, what a block is told is backpropagation with g's slope in the place of f's transpose."""
    model, batch = model_of(FixedWeightTargetPropagation(stepsize=1e-6)), double(toy_batch())
    traces = model.network.forward(batch.inputs)
    signal = model.loss.gradient(traces[-1].output, batch.targets)
    found = updates(model, batch)
    for place in (2, 1, 0):
        block, trace = model.network.blocks[place], traces[place]
        for key, tensor in block.update(trace, signal).items():
            assert torch.allclose(found[f"{block.name}.{key}"], tensor, rtol=1e-4, atol=1e-9), key
        if place > 0:
            weight, value = model.state.carried[block.name], trace.output.clone().requires_grad_()
            signal = torch.autograd.functional.jvp(lambda h, w=weight: way_back(w, h), value, signal)[1]


def test_targets_of_the_first_block_move_it() -> None:
    model, batch = model_of(FixedWeightTargetPropagation()), double(toy_batch())
    assert updates(model, batch)["0.weight"].abs().max() > 0


def test_the_way_back_learns_by_the_slope_of_its_reconstruction() -> None:
    rule = DifferenceTargetPropagation(noise=0.3)
    model, batch = model_of(rule), double(toy_batch())
    states = [generator.get_state() for generator in model.noise.generators]
    found = updates(model, batch)
    for generator, state in zip(model.noise.generators, states, strict=True):
        generator.set_state(state)
    traces = model.network.forward(batch.inputs)
    for block, below in zip(reversed(model.network.blocks[1:]), reversed(traces[:-1]), strict=True):
        back = model.state.learned[f"{block.name}.back"].clone().requires_grad_()
        shift = model.state.learned[f"{block.name}.shift"].clone().requires_grad_()
        noisy = below.output + 0.3 * model.noise.normal(*below.output.shape[1:])
        with torch.enable_grad():
            again = way_back(back, block.forward(noisy).output, shift)
            (0.5 * (again - noisy).square().sum() / 9).backward()
        assert back.grad is not None
        assert shift.grad is not None
        assert torch.allclose(found[f"{block.name}.back"], back.grad)
        assert torch.allclose(found[f"{block.name}.shift"], shift.grad)


def test_the_way_back_comes_to_reconstruct() -> None:
    model, batch = learner(DifferenceTargetPropagation(), width=16, activation="tanh", rate=0.01), toy_batch()

    def error() -> float:
        traces = model.network.forward(batch.inputs)
        block, below = model.network.blocks[1], traces[0].output
        again = way_back(model.state.learned["1.back"], traces[1].output, model.state.learned["1.shift"])
        assert block.name == "1"
        return float((again - below).square().mean())

    before = error()
    for _ in range(200):
        model.step(batch)
    assert error() < 0.3 * before


# ------------------------------------------------------------------------------ dual propagation


def with_relu(model: Learner, name: str) -> Network:
    """The same weights in the network whose hidden blocks end in relu."""
    made = network(model.task, name, activation="relu", width=7 if name == "mlp" else 3)
    return made.bind([block.parameters for block in model.network.blocks])


@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("passes", [1, 2])
def test_dual_propagation_becomes_backpropagation_as_its_nudge_falls(name: str, passes: int) -> None:
    """Of the network with relu: max(·, 0) behind max pooling is the same as before it."""
    model, batch = model_of(DualPropagation(1e-7, passes), name, "identity"), double(toy_batch())
    found = updates(model, batch)
    model.network = with_relu(model, name)
    for key, gradient in gradients(model, batch).items():
        assert torch.allclose(found[key], gradient, rtol=1e-5, atol=1e-8), key


def test_dual_propagation_infers_as_the_network_with_relu() -> None:
    model, batch = model_of(DualPropagation(), "conv", "identity"), double(toy_batch())
    scores = model.rule.predict(model.network, batch.inputs, model.state)
    assert torch.allclose(scores, with_relu(model, "conv")(batch.inputs))


# ------------------------------------------------------------------------------ counter-current learning


@pytest.mark.parametrize("similarity", ["scaled", "paper"])
def test_counter_current_learning_is_local_losses_with_both_neighbours_held(similarity: Any) -> None:
    model, batch = model_of(CounterCurrentLearning(similarity), activation="elu"), double(toy_batch())
    found = updates(model, batch)
    targets = one_hot(batch.targets, 3).double()
    rows = {"2": torch.eye(3, dtype=torch.float64).unsqueeze(0)}
    for name, above in (("1", "2"), ("0", "1")):
        rows[name] = elu(rows[above] @ model.state.learned[above].mT)
    below = batch.inputs
    for block, above in zip(model.network.blocks[:-1], ("1", "2"), strict=True):
        leaves = {key: p.clone().requires_grad_() for key, p in block.parameters.items()}
        back = model.state.learned[above].clone().requires_grad_()
        with torch.enable_grad():
            features = block.bind(leaves).forward(below).output
            scores = features @ elu(rows[above] @ back.mT).mT
            if similarity == "scaled":
                loss = 0.5 * 3 * (scores / 7**0.5 - targets).square().mean()
            else:
                loss = 0.5 * (256 / 7) * (scores - targets).square().mean()
            loss.backward()
        for key, leaf in leaves.items():
            assert leaf.grad is not None
            assert torch.allclose(found[f"{block.name}.{key}"], leaf.grad), key
        assert back.grad is not None
        assert torch.allclose(found[above], back.grad)
        below = block.forward(below).output.detach()


def test_nothing_above_reaches_a_block_under_counter_current_learning() -> None:
    model, batch = model_of(CounterCurrentLearning(), activation="elu"), double(toy_batch())
    before = updates(model, batch)
    for block in model.network.blocks[1:]:
        block.weight.mul_(-2.0)
    after = updates(model, batch)
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


# ------------------------------------------------------------------------------ what they cost


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 12), st.integers(2, 15), st.integers(1, 4))
def test_rules_that_send_targets_cost_their_closed_forms(batch: int, width: int, depth: int) -> None:
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    forward, above = batch * sum(layers), batch * sum(layers[1:])

    def counted(rule: LearningRule, activation: str) -> int:
        model = learner(rule, width=width, depth=depth, activation=activation)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    # Targets and values go back side by side; for dtp noisy values go up, back, and teach the way back.
    assert counted(FixedWeightTargetPropagation(), "tanh") == 2 * forward + 2 * above
    assert counted(DifferenceTargetPropagation(), "tanh") == 2 * forward + (1 + 3 + 1) * above
    for passes in (1, 2):
        expected = forward + passes * (forward + above)
        assert counted(DualPropagation(passes=passes), "identity") == expected
    rows, hidden = 3 * sum(layers[1:]), depth * width
    expected = 2 * forward + 2 * rows + 3 * batch * 3 * hidden
    assert counted(CounterCurrentLearning(), "elu") == expected
