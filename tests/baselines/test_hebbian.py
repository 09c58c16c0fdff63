"""Rules without labels: each against the theorem or the hand-worked case that defines it; what they share."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.bcm import BienenstockCooperMunro
from creditbench.baselines.rules.krotov_hopfield import KrotovHopfield
from creditbench.baselines.rules.oja import Hebb, Oja, OjaSubspace, Sanger
from creditbench.baselines.rules.readout import WithoutLabels
from creditbench.baselines.rules.self_organising_map import SelfOrganisingMap, grid, shape
from creditbench.baselines.rules.softhebb import SoftHebb
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch
from tools import gradients, learner, network, toy_batch, toy_task, updates

RULES = ("hebb", "oja", "oja-subspace", "sanger", "bcm", "som", "krotov-hopfield", "softhebb")


def one_layer(rule: WithoutLabels, inputs: Tensor, units: int, **options: Any) -> tuple[Learner, Batch]:
    """`units` hidden units on inputs [samples, features]; the learner's 1000 steps are the whole training."""
    model = learner(rule, toy_task((inputs.shape[1],)), depth=1, width=units, **options)
    return model, Batch(inputs.unsqueeze(0), torch.arange(len(inputs)).unsqueeze(0) % 3)


def trained(rule: WithoutLabels, inputs: Tensor, units: int, steps: int = 200) -> Tensor:
    """The hidden weights [units, features] after `steps` steps on all inputs at once."""
    model, batch = one_layer(rule, inputs, units)
    for _ in range(steps):
        model.step(batch)
    return model.network.blocks[0].weight[0]


# ------------------------------------------------------------------------------ principal components


@pytest.fixture(scope="module")
def cloud() -> tuple[Tensor, Tensor]:
    """300 samples of 6 features around a point that is not the origin, and their principal components in
    order, as rows."""
    generator = torch.Generator().manual_seed(4)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    spread = torch.tensor([3.0, 2.2, 1.5, 0.5, 0.4, 0.3])
    inputs = torch.randn(300, 6, generator=generator) * spread @ turn + torch.tensor([2.0, -1, 0, 1, 0, 3])
    _, vectors = torch.linalg.eigh(torch.cov(inputs.T))
    return inputs, vectors.T.flip(0)


@pytest.mark.parametrize("rule", [Hebb(rate=0.2), Oja(rate=0.2)])
def test_every_unit_of_hebb_and_oja_finds_the_first_principal_component_at_unit_length(
    rule: WithoutLabels, cloud: tuple[Tensor, Tensor]
) -> None:
    inputs, components = cloud
    weight = trained(rule, inputs, units=4)
    assert torch.allclose(weight.norm(dim=1), torch.ones(4), atol=1e-3)
    assert ((weight @ components[0]).abs() > 0.9999).all()


def test_sangers_units_find_the_first_principal_components_in_order(cloud: tuple[Tensor, Tensor]) -> None:
    inputs, components = cloud
    weight = trained(Sanger(rate=0.2), inputs, units=3, steps=300)
    assert torch.allclose((weight @ components[:3].T).abs(), torch.eye(3), atol=1e-3)


def test_ojas_subspace_is_that_of_the_first_principal_components(cloud: tuple[Tensor, Tensor]) -> None:
    inputs, components = cloud
    weight = trained(OjaSubspace(rate=0.2), inputs, units=3, steps=300)
    assert torch.allclose(weight.T @ weight, components[:3].T @ components[:3], atol=1e-3)
    assert (weight @ components[:3].T).abs().max() < 0.999  # and turned in it


