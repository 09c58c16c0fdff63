"""Rules that send targets, two states or labels: each against the limit or the oracle that defines it."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import elu, one_hot

from creditbench.baselines.rules.counter_current import CounterCurrentLearning
from creditbench.baselines.rules.dual_propagation import DualPropagation
from creditbench.baselines.rules.target_propagation import (
    DifferenceTargetPropagation,
    DirectDifferenceTargetPropagation,
    FixedWeightTargetPropagation,
    LayerwiseDifferenceReconstruction,
    way_back,
)
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Block, LearningRule, Network, State, Trace
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


# ------------------------------------------------------------------------------ feedback that learns on noise


def teach_feedback(model: Learner, batch: Batch, steps: int, rate: float) -> None:
    """Plain descent of what is learned, one step as soon as each is known; the network stays as it is."""
    for _ in range(steps):
        for target, update in model.rule.step(model.network, batch, model.state, model.context()):
            if isinstance(target, str):
                assert isinstance(update, Tensor)
                model.state.learned[target].sub_(rate * update)


def again(model: Learner, states: list[Tensor]) -> None:
    """The noise of a step once more."""
    for generator, state in zip(model.noise.generators, states, strict=True):
        generator.set_state(state)


def to_the_output(model: Learner) -> list[Tensor]:
    """J_l of a linear network: the output's derivative by each hidden block's output, [1, classes, units]."""
    slopes = [model.network.blocks[-1].weight]
    for block in reversed(model.network.blocks[1:-1]):
        slopes.insert(0, slopes[0] @ block.weight)
    return slopes


def degrees(one: Tensor, other: Tensor) -> float:
    return float(torch.rad2deg((one.flatten() @ other.flatten() / one.norm() / other.norm()).acos()))


# DDTP-linear


def test_direct_feedback_learns_by_the_slope_of_its_difference_reconstruction() -> None:
    model = model_of(DirectDifferenceTargetPropagation(noise=0.3, damping=0.2))
    batch, states = double(toy_batch()), [g.get_state() for g in model.noise.generators]
    found = updates(model, batch)
    again(model, states)
    blocks, traces = model.network.blocks, model.network.forward(batch.inputs)
    for place, block in enumerate(blocks[:-1]):
        step = 0.3 * model.noise.normal(*traces[place].output.shape[1:])
        moved = Network("above", blocks[place + 1 :])(traces[place].output + step) - traces[-1].output
        back = model.state.learned[block.name].clone().requires_grad_()
        with torch.enable_grad():
            missed = (moved @ back - step).square().sum() / 9 / 0.3**2
            (0.5 * missed + 0.5 * 0.2 * back.square().sum()).backward()
        assert back.grad is not None
        assert torch.allclose(found[block.name], back.grad)


@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_direct_feedback_becomes_the_damped_pseudo_inverse_of_a_linear_network(damping: float) -> None:
    rule = DirectDifferenceTargetPropagation(noise=0.1, damping=damping)
    model, batch = model_of(rule, activation="identity"), double(toy_batch(samples=2000))
    for block in model.network.blocks:
        block.weight.mul_(2.0)
    teach_feedback(model, batch, 300, 0.5)
    teach_feedback(model, batch, 100, 0.05)
    for block, slope in zip(model.network.blocks[:-1], to_the_output(model), strict=True):
        square = slope @ slope.mT + damping * torch.eye(3, dtype=torch.float64)
        wanted = square.inverse() @ slope  # [1, classes, units]: the transpose of Jᵀ (J Jᵀ + λ)⁻¹
        assert (model.state.learned[block.name] - wanted).norm() < 0.05 * wanted.norm()


def test_targets_through_the_pseudo_inverse_are_the_nearest_that_give_the_wanted_output() -> None:
    """Gauss-Newton's: of all changes of a block that move the output as its target says, the shortest."""
    model, batch = model_of(DirectDifferenceTargetPropagation(), activation="identity"), double(toy_batch())
    one = Batch(batch.inputs[:, :1], batch.targets[:, :1])  # one sample: a bias's update is its change
    slopes = dict(zip(("0", "1"), to_the_output(model), strict=True))
    for name, slope in slopes.items():
        model.state.learned[name].copy_(torch.linalg.pinv(slope).mT)
    wanted = model.loss.gradient(model.network(one.inputs), one.targets)[0, 0]
    found = updates(model, one)
    for name, slope in slopes.items():
        change = found[f"{name}.bias"][0]
        assert torch.allclose(slope[0] @ change, wanted)
        assert torch.allclose(change, torch.linalg.lstsq(slope[0], wanted[:, None]).solution[:, 0])


def test_targets_through_the_transposed_slope_are_backpropagations() -> None:
    model, batch = model_of(DirectDifferenceTargetPropagation(), activation="identity"), double(toy_batch())
    for name, slope in zip(("0", "1"), to_the_output(model), strict=True):
        model.state.learned[name].copy_(slope)
    found = updates(model, batch)
    for key, gradient in gradients(model, batch).items():
        assert torch.allclose(found[key], gradient), key


