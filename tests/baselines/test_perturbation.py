"""Rules that learn from one number: perturbations, forward gradients, reward; against the gradient.

Means are taken over many draws at once: each seed is a draw, with the same weights and the same batch.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.forward_gradient import (
    ActivityForwardGradient,
    LocalForwardGradient,
    WeightForwardGradient,
)
from creditbench.baselines.rules.node_perturbation import (
    DecorrelatedNodePerturbation,
    NodePerturbation,
    decorrelated,
)
from creditbench.baselines.rules.reward_modulated import RewardModulatedHebb, drawn
from creditbench.baselines.rules.weight_perturbation import WeightPerturbation
from creditbench.suite import registry
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.evaluate import score
from creditbench.suite.learner import Learner
from creditbench.suite.losses import loss
from creditbench.suite.meters.alignment import alignment
from creditbench.suite.plan import load_rule
from creditbench.suite.seeds import SeededNoise
from creditbench.suite.types import Batch, LearningRule, Split, Splits, State, Task
from tools import gradients, learner, toy_batch, toy_task, updates

ALL = (
    "node-perturbation",
    "decorrelated-node-perturbation",
    "weight-perturbation",
    "forward-gradient",
    "forward-gradient-activity",
    "local-forward-gradient",
    "reward-hebb",
)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Noise too: a difference of two losses is small."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


SHAPE = (1, 2, 2)


@dataclass(frozen=True)
class Draws(SeededNoise):
    """As of so many seeds, from one generator: thousands of generators take longer than what they draw."""

    count: int = 1

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generators[0])

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, generator=self.generators[0])


def draws(rule: LearningRule, count: int, **options: Any) -> tuple[Learner, Batch]:
    """`count` seeds with the same weights and one batch: what a step yields are `count` draws."""
    choices: dict[str, Any] = {"width": 4, "depth": 2, "activation": "tanh"} | options
    model = learner(rule, toy_task(SHAPE), double=True, **choices)
    model.network = model.network.bind([repeated(block.parameters, count) for block in model.network.blocks])
    model.state = State(repeated(model.state.learned, count), repeated(model.state.carried, count))
    model.noise = Draws(model.noise.generators, count)
    batch = toy_batch(samples=5, shape=SHAPE)
    return model, Batch(batch.inputs.double().repeat(count, 1, 1, 1, 1), batch.targets.repeat(count, 1))


def repeated(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: tensor.repeat(count, *[1] * (tensor.dim() - 1)) for name, tensor in tensors.items()}


def flat(named: dict[str, Tensor], names: list[str]) -> Tensor:
    """[draws, values]"""
    return torch.cat([named[name].flatten(1) for name in names], 1)


def of_one(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the first draw, where all are the same."""
    return {name: tensor[:1] for name, tensor in named.items()}


def assert_mean_is(found: Tensor, expected: Tensor, within: float = 4.5) -> None:
    """found [draws, values]; expected [1, values], or [draws, values] where it is an estimate as well.

    Two statistics in units of their own standard errors: the largest of all values (4.5 for a few hundred of
    them, by chance once in a thousand), and the mean's projection on what is expected, whose error is small
    enough to see a tenth too much or too little."""
    apart, mean = found - expected, expected.mean(0)
    errors = apart.std(0) / len(found) ** 0.5
    assert (apart.mean(0).abs() <= within * errors + 1e-12).all()
    along = apart @ mean / mean.square().sum()
    error = (along.std() / len(found) ** 0.5).item()
    assert error < 0.03
    assert abs(along.mean().item()) <= within * error


# ------------------------------------------------------------------------------ the mean


@pytest.mark.parametrize(
    "rule",
    [
        NodePerturbation(sigma=1e-3),
        DecorrelatedNodePerturbation(sigma=1e-3),  # whose matrices are the identity at first
        WeightPerturbation(sigma=1e-4),
        WeightForwardGradient(),
        ActivityForwardGradient(),
    ],
)
def test_the_mean_over_many_draws_is_the_gradient(rule: LearningRule) -> None:
    model, batch = draws(rule, 6000)
    found = updates(model, batch)
    true = gradients(model, Batch(batch.inputs[:1].expand_as(batch.inputs), batch.targets))
    assert found.keys() == true.keys()
    names = list(true)
    assert_mean_is(flat(found, names), flat(of_one(true), names))


