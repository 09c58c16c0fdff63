"""Each rule against its paper's equations: a theorem, a hand-worked case, or an independent spelling."""

from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.baselines.rules.last_layer import LastLayer
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Network, State
from tools import gradients, learner, network, toy_batch, toy_task, updates


def doubled(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def with_state(model: Learner, carried: dict[str, Tensor]) -> Learner:
    model.state = State(model.state.learned, carried)
    return model


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], close: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.allclose(found[name], expected[name], atol=close, rtol=1e-9), name


# ------------------------------------------------------------------------------- bp, last-layer

STEP = 1e-6  # of the difference quotient


def test_bp_is_the_slope_of_the_loss() -> None:
    model, batch = learner(Backpropagation(), double=True, activation="tanh"), doubled(toy_batch())
    found = updates(model, batch)
    for block in model.network.blocks:
        for name, parameter in block.parameters.items():
            direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double()

            def loss(sign: int, p: Tensor = parameter, d: Tensor = direction) -> float:
                p += sign * STEP * d
                value = model.loss.value(model.network(batch.inputs), batch.targets).item()
                p -= sign * STEP * d
                return value

            slope = (loss(1) - loss(-1)) / (2 * STEP)
            assert slope == pytest.approx((found[f"{block.name}.{name}"] * direction).sum().item(), rel=1e-6)


def test_bp_by_hand() -> None:
    """One input 2, one hidden tanh unit (w 0.5, b 0), two outputs (w 1 and -1, b 0), target class 0."""
    task = toy_task((1,), 2)
    model = learner(Backpropagation(), task, depth=1, width=1, activation="tanh")
    hidden, output = model.network.blocks
    hidden.weight.fill_(0.5)
    hidden.parameters["bias"].zero_()
    output.parameters["bias"].zero_()
    output.weight.copy_(torch.tensor([[[1.0], [-1.0]]]))
    found = updates(model, Batch(torch.tensor([[[2.0]]]), torch.tensor([[0]])))
    h = 0.76159416  # tanh(0.5 * 2)
    p = 0.82100750  # softmax of (h, -h): 1 / (1 + exp(-2 h))
    e = torch.tensor([p - 1, 1 - p])  # dC/da = softmax - one-hot
    assert torch.allclose(found["1.weight"].flatten(), e * h, atol=1e-6)
    delta = (e[0] - e[1]) * (1 - h * h)  # W_2 transposed times e, times tanh'
    assert torch.allclose(found["0.weight"].flatten(), delta * 2, atol=1e-6)
    assert torch.allclose(found["0.bias"].flatten(), delta, atol=1e-6)


def test_last_layer_moves_the_output_layer_as_bp_does_and_nothing_else() -> None:
    model, batch = learner(LastLayer(), depth=3, double=True), doubled(toy_batch())
    expected = {name: g for name, g in gradients(model, batch).items() if name.startswith("3.")}
    assert_same(updates(model, batch), expected)


# ------------------------------------------------------------------------------- fa, dfa


@pytest.mark.parametrize("options", [{"depth": 4}, {"depth": 2, "normalisation": "batch"}, {"depth": 0}])
def test_fa_is_bp_when_its_feedback_is_the_transposed_weights(options: dict[str, Any]) -> None:
    model = learner(FeedbackAlignment(), double=True, seeds=(0, 1), **options)
    batch = doubled(toy_batch(seeds=2))
    weights = {block.name: block.weight.clone() for block in model.network.blocks[1:]}
    assert_same(updates(with_state(model, weights), batch), gradients(model, batch))


def test_fa_is_bp_on_convolutions_when_its_feedback_is_the_own_kernels() -> None:
    task = toy_task((2, 8, 8))
    model = learner(FeedbackAlignment(), task, "conv", double=True, width=3)
    batch = doubled(toy_batch(shape=(2, 8, 8)))
    weights = {block.name: block.weight.clone() for block in model.network.blocks[1:]}
    assert_same(updates(with_state(model, weights), batch), gradients(model, batch))


