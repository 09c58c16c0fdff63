"""SCFF against pairs of images that are really put side by side."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from creditbench.baselines.rules import scff
from creditbench.baselines.rules.scff import SelfContrastiveForwardForward, centred
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch
from tools import learner, network, toy_batch, toy_task, updates

RULE = SelfContrastiveForwardForward(right=0.3, wrong=0.7, penalty=0.05)
SHAPE = (1, 8, 8)


def made(name: str, **options: Any) -> tuple[Learner, Batch]:
    sizes: dict[str, Any] = {"mlp": {"width": 6, "depth": 3}, "conv": {"width": 3}}[name]
    batch = toy_batch(shape=SHAPE)
    model = learner(RULE, toy_task(SHAPE), name, double=True, **sizes, **options)
    return model, Batch(batch.inputs.double(), batch.targets)


def unit(h: Tensor) -> Tensor:
    return h / h.flatten(2).square().mean(-1).sqrt().view(*h.shape[:2], *(1,) * (h.dim() - 2))


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_step_descends_the_loss_of_pairs_put_side_by_side(name: str) -> None:
    """The first weights meet both images of a pair, the others what came of equal and of different pairs."""
    model, batch = made(name, activation="tanh")
    state = model.noise.generators[0].get_state()
    shift = 1 + int(model.context().noise.integers(8, 1))
    model.noise.generators[0].set_state(state)
    found, context = updates(model, batch), model.context()
    x = batch.inputs - batch.inputs.flatten(2).mean(-1).view(1, -1, 1, 1, 1)
    streams = [(unit(x), unit(x)), (unit(x), unit(x).roll(-shift, 1))]
    h: list[Tensor] = []
    for number, block in enumerate(model.network.blocks[:-1]):
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        live = block.bind(leaves)
        if number == 0:
            a = [live.preactivate(one) + live.preactivate(other) for one, other in streams]
        else:
            a = [live.preactivate(own.detach()) for own in h]
        right, wrong = (live.activate(own, context).output.square().mean(2) for own in a)
        loss = (softplus(0.3 - right) + softplus(wrong - 0.7) + 0.05 * right).mean()
        for key, slope in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            assert torch.allclose(found[f"{block.name}.{key}"], slope, atol=1e-12), key
        h = [unit(live.activate(own - own.mean(2, keepdim=True)).output).detach() for own in a]
    last = model.network.blocks[-1]
    error = model.loss.gradient(last.forward(h[0]).output, batch.targets)
    assert torch.allclose(found[f"{last.name}.bias"], error.sum(1))


def test_hidden_blocks_learn_the_same_whatever_the_labels_say() -> None:
    (one, batch), (other, _) = made("mlp"), made("mlp")
    first, second = updates(one, batch), updates(other, Batch(batch.inputs, (batch.targets + 1) % 3))
    hidden = [name for name in first if not name.startswith("3.")]
    assert all(torch.equal(first[name], second[name]) for name in hidden)
    assert not torch.equal(first["3.weight"], second["3.weight"])


@pytest.mark.parametrize("above", [1, 2, 3])
def test_what_stands_above_a_block_never_reaches_it(above: int) -> None:
    (one, batch), (other, _) = made("mlp"), made("mlp")
    for block in other.network.blocks[above:]:
        block.weight.mul_(-3)
    first, second = updates(one, batch), updates(other, batch)
    for name in first:
        if int(name[0]) < above:
            assert (second[name] - first[name]).abs().max() == 0, name


def test_inference_computes_what_the_output_layer_learned_from() -> None:
    """The stream in which each image is paired with itself; tanh tells such a pair from one image."""
    model, batch = made("mlp", activation="tanh")
    found = updates(model, batch)
    scores = model.rule.predict(model.network, batch.inputs, model.state)
    assert torch.allclose(found["3.bias"], model.loss.gradient(scores, batch.targets).sum(1), atol=1e-12)


def test_a_sample_is_never_its_own_negative_and_is_one_for_exactly_one_other() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    for shift in range(1, 5):
        places = (torch.arange(5) + torch.tensor([[shift]])) % 5
        taken = scff._taken(x, places).flatten()
        assert not (taken == x.flatten()).any()
        assert sorted(taken.tolist()) == [0, 1, 2, 3, 4]


def test_images_enter_without_brightness_or_contrast() -> None:
    x = torch.rand(1, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(centred(3 * x + 5), centred(x), atol=1e-9)


def test_scff_refuses_batch_normalisation() -> None:
    task = toy_task()
    assert "batch normalisation" in str(RULE.supports(network(task, normalisation="batch"), task))
    assert "hidden" in str(RULE.supports(network(task, depth=0), task))
