"""Predictive forward-forward against its two circuits spelled out for autograd, with dense competition."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from creditbench.baselines.networks.pff import pff as pff_network
from creditbench.baselines.rules import pff
from creditbench.baselines.rules.pff import PredictiveForwardForward
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Block, Context, State
from tools import learner, network, toy_batch, toy_task, updates

QUIET: dict[str, Any] = {"noise": 0.0, "generator_noise": 0.0, "group": 3, "latents": 4, "threshold": 2.0}
WIDTH = 7  # the last of its groups of three is ragged


@pytest.fixture(autouse=True)
def _known_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    def next_label(targets: Tensor, context: Context) -> Tensor:
        return (targets + 1) % 3

    monkeypatch.setattr(pff, "wrong_labels", next_label)


def made(depth: int = 2, **fields: Any) -> tuple[Learner, Batch]:
    rule = PredictiveForwardForward(**(QUIET | fields))
    model = learner(rule, double=True, depth=depth, width=WIDTH)
    model.state = State({k: v.double() for k, v in model.state.learned.items()})
    batch = toy_batch()
    return model, Batch(batch.inputs.double(), batch.targets)


class Rectified(torch.autograd.Function):
    """relu with a derivative of one everywhere, as the authors take it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return a.relu()

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> Tensor:
        return change


def relu(a: Tensor) -> Tensor:
    return Rectified.apply(a)  # type: ignore[no-any-return, no-untyped-call]


def n(h: Tensor) -> Tensor:
    return h / h.square().sum(-1, keepdim=True).sqrt()


def dense(lateral: Tensor) -> Tensor:
    """The competition matrix over all units: rows give, columns get."""
    whole = torch.block_diag(*lateral)[:WIDTH, :WIDTH]
    eye = torch.eye(WIDTH).double()
    mask = torch.block_diag(*torch.ones_like(lateral))[:WIDTH, :WIDTH]
    held: Tensor = whole.relu() * (mask * (1 - eye) - eye)
    return held


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_step_descends_the_losses_of_both_circuits(depth: int) -> None:
    model, batch = made(depth, steps=1)
    learned = dict(model.state.learned)
    learned |= {k: v - 0.02 for k, v in learned.items() if k.endswith("lateral")}  # some are silent
    model.state = State(learned)
    found = updates(model, batch)
    leaves = {k: v.clone()[0].requires_grad_() for k, v in learned.items()}
    own = {k: p[0].clone().requires_grad_() for k, p in model.network.named_parameters()}
    x = batch.inputs.flatten(2)[0]
    z = x = torch.cat([x, x])
    before = []
    for number in range(depth):
        z = (n(z) @ own[f"{number}.weight"].T + own[f"{number}.bias"]).relu().detach()
        before.append(z)
    targets = batch.targets[0]
    label = 5.0 * torch.eye(3).double()[torch.cat([targets, (targets + 1) % 3])]
    right = (torch.arange(18) < 9).double()
    total = x.new_zeros(())
    after = []
    for number, z in enumerate(before):
        below, above = [x, *before][number], [*before, None][number + 1]
        a = n(below) @ own[f"{number}.weight"].T + own[f"{number}.bias"]
        a = a + (label if above is None else n(above)) @ leaves[f"{number}.feedback"].T
        a = a - z @ dense(leaves[f"{number}.lateral"])
        after.append(0.7 * relu(a) + 0.3 * z)
        total = total + bce(2.0 - (after[-1] ** 2).sum(-1), right)
        guess = n(after[-1].detach()) @ leaves[f"{number}.generator"].T
        off = relu(guess) - after[number - 1].detach() if number else guess - x
        total = total + (off**2).sum(-1).mean()
    y = n(before[-1][:9]) @ own[f"{depth}.weight"].T + own[f"{depth}.bias"]
    total = total + torch.nn.functional.cross_entropy(y, targets)
    wanted = own | {k: v for k, v in leaves.items() if k != "generator"}
    for name, slope in zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True):
        assert torch.allclose(found[name][0], slope.clamp(-1, 1), atol=1e-12), name
    silent = learned["0.lateral"] < 0
    assert silent.any()
    assert found["0.lateral"][silent].abs().max() == 0