def test_a_convolution_of_ojas_units_finds_the_first_component_of_its_patches() -> None:
    """Stripes: a 3 x 3 patch of an image of equal columns varies most along equal columns."""
    stripes = torch.randn(1, 40, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(
        -1, -1, -1, 8, -1
    )
    model = learner(Oja(rate=0.2), toy_task((1, 8, 8)), "conv", depth=1, width=2)
    for _ in range(300):
        model.step(Batch(stripes, torch.arange(40).unsqueeze(0) % 3))
    for kernel in model.network.blocks[0].weight[0, :, 0]:
        assert (kernel - kernel.mean(0)).norm() < 0.2 * kernel.norm()  # rows alike
        assert kernel.norm().item() == pytest.approx(1.0, abs=0.05)


# ------------------------------------------------------------------------------ thresholds and competition


def test_bcm_ends_with_one_of_two_patterns_answered_by_two_and_the_other_by_nothing() -> None:
    """Two independent patterns of equal frequency: y (y - θ) = 0 at both and θ = <y²> leave y = (2, 0)."""
    patterns = torch.tensor([[1.0, 0.3], [0.2, 0.9]])
    model, batch = one_layer(BienenstockCooperMunro(rate=0.5), patterns, units=8)
    model.network.blocks[0].weight.abs_()  # each answers both at first
    for _ in range(900):
        model.step(batch)
    answers = (patterns @ model.network.blocks[0].weight[0].T).relu().T  # [units, patterns]
    assert torch.allclose(answers.sort(-1).values, torch.tensor([0.0, 2.0]).expand(8, 2), atol=0.03)
    assert torch.allclose(model.state.learned["0.threshold"], torch.full((1, 8), 2.0), atol=0.03)
    assert len(set(answers.argmax(1).tolist())) == 2  # both are somebody's


def test_a_map_on_a_line_keeps_its_order() -> None:
    """Points on a line, units in a row: in the end neighbours in the row are neighbours on the line, and all
    of it is covered."""
    along = torch.linspace(-1, 1, 60).unsqueeze(1)
    inputs = along * torch.tensor([[2.0, 1.0]])
    weight = trained(SelfOrganisingMap(rate=0.5, radius=0.5, rows=1), inputs, units=10, steps=900)
    places = weight @ torch.tensor([2.0, 1.0]) / 5
    steps = places.diff()
    assert (steps > 0).all() or (steps < 0).all()
    assert places.min() < -0.8 < 0.8 < places.max()


def test_the_bias_of_a_map_makes_the_nearest_unit_the_most_active() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 4, generator=generator)
    model, batch = one_layer(SelfOrganisingMap(), inputs, units=7)
    for _ in range(3):
        model.step(batch)
    block = model.network.blocks[0]
    assert torch.allclose(block.parameters["bias"], -block.weight.square().sum(-1) / 2, atol=1e-6)
    nearest = torch.cdist(inputs, block.weight[0]).argmin(1)
    assert torch.equal(block.preactivate(batch.inputs)[0].argmax(1), nearest)


def test_a_step_of_a_map_by_hand() -> None:
    """Two units in a row at 0 and 4, σ = 1, one input 3: the second wins. n = (e^-½, 1), sums are at most 1,
    so that the first moves by 0.1 * 0.6065 * 3 and the second by 0.1 * (3 - 4)."""
    rule = SelfOrganisingMap(rate=0.1, radius=0.5, last_radius=1.0, rows=1)
    model, batch = one_layer(rule, torch.tensor([[3.0]]), units=2)
    model.network.blocks[0].weight.copy_(torch.tensor([[[0.0], [4.0]]]))
    found = updates(model, batch)["0.weight"].flatten().tolist()
    assert found == pytest.approx([-0.1 * 0.60653 * 3, 0.1], rel=1e-4)


def test_a_maps_grid_is_as_square_as_it_can_be() -> None:
    assert [shape(6), shape(7), shape(256), shape(7, 2)] == [(2, 3), (1, 7), (16, 16), (2, 4)]
    assert grid(2, 3, torch.zeros(1))[0].tolist() == [0, 1, 4, 1, 2, 5]


