"""Forward-forward, SymBa and the Trifecta against losses spelled out for autograd, with labels in pixels."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import softplus

from creditbench.baselines.rules import forward_forward, trifecta
from creditbench.baselines.rules.forward_forward import ForwardForward, SymBa, direction, wrong_labels
from creditbench.baselines.rules.trifecta import Trifecta
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Context, State
from tools import learner, network, toy_batch, toy_task, updates

CLASSES = 3


def next_label(targets: Tensor, context: Context) -> Tensor:
    return (targets + 1) % CLASSES


@pytest.fixture
def known_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong label is the one after the right one."""
    monkeypatch.setattr(forward_forward, "wrong_labels", next_label)
    monkeypatch.setattr(trifecta, "wrong_labels", next_label)


def doubled(model: Learner) -> Learner:
    learned = {k: v.double() for k, v in model.state.learned.items()}
    model.state = State(learned, {k: v.double() for k, v in model.state.carried.items()})
    return model


def batch_of(shape: tuple[int, ...] = (1, 4, 4)) -> Batch:
    batch = toy_batch(shape=shape)
    return Batch(batch.inputs.double(), batch.targets)


def spelled(rule: ForwardForward | SymBa, right: Tensor, wrong: Tensor) -> Tensor:
    if isinstance(rule, SymBa):
        return softplus(-rule.alpha * (right - wrong)).mean()
    a, theta = rule.alpha, rule.threshold
    return (softplus(-a * (right - theta)) + softplus(a * (wrong - theta))).mean()


def labelled(inputs: Tensor, labels: Tensor, value: float) -> Tensor:
    """The label written into the first pixels, as Hinton does."""
    flat = inputs.flatten(2).clone()
    flat[..., :CLASSES] = value * torch.eye(CLASSES, dtype=flat.dtype)[labels]
    return flat.view_as(inputs)


@pytest.mark.usefixtures("known_negatives")
@pytest.mark.parametrize("rule", [
    ForwardForward(negatives="random"), SymBa(negatives="random", label_scale=0.8),
    SymBa(negatives="random", label="beside"),
])  # fmt: skip
@pytest.mark.parametrize("normalisation", [None, "layer"])
def test_a_step_descends_each_blocks_own_loss(rule: ForwardForward | SymBa, normalisation: Any) -> None:
    options: dict[str, Any] = {"depth": 3, "width": 6, "activation": "tanh"}
    model = doubled(learner(rule, double=True, normalisation=normalisation, **options))
    batch = batch_of()
    found = updates(model, batch)
    both = (batch.targets, (batch.targets + 1) % CLASSES)
    value = rule.label_scale * 16**0.5
    signal = {k: v.clone().requires_grad_() for k, v in model.state.learned.items()}
    h = [labelled(batch.inputs, y, value) if rule.label == "image" else batch.inputs for y in both]
    for number, block in enumerate(model.network.blocks[:-1]):
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        live = block.bind(leaves)
        a = [live.preactivate(x.detach()) for x in h]
        if number == 0 and rule.label == "beside":
            a = [own + signal["label"][:, y[0]] for own, y in zip(a, both, strict=True)]
        h = [live.activate(own).output for own in a]
        loss = spelled(rule, *((x**2).mean(-1) for x in h))
        wanted = leaves | (signal if number == 0 else {})
        for key, slope in zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True):
            name = key if key == "label" else f"{block.name}.{key}"
            assert torch.allclose(found.pop(name), slope, atol=1e-13), name
        h = [x / (x**2).mean(-1, keepdim=True).sqrt() for x in h]
    assert not found  # with random negatives and goodness for readout the output layer has no part


def test_symba_learns_convolutions_with_the_label_beside() -> None:
    rule, shape = SymBa(label="beside", negatives="random"), (1, 8, 8)
    model = learner(rule, toy_task(shape), "conv", width=3)
    assert updates(model, toy_batch(shape=shape))["1.weight"].abs().max() > 0
    reason = SymBa().supports(model.network, toy_task(shape))
    assert reason is not None
    assert "label=beside" in reason


@pytest.mark.usefixtures("known_negatives")
def test_peer_normalisation_is_the_slope_of_the_spread_of_mean_activities() -> None:
    plain, pushed = (
        doubled(learner(SymBa(negatives="random", peer=p), double=True, depth=1, width=6)) for p in (0.0, 3.0)
    )
    batch = batch_of()
    pushed.state = State(carried={"0": torch.rand(1, 6, generator=torch.Generator().manual_seed(1)).double()})
    block = pushed.network.blocks[0]
    weight = block.weight.clone().requires_grad_()
    x = labelled(batch.inputs, batch.targets, 0.5 * 4)
    h = block.bind({**block.parameters, "weight": weight}).forward(x).output
    mean = 0.9 * pushed.state.carried["0"] + 0.1 * h.mean(1)
    (slope,) = torch.autograd.grad(3.0 * ((mean - mean.mean()) ** 2).mean(), weight)
    apart = updates(pushed, batch)["0.weight"] - updates(plain, batch)["0.weight"]
    assert torch.allclose(apart, slope, atol=1e-13)
    pushed.step(batch)
    assert torch.allclose(pushed.state.carried["0"], mean.detach(), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 7), st.floats(-50, 50))