@pytest.mark.parametrize("groups", [1, 3, 16])
def test_the_mean_of_local_forward_gradients_is_that_of_each_blocks_own_loss(groups: int) -> None:
    model, batch = draws(LocalForwardGradient(groups=groups), 6000)
    found, h = updates(model, batch), batch.inputs[:1]
    *hidden, last = model.network.blocks
    true: dict[str, Tensor] = {}
    for block in (*hidden, last):
        leaves = {k: p[:1].detach().clone().requires_grad_() for k, p in block.parameters.items()}
        if block is not last:
            head = model.state.learned[f"{block.name}.head"][:1].clone().requires_grad_()
            leaves["head"] = head
        with torch.enable_grad():
            output = block.bind(leaves).forward(h).output
            scores = output if block is last else output @ head.mT
            value = model.loss.value(scores, batch.targets[:1]).sum()
        for key, gradient in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
            true[f"{block.name}.{key}"] = gradient
        h = output.detach()
    assert found.keys() == true.keys()
    exact = [name for name in true if name.startswith("2.") or name.endswith("head")]
    for name in exact:
        assert torch.allclose(found[name], true[name], atol=1e-12), name
    names = [name for name in true if name not in exact]
    assert_mean_is(flat(found, names), flat(true, names))


@pytest.mark.parametrize("where", ["node", "weight"])
def test_perturbation_tends_to_the_forward_gradient_of_its_own_noise_as_sigma_squared(where: str) -> None:
    """Draw by draw, hence in the mean: half the noise leaves a quarter of the bias. Antithetic pairs have no
    term of first order."""
    kinds: Any = {
        "node": (NodePerturbation, ActivityForwardGradient()),
        "weight": (WeightPerturbation, WeightForwardGradient()),
    }
    perturbed, tangent = kinds[where]

    def drawn_by(rule: LearningRule) -> Tensor:
        model, batch = draws(rule, 50)
        model.noise.generators[0].manual_seed(1)
        found = updates(model, batch)
        return flat(found, list(found))

    exact = drawn_by(tangent)
    bias = [(drawn_by(perturbed(sigma=sigma)) - exact).norm().item() for sigma in (4e-2, 2e-2, 1e-2)]
    assert bias[0] < 0.1 * exact.norm().item()
    for wide, narrow in itertools.pairwise(bias):
        assert wide / narrow == pytest.approx(4, rel=0.05)


def test_weight_perturbation_by_hand() -> None:
    """One synapse w to two outputs (w and 0): C = log(1 + exp(-w x)) for class 0, looked at on both sides."""
    model = learner(WeightPerturbation(sigma=0.5), toy_task((1,), 2), depth=0, double=True)
    (block,) = model.network.blocks
    block.weight.copy_(torch.tensor([[[0.3], [0.0]]]))
    block.parameters["bias"].zero_()
    batch = Batch(torch.full((1, 1, 1), 2.0), torch.tensor([[0]]))
    state = model.noise.generators[0].get_state()
    xi = {key: 0.5 * model.noise.normal(*p.shape[1:]) for key, p in block.parameters.items()}
    model.noise.generators[0].set_state(state)

    def cost(sign: int) -> float:
        w, b = (sign * xi[key].flatten() for key in ("weight", "bias"))
        above = (0.3 + w[0] - w[1]) * 2.0 + b[0] - b[1]
        return math.log(1 + math.exp(-above.item()))

    share = (cost(1) - cost(-1)) / (2 * 0.5**2)
    found = updates(model, batch)
    assert torch.allclose(found["0.weight"], share * xi["weight"])
    assert torch.allclose(found["0.bias"], share * xi["bias"])


def test_the_loss_of_a_batch_is_the_mean_of_its_samples() -> None:
    own, batch = loss("cross-entropy"), toy_batch(seeds=2)
    outputs = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(3))
    values = own.values(outputs, batch.targets)
    picked = torch.log_softmax(outputs, -1).gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(values, -picked)
    assert torch.allclose(own.value(outputs, batch.targets), values.mean(1))


# ------------------------------------------------------------------------------ the variance


def test_the_square_of_a_forward_gradient_grows_with_the_number_of_weights() -> None:
    """E‖(∇C·v) v‖² = (n + 2) ‖∇C‖² for n weights and v ~ N(0, 1): Isserlis' theorem."""
    for width in (2, 12):
        model, batch = draws(WeightForwardGradient(), 3000, width=width)
        found, true = updates(model, batch), of_one(gradients(model, batch))
        squares = flat(found, list(true)).square().sum(1) / flat(true, list(true)).square().sum()
        weights = sum(tensor.numel() for tensor in true.values())
        error = (squares.std() / len(squares) ** 0.5).item()
        assert error < 0.06 * weights
        assert squares.mean().item() == pytest.approx(weights + 2, abs=4 * error)


