"""Error forward propagation against its equations and in the limit of a small nudge."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.efp import ErrorForwardPropagation
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, State
from tools import gradients, learner, network, toy_batch, toy_task, updates


def model_of(nudge: float, seeds: tuple[int, ...] = (0,), **options: Any) -> Learner:
    model = learner(ErrorForwardPropagation(nudge=nudge), double=True, seeds=seeds, **options)
    model.state = State(carried={"loop": model.state.carried["loop"].double()})
    return model


def batch_of(seeds: int = 1) -> Batch:
    batch = toy_batch(seeds)
    return Batch(batch.inputs.double(), batch.targets)


def test_efp_by_hand() -> None:
    """One input 2, two hidden identity units one above the other (w 0.5 and 3), outputs (w 1 and 0), all
    biases 0, target class 1. Then h = (1, 3), y = (3, 0), e = (p, -p) with p = 1 / (1 + exp(-3)). With the
    loop S = (0.2, 0.1)ᵀ and β = 2: t_1 = 1 - 2 * 0.1 p, t_2 = 3 t_1, so that (t_1 - h_1) / β = -0.1 p and
    (t_2 - h_2) / β = -0.3 p; they are paired with x and t_1. A rule yields what is descended."""
    rule = ErrorForwardPropagation(nudge=2.0)
    model = learner(rule, toy_task((1,), 2), depth=2, width=1, activation="identity")
    for block, weight in zip(model.network.blocks, ([[0.5]], [[3.0]], [[1.0], [0.0]]), strict=True):
        block.weight.copy_(torch.tensor([weight]))
        block.parameters["bias"].zero_()
    model.state = State(carried={"loop": torch.tensor([[[0.2], [0.1]]])})
    found = updates(model, Batch(torch.tensor([[[2.0]]]), torch.tensor([[1]])))
    p = 0.95257413  # 1 / (1 + exp(-3))
    assert found["2.weight"].flatten().tolist() == pytest.approx([3 * p, -3 * p])
    assert found["0.weight"].item() == pytest.approx(0.1 * p * 2, rel=1e-5)
    assert found["0.bias"].item() == pytest.approx(0.1 * p, rel=1e-5)
    assert found["1.weight"].item() == pytest.approx(0.3 * p * (1 - 0.2 * p), rel=1e-5)
    assert found["1.bias"].item() == pytest.approx(0.3 * p, rel=1e-5)


def along(function: Callable[[Tensor], Tensor], point: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """The function's value and its derivative along a direction."""
    value, slope = torch.func.jvp(function, (point,), (tangent,))[:2]
    return value, slope


@pytest.mark.parametrize("options", [{"depth": 1}, {"depth": 3}, {"depth": 2, "normalisation": "layer"}])
def test_the_error_travels_forward_as_the_network_itself_does(options: dict[str, Any]) -> None:
    """With a small nudge the phases differ by the network's derivative along -S e: a forward-mode product."""
    nudge = 1e-6
    model, batch = model_of(nudge, activation="tanh", **options), batch_of()
    found = updates(model, batch)
    trace = model.network.forward(batch.inputs)
    error = model.loss.gradient(trace[-1].output, batch.targets)
    tangent = -error @ model.state.carried["loop"]
    first, *middle, _ = model.network.blocks
    a, below = first.preactivate(batch.inputs), batch.inputs
    h, tangent = along(lambda u: first.activate(u).output, a, tangent)
    for block in (first, *middle):
        if block is not first:
            below, (h, tangent) = h, along(lambda u, b=block: b.forward(u).output, h, tangent)  # type: ignore[misc]
        expected = -tangent.mT @ below.flatten(2)
        assert torch.allclose(found[f"{block.name}.weight"], expected, rtol=1e-4, atol=1e-6), block.name


def test_the_first_block_learns_as_under_dfa_when_the_nudge_is_small() -> None:
    model, batch = model_of(1e-7, activation="tanh", depth=1), batch_of()
    direct = learner(DirectFeedbackAlignment(), double=True, activation="tanh", depth=1)
    direct.state = State(carried={"0": model.state.carried["loop"]})
    for name, expected in updates(direct, batch).items():
        assert torch.allclose(updates(model, batch)[name], expected, atol=1e-6), name


def test_the_output_layer_learns_by_the_delta_rule() -> None:
    model, batch = model_of(0.3, depth=3), batch_of()
    expected, found = gradients(model, batch), updates(model, batch)
    for name in ("3.weight", "3.bias"):
        assert torch.allclose(found[name], expected[name], atol=1e-12)


@pytest.mark.parametrize("options", [{"depth": 0}, {"normalisation": "batch"}])
def test_networks_that_it_cannot_train_are_refused(options: dict[str, Any]) -> None:
    task = toy_task()
    assert ErrorForwardPropagation().supports(network(task, **options), task)


def test_pooling_is_refused() -> None:
    task = toy_task((1, 8, 8))
    assert "pooling" in (ErrorForwardPropagation().supports(network(task, "conv"), task) or "")