def test_negatives_never_carry_the_true_label(classes: int, belief: float) -> None:
    """Neither those drawn evenly nor hard ones, however sure the output layer is of the truth."""
    model = learner(SymBa(), toy_task((1, 4, 4), classes), width=4)
    targets = torch.arange(300).unsqueeze(0) % classes
    even = wrong_labels(targets, model.context())
    outputs = belief * torch.nn.functional.one_hot(targets, classes).float()
    hard = forward_forward._drawn(outputs, targets, model.context())
    for drawn in (even, hard):
        assert not (drawn == targets).any()
        assert (drawn.unique() == torch.arange(classes)).all()


def test_hard_negatives_follow_the_odds_of_the_output_layer() -> None:
    """Odds 1 : 2 : 5 over the wrong labels, whatever the true one has; 4000 draws, 4 standard errors."""
    model, targets = learner(SymBa(), toy_task((1, 4, 4), 4)), torch.zeros(1, 4000, dtype=torch.long)
    outputs = torch.tensor([100.0, 1.0, 2.0, 5.0])
    outputs[1:] = outputs[1:].log()
    drawn = forward_forward._drawn(outputs.expand(1, 4000, 4), targets, model.context())
    for label, share in ((1, 1 / 8), (2, 2 / 8), (3, 5 / 8)):
        assert (drawn == label).double().mean().item() == pytest.approx(share, abs=4 * (0.25 / 4000) ** 0.5)


@pytest.mark.parametrize("rule", [ForwardForward(negatives="random"), SymBa(negatives="random")])
@pytest.mark.parametrize("above", [1, 2, 3])
def test_what_stands_above_a_block_never_reaches_it(rule: ForwardForward | SymBa, above: int) -> None:
    before, after = (learner(rule, depth=3, width=6) for _ in range(2))
    for block in after.network.blocks[above:]:
        block.weight.mul_(-3)
    first, second = updates(before, toy_batch()), updates(after, toy_batch())
    for name in first:
        if int(name[0]) < above:
            assert (second[name] - first[name]).abs().max() == 0, name


def test_hard_negatives_come_from_the_output_layer() -> None:
    """The one way in which what is above reaches a block: which label is wrong."""
    before, after = (learner(SymBa(negatives="hard"), width=6) for _ in range(2))
    after.network.blocks[-1].weight.mul_(-30)
    first, second = updates(before, toy_batch()), updates(after, toy_batch())
    assert (second["0.weight"] - first["0.weight"]).abs().max() > 0