def test_the_square_of_node_perturbation_grows_with_the_number_of_units() -> None:
    """The bias's update is the sum over samples of δ̂, each with E‖δ̂‖² = (n + 2) ‖δ‖² for n units."""
    for width in (2, 20):
        model, batch = draws(NodePerturbation(sigma=1e-3), 3000, width=width)
        alone = Batch(batch.inputs[:, :1], batch.targets[:, :1])
        found, true = updates(model, alone), of_one(gradients(model, alone))
        names = [name for name in true if name.endswith("bias")]
        squares = flat(found, names).square().sum(1) / flat(true, names).square().sum()
        units = 2 * width + 3
        error = (squares.std() / len(squares) ** 0.5).item()
        assert error < 0.08 * units
        assert squares.mean().item() == pytest.approx(units + 2, abs=4 * error)


def test_groups_cut_the_variance_of_local_forward_gradients() -> None:
    """One slope for n units gives (n + 2) times the square of the gradient, one for each unit 3 times."""
    for groups, units in ((1, 16), (4, 4), (16, 1)):
        model, batch = draws(LocalForwardGradient(groups=groups), 3000, width=16, depth=1)
        alone = Batch(batch.inputs[:, :1], batch.targets[:, :1])
        deltas = updates(model, alone)["0.bias"]
        true = deltas.mean(0)
        squares = deltas.square().sum(1) / true.square().sum()
        assert squares.mean().item() == pytest.approx(units + 2, rel=0.25)


# ------------------------------------------------------------------------------ decorrelation


def test_decorrelation_removes_what_inputs_have_in_common() -> None:
    """Correlated Gaussian inputs: after training the mean overlap of two inputs of a block is a twentieth."""
    rule = DecorrelatedNodePerturbation(decorrelation_rate=0.02)
    model = learner(rule, toy_task(SHAPE), double=True, width=4, rate=0.0, activation="tanh")
    generator = torch.Generator().manual_seed(5)
    mixing = torch.randn(4, 4, generator=generator)

    def batch() -> Batch:
        inputs = torch.randn(1, 200, 4, generator=generator) @ mixing
        return Batch(inputs.view(1, 200, *SHAPE), toy_batch(samples=200, shape=SHAPE).targets)

    def overlap(name: str, x: Tensor) -> float:
        x = decorrelated(x, model.state.carried[name])
        second = (x.mT @ x / x.shape[1])[0]
        scale = second.diagonal().sqrt()
        correlated = (second / torch.outer(scale, scale) - torch.eye(len(second))).abs()
        return correlated.max().item()

    test, first = batch(), model.network.blocks[0]

    def both() -> tuple[float, float]:
        x = decorrelated(test.inputs, model.state.carried["0"]).view(1, 200, *SHAPE)
        return overlap("0", test.inputs), overlap("1", first.forward(x).output)

    before = both()
    assert min(before) > 0.4
    for _ in range(1500):
        model.step(batch())
    assert max(both()) < 0.2


def test_decorrelation_by_hand() -> None:
    """Two inputs (1, 2): their product 2 is taken off both, times α; their squares stay out of it."""
    rule = DecorrelatedNodePerturbation(decorrelation_rate=0.1)
    model = learner(rule, toy_task((2,), 2), depth=0, rate=0.0, double=True)
    model.step(Batch(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[0]])))
    assert torch.allclose(model.state.carried["0"], torch.tensor([[[1.0, -0.2], [-0.2, 1.0]]]))


def test_inference_sees_what_learning_has_seen() -> None:
    """R before every block: the network whose weights are W R."""
    model, batch = draws(DecorrelatedNodePerturbation(decorrelation_rate=0.1), 2)
    blocks, generator = model.network.blocks, torch.Generator().manual_seed(2)
    matrices = {block.name: torch.randn(2, 4, 4, generator=generator) for block in blocks}
    plain = model.network.bind(
        [{**block.parameters, "weight": block.weight @ matrices[block.name]} for block in blocks]
    )
    found = model.rule.predict(model.network, batch.inputs, State(carried=matrices))
    assert torch.allclose(found, plain(batch.inputs))