@pytest.mark.parametrize(
    ("p", "k", "expected"),
    [
        # s = (2, 1, -4), D_0 = x - 2 w_0 = (-3, 4), D_1 = -(x - w_1) / 2 = (-1/2, -15/8); divided by 4
        (2.0, 2, [[-3 / 4, 1.0], [-1 / 8, -15 / 32], [0.0, 0.0]]),
        # s = sign(w) w² x = (4, 1/4, -16), D_0 = x - 4 w_0 = (-7, 4), D_1 = -(x - w_1 / 4) / 2; divided by 7
        (3.0, 2, [[-1.0, 4 / 7], [-1 / 14, -63 / 224], [0.0, 0.0]]),
        # p = 2 and the third as rival: D_2 = -(x + 4 w_2) / 2 = (15/2, -2); divided by 15/2
        (2.0, 3, [[-2 / 5, 8 / 15], [0.0, 0.0], [1.0, -4 / 15]]),
    ],
)
def test_krotov_hopfield_by_hand(p: float, k: int, expected: list[list[float]]) -> None:
    """x = (1, 4), w = (2, 0), (0, 1/4), (-4, 0): the strongest learns, the k-th unlearns by half."""
    x = torch.tensor([[1.0, 4.0]])
    model, batch = one_layer(KrotovHopfield(rate=0.5, p=p, k=k, anti=0.5), x, units=3)
    model.step(batch)  # the first one makes the weights to begin with
    model.done = 0
    block = model.network.blocks[0]
    weight = torch.tensor([[[2.0, 0.0], [0.0, 0.25], [-4.0, 0.0]]])
    block.weight.copy_(weight)
    found = -updates(model, batch)["0.weight"][0] / 0.5
    assert torch.allclose(found, torch.tensor(expected)), found


def test_units_of_krotov_hopfield_that_win_end_at_unit_length() -> None:
    generator = torch.Generator().manual_seed(1)
    centres = 3 * torch.eye(4)
    inputs = centres.repeat(20, 1) + 0.05 * torch.randn(80, 4, generator=generator)
    model, batch = one_layer(KrotovHopfield(rate=0.05), inputs, units=12)
    for _ in range(999):
        model.step(batch)
    block = model.network.blocks[0]
    winners = block.preactivate(batch.inputs).argmax(2).unique()
    assert len(winners) >= 4
    assert torch.allclose(block.weight[0, winners].norm(dim=1), torch.ones(len(winners)), atol=0.05)


def test_softhebbs_weights_reach_unit_length_from_above() -> None:
    generator = torch.Generator().manual_seed(2)
    centres = torch.eye(6)[:5] * 2
    inputs = centres.repeat(20, 1) + 0.1 * torch.randn(100, 6, generator=generator)
    model, batch = one_layer(SoftHebb(rate=0.05, radius=8.0), inputs, units=5)
    model.step(batch)
    lengths = [model.network.blocks[0].weight[0].norm(dim=1)]
    for _ in range(900):
        model.step(batch)
    lengths.append(model.network.blocks[0].weight[0].norm(dim=1))
    assert lengths[0].mean() > 5
    assert torch.allclose(lengths[1], torch.ones(5), atol=0.05), lengths[1]


def test_softhebb_by_hand() -> None:
    """x = 1 and u = w = (2, 3) at τ = 1: p = softmax(2, 3) = (0.2689, 0.7311), y = (-0.2689, 0.7311),
    D_i = y_i (1 - w_i²) = (0.8068, -5.8485), divided by 5.8485, times √(w_i - 1) = (1, 1.4142) and
    η r / √d = 2."""
    model, batch = one_layer(SoftHebb(rate=0.5, radius=4.0), torch.tensor([[1.0]]), units=2)
    model.step(batch)
    model.done = 0
    model.network.blocks[0].weight.copy_(torch.tensor([[[2.0], [3.0]]]))
    found = updates(model, batch)["0.weight"].flatten().tolist()
    assert found == pytest.approx([-2 * 0.8068 / 5.8485, 2 * 1.4142], rel=1e-3)


# ------------------------------------------------------------------------------ what they share