@pytest.mark.parametrize("readout", ["goodness", "linear"])
def test_predictions_do_not_read_the_pixels_that_hold_labels(readout: Any) -> None:
    """A label left in the image would tell; and scores are the same whatever else is in the batch."""
    model, inputs = learner(SymBa(readout=readout), width=6), toy_batch(samples=9).inputs
    scores = model.rule.predict(model.network, inputs, model.state)
    told = labelled(inputs, toy_batch(samples=9).targets, 7.0)
    assert torch.equal(model.rule.predict(model.network, told, model.state), scores)
    alone = model.rule.predict(model.network, inputs[:, 4:5], model.state)
    assert torch.allclose(alone, scores[:, 4:5], atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("label", ["image", "beside"])
def test_the_score_of_a_label_is_the_goodness_of_a_pass_with_it(depth: int, label: Any) -> None:
    """Without the first hidden block where there are others: its goodness is the easiest to come by."""
    rule = ForwardForward(label=label)
    model = doubled(learner(rule, double=True, depth=depth, width=6, activation="tanh"))
    inputs = batch_of().inputs
    scores = rule.predict(model.network, inputs, model.state)
    for wanted in range(CLASSES):
        h = inputs if label == "beside" else labelled(inputs, torch.full((1, 9), wanted), 0.5 * 4)
        total = torch.zeros(1, 9).double()
        for number, block in enumerate(model.network.blocks[:-1]):
            a = block.preactivate(h)
            a = a + model.state.learned["label"][:, wanted] if number == 0 and label == "beside" else a
            h = block.activate(a).output
            total += (h**2).mean(-1) if number or depth == 1 else 0
            h = h / (h**2).mean(-1, keepdim=True).sqrt()
        assert torch.allclose(scores[..., wanted], total, atol=1e-12)


def test_a_block_hands_on_its_direction_and_nothing_of_its_length() -> None:
    h = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    lengths = torch.tensor([1e-3, 0.1, 1.0, 10.0, 1e3]).double().view(1, 5, 1, 1)
    assert torch.allclose(direction(h * lengths), direction(h), atol=1e-9)
    assert torch.allclose(direction(h).square().mean((2, 3)), torch.ones(2, 5).double())
    assert direction(torch.zeros(1, 2, 3)).abs().max() == 0


def test_the_difference_loss_pulls_as_hard_on_both_passes_and_the_threshold_does_not() -> None:
    """By hand: G⁺ = 1, G⁻ = 3, α = 2 and θ = 1: sigmoid(4), and sigmoid(0) against sigmoid(4)."""
    right, wrong, sure = torch.tensor([[1.0]]), torch.tensor([[3.0]]), 0.98201379
    assert [s.item() for s in SymBa(alpha=2.0).slopes(right, wrong)] == pytest.approx([-2 * sure, 2 * sure])
    threshold = ForwardForward(alpha=2.0, threshold=1.0).slopes(right, wrong)
    assert [s.item() for s in threshold] == pytest.approx([-1.0, 2 * sure])


@pytest.mark.parametrize("field", ["label", "negatives", "readout"])
def test_a_misspelt_choice_is_answered_with_the_nearest(field: str) -> None:
    known = {"label": "imag", "negatives": "randm", "readout": "liner"}
    with pytest.raises(CreditbenchError, match="Did you mean"):
        ForwardForward(**{field: known[field]})  # type: ignore[arg-type]


def test_what_forward_forward_cannot_train_it_refuses() -> None:
    task = toy_task()
    assert "hidden layers" in str(SymBa().supports(network(task, depth=0), task))
    assert "batch normalisation" in str(SymBa().supports(network(task, normalisation="batch"), task))
    many = toy_task((1, 2, 2), classes=5)
    assert "fewer pixels" in str(SymBa().supports(network(many), many))
    assert SymBa(label="beside").supports(network(many), many) is None


# ------------------------------------------------------------------------------- the Trifecta


@pytest.mark.usefixtures("known_negatives")
@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("step", [0, 1])
def test_the_trifecta_learns_in_pairs_that_overlap_from_step_to_step(name: str, step: int) -> None:
    shape = (1, 16, 16)
    options: dict[str, Any] = {"mlp": {"width": 6}, "conv": {"width": 2}}[name]
    model = doubled(learner(Trifecta(), toy_task(shape), name, double=True, depth=4, **options))
    model.done = step
    batch = batch_of(shape)
    found = updates(model, batch)
    pairs = [(0, 1), (2, 3)] if step == 0 else [(0,), (1, 2)]
    both = (batch.targets, (batch.targets + 1) % CLASSES)
    label = model.state.learned["label"].clone().requires_grad_()
    h = torch.cat([batch.inputs] * 2, 1)
    for pair in pairs:
        leaves: dict[str, Tensor] = {}
        h = h.detach()
        for number in pair:
            block = model.network.blocks[number]
            own = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
            leaves |= {f"{number}.{k}": p for k, p in own.items()}
            if number:
                over = (1, *range(3, h.dim()))
                variance, mean = torch.var_mean(h, over, correction=0, keepdim=True)
                h = (h - mean) / (variance + 1e-5).sqrt()
            a = block.bind(own).preactivate(h)
            if number == 0:
                a, leaves["label"] = a + label[:, torch.cat(both, 1)[0]], label
            h = block.activate(a).output
        right, wrong = (h.flatten(2) ** 2).mean(-1).chunk(2, 1)
        slopes = torch.autograd.grad(softplus(-4 * (right - wrong)).mean(), list(leaves.values()))
        for key, slope in zip(leaves, slopes, strict=True):
            assert torch.allclose(found.pop(key), slope, atol=1e-12), key
    assert not found


@pytest.mark.parametrize("step", [0, 1])
def test_a_block_of_the_trifecta_hears_of_the_one_above_it_and_no_other(step: int) -> None:
    before, after = (learner(Trifecta(), depth=5, width=6) for _ in range(2))
    before.done = after.done = step
    for block in after.network.blocks[3:]:
        block.weight.mul_(-3)
    first, second = updates(before, toy_batch()), updates(after, toy_batch())
    reached = {k[0] for k in first if k[0].isdigit() and not torch.equal(first[k], second[k])}
    assert reached == ({"2", "3"} if step == 0 else {"3", "4"})


def test_the_trifecta_refuses_what_its_normalisation_cannot_live_with() -> None:
    task = toy_task()
    for options, reason in (
        ({"depth": 1}, "fewer than two"),
        ({"normalisation": "batch"}, "of its own"),
        ({"activation": "identity"}, "steps of rounding"),
    ):
        assert reason in str(Trifecta().supports(network(task, **options), task))


def test_inference_under_the_trifecta_takes_running_statistics_and_no_company() -> None:
    model = learner(Trifecta(momentum=0.5), width=6)
    for seed in range(4):
        model.step(toy_batch(seed=seed))
    inputs = toy_batch().inputs
    scores = model.rule.predict(model.network, inputs, model.state)
    alone = model.rule.predict(model.network, inputs[:, 2:3], model.state)
    assert torch.allclose(alone, scores[:, 2:3], atol=1e-6)
    assert model.state.carried["1.mean"].abs().max() > 0