def test_fa_follows_its_equation_with_the_feedback_it_drew() -> None:
    model = learner(FeedbackAlignment(), double=True, width=5, activation="tanh")
    batch = doubled(toy_batch())
    feedback = {k: b.double() for k, b in model.state.carried.items()}
    found = updates(with_state(model, feedback), batch)
    x, (w1, w2, w3) = batch.inputs.flatten(2)[0], (b.weight[0] for b in model.network.blocks)
    b1, b2, b3 = (b.parameters["bias"][0] for b in model.network.blocks)
    h1 = torch.tanh(x @ w1.T + b1)
    h2 = torch.tanh(h1 @ w2.T + b2)
    y = torch.softmax(h2 @ w3.T + b3, -1)
    d3 = (y - torch.eye(3, dtype=y.dtype)[batch.targets[0]]) / len(x)
    d2 = d3 @ feedback["2"][0] * (1 - h2**2)
    d1 = d2 @ feedback["1"][0] * (1 - h1**2)
    for name, delta, below in (("0", d1, x), ("1", d2, h1), ("2", d3, h2)):
        assert torch.allclose(found[f"{name}.weight"][0], delta.T @ below)
        assert torch.allclose(found[f"{name}.bias"][0], delta.sum(0))


def test_feedback_has_the_distribution_of_the_weights_it_stands_for() -> None:
    model = learner(FeedbackAlignment(feedback_scale=2.0), width=200)
    bound = 2 / 200**0.5
    feedback = model.state.carried["1"]
    assert feedback.abs().max() <= bound
    assert feedback.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert model.state.carried.keys() == {"1", "2"}
    direct = learner(DirectFeedbackAlignment(feedback_scale=3.0), width=200).state.carried["0"]
    assert direct.shape == (1, 3, 200)
    assert direct.std().item() == pytest.approx(3 / 200**0.5 / 3**0.5, rel=0.05)


def test_dfa_is_bp_with_one_hidden_layer_and_the_output_weights_for_feedback() -> None:
    model = learner(DirectFeedbackAlignment(), double=True, depth=1, activation="tanh")
    batch = doubled(toy_batch())
    weights = {"0": model.network.blocks[1].weight.clone()}
    assert_same(updates(with_state(model, weights), batch), gradients(model, batch))


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_dfa_sends_the_output_error_to_every_hidden_block_by_itself(name: str) -> None:
    task = toy_task((1, 8, 8))
    options: dict[str, Any] = {"mlp": {"depth": 3}, "conv": {"width": 3}}[name]
    model = learner(DirectFeedbackAlignment(), task, name, double=True, **options)
    batch = doubled(toy_batch(shape=(1, 8, 8)))
    feedback = {k: b.double() for k, b in model.state.carried.items()}
    found = updates(with_state(model, feedback), batch)
    traces = model.network.forward(batch.inputs, model.context())
    error = model.loss.gradient(traces[-1].output, batch.targets)
    inputs = batch.inputs
    for block, trace in zip(model.network.blocks[:-1], traces[:-1], strict=True):
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        output = block.bind(leaves).forward(inputs.detach(), model.context()).output
        wanted = torch.einsum("sbc,scu->sbu", error, feedback[block.name]).view_as(output)
        for key, gradient in zip(
            leaves, torch.autograd.grad(output, list(leaves.values()), wanted), strict=True
        ):
            assert torch.allclose(found[f"{block.name}.{key}"], gradient, atol=1e-12)
        inputs = trace.output


@pytest.mark.parametrize("rule", [FeedbackAlignment(), DirectFeedbackAlignment()])
def test_feedback_stays_as_it_was_drawn(rule: FeedbackAlignment) -> None:
    model = learner(rule)
    before = {k: b.clone() for k, b in model.state.carried.items()}
    for seed in range(3):
        model.step(toy_batch(seed=seed))
    assert all(torch.equal(before[k], model.state.carried[k]) for k in before)


def test_a_network_is_not_changed_by_binding_other_parameters() -> None:
    made: Network = network(toy_task())
    other = made.bind([{k: p + 1 for k, p in b.parameters.items()} for b in made.blocks])
    assert not torch.equal(made.blocks[0].weight, other.blocks[0].weight)