def test_the_topmost_latents_move_down_their_own_error_and_teach_their_generator() -> None:
    model, batch = made()
    rule = model.rule
    assert isinstance(rule, PredictiveForwardForward)
    generator = torch.Generator().manual_seed(3)
    u = torch.randn(1, 18, 4, generator=generator).double()
    z = [torch.rand(1, 18, WIDTH, generator=generator).double() for _ in range(2)]
    none = [torch.zeros_like(h) for h in z]
    proposed, moved = rule._generation(model.network, model.state, batch.inputs, z, u, none)
    leaf, weight = u.clone().requires_grad_(), model.state.learned["generator"].clone().requires_grad_()
    errors = (relu(n(relu(leaf)) @ weight.mT) - z[-1]).square().sum(-1)
    by_u, _ = torch.autograd.grad(errors.sum(), [leaf, weight], retain_graph=True)
    (by_weight,) = torch.autograd.grad(errors.mean(), weight)
    assert torch.allclose(moved, u - rule.latent_rate * by_u, atol=1e-12)
    assert torch.allclose(dict(proposed)["generator"], by_weight.clamp(-1, 1), atol=1e-12)  # type: ignore[arg-type]


def test_every_one_of_the_steps_moves_every_weight() -> None:
    model = learner(PredictiveForwardForward(steps=3), width=WIDTH)
    moved: list[str] = []

    def watch(target: Block | str, update: Any) -> None:
        moved.append(target if isinstance(target, str) else target.name)

    model.step(toy_batch(), watch)
    assert len(moved) == 3 * len(set(moved))
    assert set(moved) == {"0", "1", "2"} | set(model.state.learned)


@pytest.mark.parametrize("above", [2, 3])
def test_a_layer_hears_of_the_next_one_a_step_late_and_of_no_other(above: int) -> None:
    """In one step, block l sees what l + 1 did before: weights further up reach it after more steps."""
    (one, batch), (other, _) = made(3, steps=1), made(3, steps=1)
    for block in other.network.blocks[above:]:
        block.weight.mul_(-3)
    first, second = updates(one, batch), updates(other, batch)
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed
    assert all(int(name[0]) >= above - 1 for name in changed if name[0].isdigit()), changed


def test_a_labels_score_is_the_energy_of_a_run_with_it() -> None:
    """Lower where the label is right, so its sign is turned; over the middle two of six steps."""
    model, batch = made(steps=6)
    rule, network = model.rule, model.network
    assert isinstance(rule, PredictiveForwardForward)
    scores = rule.predict(network, batch.inputs, model.state)
    seen = network.blocks[0].preactivate(n(batch.inputs.flatten(2)))
    for wanted in range(3):
        label = 5.0 * torch.eye(3).double()[torch.full((1, 9), wanted)]
        z, energies = pff.start(network, batch.inputs), []
        for _ in range(4):
            z = rule.settled(network, model.state, seen, label, z)
            energies.append(torch.stack([h.square().sum(-1) for h in z]).mean(0))
        assert torch.allclose(scores[..., wanted], -(energies[2] + energies[3]) / 2, atol=1e-12)


def test_the_named_network_starts_from_orthogonal_weights() -> None:
    made = network(toy_task((1, 4, 4)), "pff", width=24, seeds=(0, 1))
    first, second, last = (block.weight for block in made.blocks)
    assert torch.allclose(first.mT @ first, torch.eye(16).expand(2, -1, -1), atol=1e-5)
    assert torch.allclose(second @ second.mT, torch.eye(24).expand(2, -1, -1), atol=1e-5)
    assert torch.allclose(last @ last.mT, torch.eye(3).expand(2, -1, -1), atol=1e-5)
    assert pff_network((1, 4, 4), 3)[0].output_shape == (2000,)


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"normalisation": "layer"}, {"dropout": 0.1}])
def test_pff_refuses_other_units_than_its_own(options: dict[str, Any]) -> None:
    task = toy_task()
    assert "rectified" in str(PredictiveForwardForward().supports(network(task, **options), task))


def test_pff_learns_what_the_toy_task_asks_for() -> None:
    """Energy comes to be lowest with the right label: nine tenths of unseen samples, a third by chance."""
    task = toy_task()
    splits = task.read()
    model = learner(PredictiveForwardForward(steps=6), task, width=20, rate=3e-3)
    for _ in range(40):
        model.step(Batch(splits.train.inputs[None], splits.train.targets[None]))
    scores = model.rule.predict(model.network, splits.test.inputs[None], model.state)
    assert (scores[0].argmax(-1) == splits.test.targets).double().mean() > 0.9
