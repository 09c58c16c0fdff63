"""PEPITA and MEMPEPITA: by hand, in the limit of a small error, and against each other."""

from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.rules.pepita import Mempepita, Pepita
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, State
from tools import learner, network, toy_batch, toy_task, updates

RULES = [Pepita, Mempepita]


def with_feedback(model: Learner, feedback: Tensor) -> Learner:
    model.state = State(carried={"feedback": feedback})
    return model


@pytest.mark.parametrize("rule", RULES)
def test_pepita_by_hand(rule: type[Pepita]) -> None:
    """Input 2; one hidden tanh unit (w 0.5, b 0); outputs (w 1 and -1, b 0); class 0; F = (3, 1)."""
    model = learner(rule(), toy_task((1,), 2), depth=1, width=1, activation="tanh")
    hidden, output = model.network.blocks
    hidden.weight.fill_(0.5)
    hidden.parameters["bias"].zero_()
    output.parameters["bias"].zero_()
    output.weight.copy_(torch.tensor([[[1.0], [-1.0]]]))
    with_feedback(model, torch.tensor([[[3.0], [1.0]]]))
    found = updates(model, Batch(torch.tensor([[[2.0]]]), torch.tensor([[0]])))
    p = 0.82100750  # softmax of (h, -h) with h = tanh(1) = 0.76159416
    e = torch.tensor([p - 1, 1 - p])
    x = 2 + 3 * (p - 1) + (1 - p)  # 1.64201500, and half of it goes through tanh
    h, modulated = 0.76159416, 0.67561786
    assert x == pytest.approx(1.642015)
    assert found["0.weight"].item() == pytest.approx((h - modulated) * x, abs=1e-6)
    assert found["0.bias"].item() == pytest.approx(h - modulated, abs=1e-6)
    assert torch.allclose(found["1.weight"].flatten(), e * modulated, atol=1e-6)
    assert torch.allclose(found["1.bias"].flatten(), e, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_batchs_update_is_the_mean_of_its_samples(depth: int) -> None:
    """e is each sample's own: what comes in at the input does not shrink with the batch."""
    model = learner(Pepita(feedback_scale=2.0), double=True, depth=depth, width=5)
    with_feedback(model, model.state.carried["feedback"].double())
    batch = toy_batch(samples=6)
    whole = updates(model, Batch(batch.inputs.double(), batch.targets))
    single = [
        updates(model, Batch(batch.inputs[:, i : i + 1].double(), batch.targets[:, i : i + 1]))
        for i in range(6)
    ]
    for name, update in whole.items():
        assert torch.allclose(update, torch.stack([own[name] for own in single]).mean(0), atol=1e-12), name


def test_in_the_limit_of_a_small_error_the_first_update_is_feedback_alignment() -> None:
    """h - h^err → -f'(a) ⊙ W F e: the error fed back through the network's own forward weights and F."""
    small = 1e-6
    model = learner(Pepita(), double=True, depth=1, width=5, activation="tanh")
    direction = torch.randn(1, 3, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    with_feedback(model, small * direction)
    batch = toy_batch(samples=1)
    x = batch.inputs.double()
    found = updates(model, Batch(x, batch.targets))
    first, last = model.network.blocks
    trace = first.forward(x)
    error = model.loss.gradient(last.forward(trace.output).output, batch.targets)
    back = -(error @ direction.flatten(2)) @ first.weight.mT
    expected = first.update(trace, back)["weight"]
    assert torch.allclose(found["0.weight"] / small, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "options"), [
    ("mlp", {"depth": 4, "dropout": 0.3}), ("conv", {"width": 3, "dropout": 0.3}),
])  # fmt: skip
def test_mempepita_is_pepita(name: str, options: dict[str, Any]) -> None:
    """Every update, and with dropout too: all three passes silence the same units."""
    task, batch = toy_task((1, 8, 8)), toy_batch(seeds=2, shape=(1, 8, 8))
    one, other = (learner(rule(), task, name, seeds=(0, 1), **options) for rule in RULES)
    with_feedback(other, one.state.carried["feedback"])
    for generator, same in zip(other.noise.generators, one.noise.generators, strict=True):
        generator.set_state(same.get_state())
    expected, found = updates(one, batch), updates(other, batch)
    assert expected.keys() == found.keys()
    for key in expected:
        assert torch.equal(found[key], expected[key]), key


@pytest.mark.parametrize("rule", RULES)
def test_without_an_error_nothing_hidden_moves_under_dropout(rule: type[Pepita]) -> None:
    """F = 0: the two passes differ in nothing, so their masks must be the same."""
    model = learner(rule(), depth=3, width=8, dropout=0.5)
    with_feedback(model, torch.zeros_like(model.state.carried["feedback"]))
    found = updates(model, toy_batch())
    assert max(found[f"{number}.weight"].abs().max().item() for number in range(3)) == 0
    assert found["3.weight"].abs().max() > 0


def test_behind_a_convolution_the_difference_is_taken_before_pooling() -> None:
    model = learner(Pepita(feedback_scale=3.0), toy_task((1, 8, 8)), "conv", double=True, width=3)
    with_feedback(model, model.state.carried["feedback"].double())
    batch = toy_batch(shape=(1, 8, 8))
    batch = Batch(batch.inputs.double(), batch.targets)
    found = updates(model, batch)
    error = model.loss.gradient(model.network(batch.inputs), batch.targets) * batch.targets.shape[1]
    x = batch.inputs + torch.einsum("sbc,scijk->sbijk", error, model.state.carried["feedback"])
    h, below = batch.inputs, x
    for number, block in enumerate(model.network.blocks[:-1]):
        kernel = block.weight[0].clone().requires_grad_()
        a = torch.nn.functional.conv2d(below[0], kernel, block.parameters["bias"][0], padding=1)
        apart = torch.relu(block.preactivate(h))[0] - torch.relu(a)
        (expected,) = torch.autograd.grad(a, kernel, apart.detach() / batch.targets.shape[1])
        assert torch.allclose(found[f"{number}.weight"][0], expected, atol=1e-12)
        h, below = block.forward(h).output, block.forward(below).output


def test_feedback_has_the_authors_scale_and_stays_as_it_was_drawn() -> None:
    model = learner(Pepita(feedback_scale=0.5), toy_task((1, 20, 20)))
    bound = 0.5 * (6 / 400) ** 0.5
    feedback = model.state.carried["feedback"].clone()
    assert feedback.abs().max() <= bound
    assert feedback.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    model.step(toy_batch(shape=(1, 20, 20)))
    assert torch.equal(model.state.carried["feedback"], feedback)


def test_pepita_refuses_what_its_equation_does_not_know() -> None:
    task = toy_task()
    reason = Pepita().supports(network(task, normalisation="layer"), task)
    assert reason is not None
    assert "gain and shift" in reason
