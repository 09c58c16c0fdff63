"""Each rule against its paper's equations: a theorem, a hand-worked case, or an independent spelling."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.baselines.rules.last_layer import LastLayer
from creditbench.baselines.rules.sigprop import SignalPropagation
from creditbench.suite.errors import CreditbenchError
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


# ------------------------------------------------------------------------------- sigprop


def pairwise(loss: str, h: Tensor, t: Tensor, targets: Tensor, scale: float) -> Tensor:
    """The local losses as the authors' library spells them, sample against sample of the batch: a row for
    each image, a column for each image's own target. h [batch, units], t [classes, units]."""
    columns = t[targets]  # [batch, units]
    if loss == "l2":
        return ((h - columns) ** 2).sum(1).mean()
    if loss == "input-label":
        return cross_entropy(scale * h @ t.T, targets)
    y = scale * h @ columns.T
    same = (targets[:, None] == targets[None, :]).double()
    log = torch.log_softmax(y, -1)
    if loss == "max-all":
        return -(same * log).sum(1).mean()
    if loss == "max-rand":  # the first of the own class stands for a random one
        return cross_entropy(y, same.argmax(1))
    k = 2
    positive = torch.zeros_like(same)
    for row in range(len(same)):
        own = same[row].nonzero().flatten()[:k]
        positive[row, own] = 1 / len(own)
    return -(positive * log).sum(1).mean()


LOSSES = ["top-k", "max-all", "max-rand", "input-label", "l2"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_sigprop_local_changes_are_the_slopes_of_the_pairwise_losses(loss: Any, similarity: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    h, t = (torch.randn(n, 6, generator=generator).double().requires_grad_() for n in (9, 4))
    targets = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])  # uneven, and class 3 is absent
    rule = SignalPropagation(loss=loss, similarity=similarity, temperature=0.2)
    a, b = h, t
    scale = 6**-0.5
    if similarity == "cosine" and loss != "l2":
        a, b, scale = h / h.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True), 5.0
    expected = torch.autograd.grad(pairwise(loss, a, b, targets, scale), [h, t])
    found = rule.local_changes(h.detach()[None], t.detach()[None], targets[None])
    for own, slope in zip(found, expected, strict=True):
        assert torch.allclose(own[0], slope, atol=1e-12)


@pytest.mark.parametrize("entry", ["beside", "below"])
@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("normalisation", [None, "layer"])
def test_a_sigprop_step_is_local_losses_with_detached_layers(
    name: str, entry: Any, normalisation: Any
) -> None:
    shape = (1, 8, 8)
    options: dict[str, Any] = {"mlp": {"width": 6, "depth": 3}, "conv": {"width": 3}}[name]
    rule = SignalPropagation(entry=entry)
    model = learner(rule, toy_task(shape), name, double=True, normalisation=normalisation, **options)
    model.state = State({k: v.double() for k, v in model.state.learned.items()})
    batch = doubled(toy_batch(shape=shape))
    found = updates(model, batch)
    signal = {k: v.clone().requires_grad_() for k, v in model.state.learned.items()}
    h, t = batch.inputs, signal["generator"]
    for number, block in enumerate(model.network.blocks[:-1]):
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        live = block.bind(leaves)
        h = live.forward(h, model.context()).output
        beside = number == 0 and entry == "beside"
        t = (live.activate(t, model.context()) if beside else live.forward(t, model.context())).output
        scale = h[0, 0].numel() ** -0.5
        loss = pairwise("top-k", h.flatten(2)[0], t.flatten(2)[0], batch.targets[0], scale)
        wanted = list(leaves.values()) + (list(signal.values()) if number == 0 else [])
        slopes = torch.autograd.grad(loss, wanted)
        for key, slope in zip([f"{block.name}.{k}" for k in leaves] + list(signal), slopes, strict=False):
            assert torch.allclose(found[key], slope, atol=1e-11), key
        h, t = h.detach(), t.detach()
    output = model.network.blocks[-1].forward(h).output
    error = model.loss.gradient(output, batch.targets)
    assert torch.allclose(found[f"{model.network.blocks[-1].name}.bias"], error.sum(1))


@pytest.mark.parametrize("above", [1, 2, 3])
def test_what_stands_above_a_block_never_reaches_it_under_sigprop(above: int) -> None:
    model, batch = learner(SignalPropagation(), depth=3), toy_batch()
    before = updates(model, batch)
    for block in model.network.blocks[above:]:
        block.weight.mul_(-3)
    after = updates(model, batch)
    for name in before:
        if not name[0].isdigit() or int(name[0]) < above:
            assert (after[name] - before[name]).abs().max() == 0, name


def test_the_same_weights_carry_both_streams_of_sigprop() -> None:
    """Without a batch's images in the loss, the second block still moves: through the target's stream."""
    model, batch = learner(SignalPropagation(loss="l2")), toy_batch()
    whole = updates(model, batch)["1.weight"]
    h = model.network.blocks[0].forward(batch.inputs).output
    t = model.network.blocks[0].activate(model.state.learned["generator"]).output
    second = model.network.blocks[1]
    parts = []
    for stream in (0, 1):
        trace = second.forward((h, t)[stream])
        changes = model.rule.local_changes(  # type: ignore[attr-defined]
            second.forward(h).output, second.forward(t).output, batch.targets
        )
        parts.append(second.update(trace, changes[stream])["weight"])
    assert parts[1].abs().max() > 0
    assert torch.allclose(whole, parts[0] + parts[1], atol=1e-6)


def test_sigprop_without_learning_the_generator_leaves_it_alone() -> None:
    found = updates(learner(SignalPropagation(learn_generator=False)), toy_batch())
    assert all(name[0].isdigit() for name in found)


def test_sigprop_gives_the_generator_one_signal_per_class() -> None:
    model = learner(SignalPropagation(), width=6)
    assert model.state.learned["generator"].shape == (1, 3, 6)
    found = updates(model, toy_batch())
    assert found["generator"].shape == (1, 3, 6)
    assert found["generator"].abs().amax(-1).min() > 0


def test_sigprop_refuses_batch_normalisation_and_says_why() -> None:
    task = toy_task()
    reason = SignalPropagation().supports(network(task, normalisation="batch"), task)
    assert reason is not None
    assert "layer or instance" in reason
    assert SignalPropagation().supports(network(task, normalisation="layer"), task) is None


@pytest.mark.parametrize("field", ["loss", "similarity", "entry"])
def test_sigprop_names_the_nearest_of_what_it_knows(field: str) -> None:
    known = {"loss": "max-al", "similarity": "cosin", "entry": "besides"}
    with pytest.raises(CreditbenchError, match="Did you mean"):
        SignalPropagation(**{field: known[field]})  # type: ignore[arg-type]


def test_inference_under_sigprop_needs_no_label_and_no_state() -> None:
    model, batch = learner(SignalPropagation()), toy_batch()
    scores = model.rule.predict(model.network, batch.inputs, State())
    assert torch.equal(scores, model.network(batch.inputs))


def test_a_network_is_not_changed_by_binding_other_parameters() -> None:
    made: Network = network(toy_task())
    other = made.bind([{k: p + 1 for k, p in b.parameters.items()} for b in made.blocks])
    assert not torch.equal(made.blocks[0].weight, other.blocks[0].weight)