@pytest.mark.parametrize(
    ("rule", "name"),
    [*itertools.product(RULES, ("mlp", "conv")), ("krotov-hopfield", "krotov"), ("softhebb", "softhebb")],
)
def test_labels_never_reach_hidden_blocks(rule: str, name: str) -> None:
    """Trained for three steps with other labels, hidden blocks come out bit by bit the same, and the output
    block's weights do not."""
    models = [learner(load_rule(rule)(), toy_task((1, 8, 8)), name, width=6) for _ in range(2)]
    batch = toy_batch(shape=(1, 8, 8))
    for model, targets in zip(models, (batch.targets, batch.targets.flip(1)), strict=True):
        for _ in range(3):
            model.step(Batch(batch.inputs, targets))
    first, second = (model.tensors() for model in models)
    last = models[0].network.blocks[-1].name
    for key in first:
        if key != f"{last}.bias":  # the same where all classes are as frequent
            assert torch.equal(first[key], second[key]) == (key != f"{last}.weight"), key


@pytest.mark.parametrize(("rule", "name"), [("krotov-hopfield", "krotov"), ("softhebb", "softhebb")])
def test_seeds_on_a_network_of_the_rules_own_come_out_as_one_by_one(rule: str, name: str) -> None:
    task, batch = toy_task((1, 8, 8)), toy_batch(2, shape=(1, 8, 8))
    together = learner(load_rule(rule)(), task, name, seeds=(1, 2), width=6)
    for _ in range(3):
        together.step(batch)
    for place, seed in enumerate((1, 2)):
        alone = learner(load_rule(rule)(), task, name, seeds=(seed,), width=6)
        for _ in range(3):
            alone.step(Batch(batch.inputs[place : place + 1], batch.targets[place : place + 1]))
        for key, tensor in alone.tensors().items():
            assert torch.allclose(tensor[0], together.tensors()[key][place], atol=1e-4), key


@pytest.mark.parametrize("rule", RULES)
def test_the_output_block_learns_by_the_gradient_at_what_reaches_it_and_no_rule_needs_autograd(
    rule: str,
) -> None:
    model, batch = learner(load_rule(rule)(), width=6), toy_batch()
    model.step(batch)
    with torch.inference_mode():
        found = updates(model, batch)
    true = gradients(model, batch)
    for key in ("2.weight", "2.bias"):
        assert torch.allclose(found[key], true[key], atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_hidden_blocks_take_their_own_steps_and_the_readout_the_learning_rate(rule: str) -> None:
    slow, fast = (learner(load_rule(rule)(), width=6, rate=rate) for rate in (1e-4, 1e-2))
    for model in (slow, fast):
        model.step(toy_batch())
    first, second = slow.tensors(), fast.tensors()
    for key in first:
        assert torch.equal(first[key], second[key]) == (not key.startswith("2.")), key


def test_the_own_steps_fall_to_nothing_along_the_training() -> None:
    model, batch = learner(OjaSubspace(), width=6), toy_batch()
    first = updates(model, batch)["0.weight"]
    model.done = 750  # of 1000
    assert torch.allclose(updates(model, batch)["0.weight"], 0.25 * first, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_network_without_hidden_blocks_is_refused(rule: str) -> None:
    task = toy_task()
    assert "hidden" in (load_rule(rule)().supports(network(task, depth=0), task) or "")


def test_a_rank_that_a_block_does_not_have_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="wider"):
        learner(KrotovHopfield(k=7), width=6)


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 20), st.integers(2, 30), st.integers(1, 4))
def test_hebbian_rules_cost_their_closed_forms(batch: int, width: int, depth: int) -> None:
    """A forward pass and an outer product at every weight; a subspace or a triangle has besides the units'
    correlations and their product with the weights; another p needs the ranks by another product."""
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    forward, hidden = batch * sum(layers), sum(layers[:-1])

    def counted(rule: WithoutLabels) -> int:
        model = learner(rule, width=width, depth=depth)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    plain: tuple[WithoutLabels, ...] = (
        Hebb(), Oja(), BienenstockCooperMunro(), SelfOrganisingMap(), KrotovHopfield(), SoftHebb()
    )  # fmt: skip
    for rule in plain:
        assert counted(rule) == 2 * forward, rule.name
    together: tuple[WithoutLabels, ...] = (OjaSubspace(), Sanger())
    for rule in together:
        assert counted(rule) == 2 * forward + depth * width**2 * batch + width * hidden, rule.name
    assert counted(KrotovHopfield(p=3.0)) == 2 * forward + batch * hidden