# ------------------------------------------------------------------------------ reward


def replayed(model: Learner, batch: Batch, baseline: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The rule's update for some draws and, from the same draws, REINFORCE by autograd."""
    model.state = State(carried={"baseline": torch.full_like(model.state.carried["baseline"], baseline)})
    states = [generator.get_state() for generator in model.noise.generators]
    found = updates(model, batch)
    for generator, before in zip(model.noise.generators, states, strict=True):
        generator.set_state(before)
    rule, samples = model.rule, batch.targets.shape[1]
    assert isinstance(rule, RewardModulatedHebb)
    *hidden, last = model.network.blocks
    leaves = [
        {k: p.detach().clone().requires_grad_() for k, p in b.parameters.items()}
        for b in model.network.blocks
    ]
    with torch.enable_grad():
        h, likely = batch.inputs, torch.zeros(batch.targets.shape)
        for block, own in zip(hidden, leaves, strict=False):
            mean = block.bind(own).preactivate(h)
            a = (mean + rule.sigma * model.noise.normal(samples, *mean.shape[2:])).detach()
            likely = likely - ((a - mean) / rule.sigma).square().sum(-1) / 2
            h = block.activate(a).output
        scores = last.bind(leaves[-1]).forward(h).output
        action = drawn(scores.detach(), model.noise.uniform(samples))
        likely = likely + torch.log_softmax(scores, -1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        reward = (action == batch.targets).double()
        objective = -((reward - baseline) * likely).mean(1).sum()
    flattened = [p for own in leaves for p in own.values()]
    names = [f"{b.name}.{k}" for b, own in zip(model.network.blocks, leaves, strict=True) for k in own]
    return found, dict(zip(names, torch.autograd.grad(objective, flattened), strict=True))


def test_reward_modulated_hebb_is_reinforce_with_a_baseline_draw_by_draw() -> None:
    model, batch = draws(RewardModulatedHebb(), 20)
    found, expected = replayed(model, batch, 0.4)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.allclose(tensor, expected[name], atol=1e-12), name


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_the_mean_of_reward_modulated_hebb_is_the_gradient_of_the_expected_reward(baseline: float) -> None:
    """Whatever the baseline. Expected: autograd of the probability of the right action through the noise."""
    model, batch = draws(RewardModulatedHebb(sigma=1.0), 20000, width=3, depth=1)
    model.network.blocks[-1].weight.mul_(4.0)
    model.state = State(carried={"baseline": torch.full((20000,), baseline)})
    found = updates(model, batch)
    hidden, last = model.network.blocks
    leaves = [
        {k: p.detach().clone().requires_grad_() for k, p in b.parameters.items()} for b in (hidden, last)
    ]
    with torch.enable_grad():
        mean = hidden.bind(leaves[0]).preactivate(batch.inputs)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(11))
        scores = last.bind(leaves[1]).forward(hidden.activate(mean + noise).output).output
        right = torch.softmax(scores, -1).gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
        flattened = [p for own in leaves for p in own.values()]
        expected = torch.autograd.grad(-right.mean(1).sum(), flattened)
    names = [f"{b.name}.{k}" for b, own in zip((hidden, last), leaves, strict=True) for k in own]
    assert_mean_is(flat(found, names), flat(dict(zip(names, expected, strict=True)), names))


def test_actions_follow_the_softmax() -> None:
    scores = torch.log(torch.tensor([0.2, 0.5, 0.3])).expand(1, 1000, 3)
    even = (torch.arange(1000) + 0.5).div(1000).unsqueeze(0)
    assert torch.bincount(drawn(scores, even).flatten()).tolist() == [200, 500, 300]


def test_the_baseline_follows_the_reward() -> None:
    model = learner(RewardModulatedHebb(baseline_rate=1.0), depth=0)
    (block,), batch = model.network.blocks, toy_batch()
    batch = Batch(batch.inputs.double(), batch.targets)
    block.weight.zero_()
    block.parameters["bias"].copy_(torch.tensor([[100.0, 0.0, 0.0]]))
    model.step(batch)
    assert model.state.carried["baseline"].item() == (batch.targets == 0).double().mean().item()


# ------------------------------------------------------------------------------ what a block sees


def directions(found: dict[str, Tensor], block: str) -> Tensor:
    """What an update becomes when its scale is taken away."""
    update = found[f"{block}.weight"]
    return torch.nn.functional.normalize(update.flatten(), dim=0)


@pytest.mark.parametrize("name", ["weight-perturbation", "forward-gradient"])
def test_weights_above_reach_a_block_as_one_number(name: str) -> None:
    """For the batch: another output layer makes the update longer or shorter, or turns it round."""
    model, batch = draws(load_rule(name)(), 1, depth=2)
    state = model.noise.generators[0].get_state()
    before = updates(model, batch)
    model.network.blocks[-1].weight.mul_(-2.0).add_(0.3)
    model.noise.generators[0].set_state(state)
    after = updates(model, batch)
    for block in ("0", "1"):
        assert not torch.allclose(before[f"{block}.weight"], after[f"{block}.weight"], rtol=1e-3)
        one, other = directions(before, block), directions(after, block)
        assert torch.allclose(one, other) or torch.allclose(one, -other)


@pytest.mark.parametrize("name", ["node-perturbation", "forward-gradient-activity"])
def test_weights_above_reach_a_block_as_one_number_per_sample(name: str) -> None:
    """A batch of one: the direction stays."""
    model, batch = draws(load_rule(name)(), 1, depth=1)
    alone = Batch(batch.inputs[:, :1], batch.targets[:, :1])
    state = model.noise.generators[0].get_state()
    before = updates(model, alone)
    model.network.blocks[-1].weight.mul_(-2.0).add_(0.3)
    model.noise.generators[0].set_state(state)
    after = updates(model, alone)
    assert not torch.allclose(before["0.weight"], after["0.weight"], rtol=1e-3)
    one, other = directions(before, "0"), directions(after, "0")
    assert torch.allclose(one, other) or torch.allclose(one, -other)


def test_nothing_above_reaches_a_block_with_a_loss_of_its_own() -> None:
    model, batch = draws(LocalForwardGradient(), 1, depth=3)
    state = model.noise.generators[0].get_state()
    before = updates(model, batch)
    for block in model.network.blocks[2:]:
        block.weight.mul_(-2.0)
    for name in ("2.head",):
        model.state.learned[name].mul_(-2.0)
    model.noise.generators[0].set_state(state)
    after = updates(model, batch)
    for name, update in before.items():
        assert torch.equal(update, after[name]) == name.startswith(("0.", "1.")), name


@pytest.mark.parametrize("name", ALL)
def test_predictions_are_the_same_whatever_the_labels(name: str) -> None:
    torch.set_default_dtype(torch.float32)  # as the task's inputs
    task = toy_task()
    model, test = learner(load_rule(name)(), task, seeds=(0, 1), width=4), task.read().test
    model.step(toy_batch(seeds=2))

    def scored(labels: Tensor) -> Tensor:
        split = Split(test.inputs, labels)
        found = score(model.network, model.rule, model.state, task, split, split).predictions
        assert found is not None
        return found

    assert torch.equal(scored(test.targets), scored(2 - test.targets))


def test_networks_are_refused_where_the_equations_do_not_hold() -> None:
    def made(rule: str, name: str = "mlp", **options: Any) -> None:
        learner(load_rule(rule)(), toy_task((1, 4, 4)), name=name, **options)

    for rule in ("forward-gradient", "forward-gradient-activity", "local-forward-gradient"):
        for refused in ({"normalisation": "layer"}, {"normalisation": "batch"}):
            with pytest.raises(CreditbenchError, match="elementwise"):
                made(rule, **refused)
        with pytest.raises(CreditbenchError, match="pooling"):
            made(rule, "conv", width=2)
        made(rule, dropout=0.5)
    for rule in ("node-perturbation", "decorrelated-node-perturbation", "weight-perturbation"):
        with pytest.raises(CreditbenchError, match="dropout=0"):
            made(rule, dropout=0.5)
    for rule in ("node-perturbation", "decorrelated-node-perturbation", "reward-hebb"):
        with pytest.raises(CreditbenchError, match="normalisation=layer"):
            made(rule, normalisation="batch")
    with pytest.raises(CreditbenchError, match="choose mlp"):
        made("decorrelated-node-perturbation", "conv", width=2)
    made("weight-perturbation", normalisation="batch")


# ------------------------------------------------------------------------------ whether hidden blocks learn


@pytest.mark.parametrize("name", [name for name in ALL if name != "local-forward-gradient"])
def test_hidden_blocks_go_the_gradients_way_on_average(name: str) -> None:
    """2 x 32 units, one batch: the mean cosine of each hidden block is 4 standard errors above 0. (A block
    with a loss of its own, through a head that has not learned yet, need not go the network's way.)"""
    count = {"weight-perturbation": 5000, "forward-gradient": 5000, "reward-hebb": 20000}.get(name, 500)
    model, batch = draws(load_rule(name)(), count, width=32)
    found = alignment(model, batch)
    for block in ("0", "1"):
        cosines = torch.tensor([own.cosine[block] for own in found])
        assert cosines.mean() > 4 * cosines.std() / len(cosines) ** 0.5, block


def test_the_cosine_of_a_forward_gradient_falls_with_the_root_of_the_number_of_weights() -> None:
    """|z| / |v| for a normal z along the gradient: sqrt(2 / (pi n)) on average."""
    model, batch = draws(WeightForwardGradient(), 2000, width=16)
    found, true = updates(model, batch), of_one(gradients(model, batch))
    ours, theirs = flat(found, list(true)), flat(true, list(true))
    cosines = torch.nn.functional.cosine_similarity(ours, theirs)
    expected = (2 / (math.pi * theirs.shape[1])) ** 0.5
    assert cosines.mean().item() == pytest.approx(expected, rel=0.08)


@pytest.fixture(scope="module")
def digits() -> tuple[Task, Splits]:
    task: Task = registry.load("task", "digits")
    return task, task.read()


def trained(name: str, rates: tuple[float, ...], digits: tuple[Task, Splits], epochs: int) -> list[float]:
    """Validation score at each learning rate, of 2 x 32 tanh units on handwritten digits."""
    task, splits = digits
    seeds, steps = [0] * len(rates), epochs * (len(splits.train) // 128)
    model = learner(load_rule(name)(), task, seeds=seeds, rate=rates, width=32, activation="tanh")
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        picked = torch.randperm(len(splits.train), generator=generator)[:128]
        inputs = task.prepare(splits.train.inputs[picked]).repeat(len(rates), 1, *[1] * len(task.input_shape))
        model.step(Batch(inputs, splits.train.targets[picked].repeat(len(rates), 1)))
    own = score(model.network, model.rule, model.state, task, splits.validation, splits.train)
    return own.score.tolist()


RATES = (0.003, 0.01)


def test_hidden_blocks_learn_by_node_perturbation_where_units_are_few(digits: tuple[Task, Splits]) -> None:
    """32 random units are too few for the output layer alone, whatever its learning rate; 32 that get credit
    are not. For this budget there are too many weights to perturb, and one bit of reward says too little."""
    torch.set_default_dtype(torch.float32)
    floor = max(trained("last-layer", (*RATES, 0.03, 0.1), digits, 60))
    for name in (
        "node-perturbation",
        "decorrelated-node-perturbation",
        "forward-gradient-activity",
        "local-forward-gradient",
    ):
        assert max(trained(name, RATES, digits, 60)) > floor + 0.04, name


# ------------------------------------------------------------------------------ what they cost


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 20), st.integers(1, 30), st.integers(1, 4))
def test_rules_of_one_number_cost_their_closed_forms(batch: int, width: int, depth: int) -> None:
    """F is the forward pass, d₀d₁ the first layer. Noise enters behind the first weights and a tangent has
    nothing to say before them, so that neither meets them twice."""
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    forward, first = batch * sum(layers), batch * layers[0]

    def counted(rule: str) -> int:
        model = learner(load_rule(rule)(), width=width, depth=depth, double=True)
        own = toy_batch(samples=batch)
        with count_operations() as ops:
            model.step(Batch(own.inputs.double(), own.targets))
        return ops.macs

    assert counted("node-perturbation") == 3 * forward - first
    # Through R once for the inputs and for each of a pair above; then R x and the outer product.
    square = [size * size for size in sizes[:-1]]
    decorrelating = batch * (3 * square[0] + 4 * sum(square[1:]))
    assert counted("decorrelated-node-perturbation") == 3 * forward - first + decorrelating
    assert counted("weight-perturbation") == 2 * forward
    assert counted("forward-gradient") == 3 * forward - first
    assert counted("forward-gradient-activity") == 3 * forward - first
    # Scores, slopes and update of a head at each hidden block.
    assert counted("local-forward-gradient") == 2 * forward + 3 * batch * 3 * depth * width
    assert counted("reward-hebb") == 2 * forward