# L-DRL


@pytest.fixture
def _float64() -> Iterator[None]:
    """Noise comes in torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def mismatch(model: Learner, batch: Batch) -> list[float]:
    """Angles between g_l's Jacobian and f_l's transposed one, over 20 samples [degrees]. (Not between V_l and
    W_l: where pooling never looks, V_l stays as it was.)"""
    found, traces = [], model.network.forward(batch.inputs[:, :20])
    for block, trace in zip(model.network.blocks[1:], traces[1:], strict=True):
        assert trace.inputs is not None
        ways = torch.eye(trace.output[0, 0].numel()).view(1, -1, *trace.output.shape[2:])
        forwards, backwards = [], []
        for sample in range(20):
            inputs = trace.inputs[:, sample : sample + 1].expand(-1, ways.shape[1], *trace.inputs.shape[2:])
            own = block.forward(inputs)
            forwards.append(block.pullback(own, ways)[1])
            backwards.append(handed_back(block, own, ways, model.state.learned[block.name]))
        found.append(degrees(torch.stack(forwards), torch.stack(backwards)))
    return found


def handed_back(block: Block, trace: Trace, value: Tensor, back: Tensor) -> Tensor:
    """g_l."""
    return block.transport(block.deactivate(trace, value)[0], back)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_layerwise_feedback_learns_by_the_slope_of_its_reconstruction(name: str) -> None:
    rule = LayerwiseDifferenceReconstruction(iterations=1, noise=0.3)
    model, batch = model_of(rule, name), double(toy_batch())
    states = [generator.get_state() for generator in model.noise.generators]
    found = updates(model, batch)
    again(model, states)
    for block, trace in zip(model.network.blocks[1:], model.network.forward(batch.inputs)[1:], strict=True):
        assert trace.inputs is not None
        below = 0.3 * model.noise.normal(*trace.inputs.shape[1:])
        here = 0.3 * model.noise.normal(*trace.output.shape[1:])
        moved = block.forward(trace.inputs + below).output - trace.output
        back = model.state.learned[block.name].clone().requires_grad_()
        with torch.enable_grad():
            kept = 0.5 * handed_back(block, trace, here, back).square().sum()
            met = (below * handed_back(block, trace, moved, back)).sum()
            ((kept - met) / 9 / 0.3**2).backward()
        assert back.grad is not None
        assert torch.allclose(found[block.name], back.grad)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("name", "activation"), [("mlp", "tanh"), ("mlp", "elu"), ("conv", "elu")])
def test_layerwise_feedback_comes_to_have_the_transposed_jacobian(name: str, activation: str) -> None:
    rule = LayerwiseDifferenceReconstruction(iterations=2, noise=0.01)
    model = model_of(rule, name, activation)
    batch = double(toy_batch(samples=300))
    assert min(mismatch(model, batch)) > 45
    teach_feedback(model, batch, 100, 0.3)
    teach_feedback(model, batch, 50, 0.05)
    assert max(mismatch(model, batch)) < 5


@pytest.mark.usefixtures("_float64")
def test_the_more_iterations_the_smaller_the_angle_of_layerwise_feedback() -> None:
    """After three batches, the network held still."""
    angles = []
    for iterations in (1, 4, 16):
        rule = LayerwiseDifferenceReconstruction(iterations=iterations)
        model, batch = model_of(rule), double(toy_batch(samples=300))
        teach_feedback(model, batch, 3, 0.1)
        angles.append(mismatch(model, batch)[0])
    assert angles[0] > 1.5 * angles[1] > 1.5**2 * angles[2]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_where_the_jacobians_match_layerwise_targets_are_backpropagations(name: str) -> None:
    model, batch = model_of(LayerwiseDifferenceReconstruction(), name), double(toy_batch())
    for block in model.network.blocks[1:]:
        model.state.learned[block.name].copy_(block.weight)
    found = updates(model, batch)
    for key, gradient in gradients(model, batch).items():
        assert torch.allclose(found[key], gradient), key


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
    # Noise goes up from every hidden block; an error comes to each once, noise once, and what it teaches.
    rising = batch * sum(sum(layers[place:]) for place in range(1, depth + 1))
    direct = batch * 3 * depth * width
    assert counted(DirectDifferenceTargetPropagation(), "tanh") == 2 * forward + rising + 3 * direct
    # Errors go down; in each iteration noise goes up, noise goes down, and either teaches.
    for iterations in (1, 3):
        expected = 2 * forward + (1 + 4 * iterations) * above
        assert counted(LayerwiseDifferenceReconstruction(iterations), "elu") == expected
    for passes in (1, 2):
        expected = forward + passes * (forward + above)
        assert counted(DualPropagation(passes=passes), "identity") == expected
    rows, hidden = 3 * sum(layers[1:]), depth * width
    expected = 2 * forward + 2 * rows + 3 * batch * 3 * hidden
    assert counted(CounterCurrentLearning(), "elu") == expected
