"""Rules whose blocks learn by themselves, each against autograd, a theorem or a limit."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, one_hot

from creditbench.baselines.networks.noprop import Denoiser
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.greedy import DecoupledGreedy, GreedyLayerwise
from creditbench.baselines.rules.local import pooled_to
from creditbench.baselines.rules.local_losses import (
    LocalPrediction,
    LocalSimilarity,
    PlausiblePrediction,
    PlausiblePredictionAndSimilarity,
    PlausibleSimilarity,
    PredictionAndSimilarity,
    similarity_change,
)
from creditbench.baselines.rules.noprop import NoProp
from creditbench.baselines.rules.phsic import PlausibleKernelBottleneck
from creditbench.baselines.rules.synthetic_gradients import SyntheticGradients
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, LearningRule, State, Trace
from tools import gradients, learner, toy_batch, toy_task, updates

IMAGES = (1, 8, 8)
STREAMING = (
    "pred",
    "sim",
    "predsim",
    "pred-bpf",
    "sim-bpf",
    "predsim-bpf",
    "decoupled-greedy",
    "phsic",
    "dni",
)


def prepared(rule: LearningRule, name: str = "mlp", **options: Any) -> tuple[Learner, Batch]:
    """In float64, with everything learned drawn at random, so that no derivative is zero by its start."""
    task = toy_task(IMAGES)
    made: dict[str, Any] = {"width": 8, "activation": "tanh"} | options
    model = learner(rule, task, name, double=True, **made)
    generator = torch.Generator().manual_seed(3)
    learned = {
        key: 0.3 * torch.randn(t.shape, generator=generator, dtype=torch.float64)
        for key, t in model.state.learned.items()
    }
    carried = {key: t.double() for key, t in model.state.carried.items()}
    model.state = State(learned, carried)
    batch = toy_batch(samples=12, shape=IMAGES)
    return model, Batch(batch.inputs.double(), batch.targets)


def correlations(x: Tensor) -> Tensor:
    """An independent spelling of the similarity matrix: torch's own correlation coefficients."""
    return torch.corrcoef(x)


def of_images(h: Tensor) -> Tensor:
    return h.flatten(2).std(2) if h.dim() == 4 else h


def mapped(h: Tensor, weight: Tensor) -> Tensor:
    return h @ weight.T if weight.dim() == 2 else torch.nn.functional.conv2d(h, weight, padding=1)


def local_loss(kind: str, name: str, h: Tensor, y: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Seed 0's loss at block `name`, spelt with torch's functions alone."""
    eye = torch.eye(3, dtype=h.dtype)
    if kind == "pred":
        logits = h.flatten(1) @ own[f"{name}.head0.weight"][0].T + own[f"{name}.head0.bias"][0]
        return cross_entropy(logits, y)
    if kind == "sim":
        return mse_loss(correlations(of_images(mapped(h, own[f"{name}.map"][0]))), correlations(eye[y]))
    if kind == "sim-bpf":
        return mse_loss(correlations(of_images(h)), correlations(own[f"{name}.code"][0][y]))
    hidden = torch.relu(h.flatten(1) @ own[f"{name}.head0.weight"][0].T + own[f"{name}.head0.bias"][0])
    return cross_entropy(hidden @ own[f"{name}.head1.weight"][0].T + own[f"{name}.head1.bias"][0], y)


def expected_updates(model: Learner, batch: Batch, loss: Any) -> dict[str, Tensor]:
    """Autograd's derivatives of every hidden block's own loss, by its weights and by what is learned."""
    found: dict[str, Tensor] = {}
    inputs = batch.inputs
    for block in model.network.blocks[:-1]:
        learned = {
            key: t.clone().requires_grad_()
            for key, t in model.state.learned.items()
            if key.startswith(f"{block.name}.")
        }
        leaves = {key: p.detach().clone().requires_grad_() for key, p in block.parameters.items()}
        with torch.enable_grad():
            h = block.bind(leaves).forward(inputs).output
            value = loss(block.name, h[0], batch.targets[0], {**model.state.carried, **learned})
        names = [*(f"{block.name}.{key}" for key in leaves), *learned]
        grads = torch.autograd.grad(value, [*leaves.values(), *learned.values()])
        found |= dict(zip(names, grads, strict=True))
        inputs = h.detach()
    return found


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for key, value in expected.items():
        assert value.norm() > 0, key
        assert torch.allclose(found[key], value, rtol=1e-8, atol=1e-12), key


# ------------------------------------------------------------------------------ local losses


@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("kind", ["pred", "sim", "sim-bpf", "decoupled-greedy"])
def test_a_block_descends_its_own_loss_by_autograd(kind: str, name: str) -> None:
    model, batch = prepared(load_rule(kind)(), name)
    expected = expected_updates(model, batch, lambda *args: local_loss(kind, *args))
    found = updates(model, batch)
    assert_same(found, expected)
    top = model.network.blocks[-1].name
    assert found.keys() == expected.keys() | {f"{top}.weight", f"{top}.bias"}
    # The output layer descends the task's loss, as under bp.
    for key in ("weight", "bias"):
        assert torch.allclose(found[f"{top}.{key}"], gradients(model, batch)[f"{top}.{key}"])


@pytest.mark.parametrize("rule", [PredictionAndSimilarity, PlausiblePredictionAndSimilarity])
def test_predsim_is_the_weighted_sum_of_its_two_losses(rule: Any) -> None:
    share = 0.7
    parts = (
        (LocalPrediction, LocalSimilarity)
        if rule is PredictionAndSimilarity
        else (PlausiblePrediction, PlausibleSimilarity)
    )
    model, batch = prepared(rule(similarity_share=share), depth=2)
    both = updates(model, batch)
    found = []
    for part in parts:
        alone, _ = prepared(part(), depth=2)
        alone.state = model.state
        found.append(updates(alone, batch))
    top = model.network.blocks[-1].name
    for key, update in both.items():
        shares = (1.0, 0.0) if key.startswith(f"{top}.") else (1 - share, share)
        whole = sum(w * own[key] for w, own in zip(shares, found, strict=True) if key in own)
        assert torch.allclose(update, torch.as_tensor(whole), atol=1e-13), key


def test_similarities_that_match_leave_nothing_to_learn() -> None:
    """Samples whose units are a class's one-hot label, shifted and scaled: S(h) is S(label)."""
    targets = torch.tensor([[0, 1, 2, 2, 0, 1]])
    labels = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    h = 5.0 * labels[0][targets] + 2.0
    assert similarity_change(h, labels, targets).abs().max() < 1e-15
    h[0, 0, 1] += 1.0
    assert similarity_change(h, labels, targets).abs().max() > 1e-3


def test_silent_units_and_channels_give_no_infinite_updates() -> None:
    targets = torch.tensor([[0, 1, 2]])
    labels = torch.eye(3).unsqueeze(0)
    for shape in ((1, 3, 5), (1, 3, 4, 2, 2)):
        assert torch.equal(similarity_change(torch.zeros(shape), labels, targets), torch.zeros(shape))


def test_pred_bpf_sends_the_error_of_random_bits_through_fixed_weights() -> None:
    model, batch = prepared(PlausiblePrediction(codes=5), depth=1)
    found = updates(model, batch)
    block, own, y = model.network.blocks[0], model.state, batch.targets[0]
    h = block.forward(batch.inputs).output[0]
    bits = (own.carried["0.code"][0] > 0).double()[y]
    head = own.learned["0.head0.weight"][0].clone().requires_grad_()
    with torch.enable_grad():
        logits = h @ head.T + own.learned["0.head0.bias"][0]
        value = binary_cross_entropy_with_logits(logits, bits)
    assert torch.allclose(found["0.head0.weight"][0], torch.autograd.grad(value, head)[0])
    error = (torch.sigmoid(logits) - bits) / bits.numel()
    delta = error.detach() @ own.carried["0.feedback"][0] * (1 - h**2)
    assert torch.allclose(found["0.weight"][0], delta.T @ batch.inputs[0].flatten(1))


@pytest.mark.parametrize(
    ("shape", "features", "size"),
    [
        ((16,), 4, 1),
        ((4, 8, 8), 256, 1),
        ((4, 8, 8), 255, 2),
        ((4, 8, 8), 16, 4),
        ((4, 6, 6), 36, 2),
        ((9, 6, 6), 4, 6),
        ((2, 7, 7), 97, 7),
        ((2, 6, 5), 10, 5),
    ],
)
def test_heads_average_images_only_as_far_as_they_must(shape: Any, features: int, size: int) -> None:
    pooling = pooled_to(shape, features)
    assert (pooling.size if pooling else 1) == size


def test_a_head_on_a_pooled_image_goes_back_by_autograd() -> None:
    model, batch = prepared(LocalPrediction(features=32), "conv", width=4)
    block = model.network.blocks[0]  # 4 x 4 x 4 behind its pooling: averaged to 4 x 2 x 2
    assert model.state.learned["0.head0.weight"].shape == (1, 3, 16)

    def loss(name: str, h: Tensor, y: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        pooled = torch.nn.functional.avg_pool2d(h, 2) if name == block.name else h
        return local_loss("pred", name, pooled, y, own)

    assert_same(updates(model, batch), expected_updates(model, batch, loss))


@pytest.mark.parametrize("share", [-0.1, 1.5])
@pytest.mark.parametrize("rule", ["predsim", "predsim-bpf"])
def test_a_share_outside_its_range_is_refused(rule: str, share: float) -> None:
    with pytest.raises(CreditbenchError, match="similarity_share"):
        load_rule(rule)(similarity_share=share)  # type: ignore[call-arg]


# ------------------------------------------------------------------------------ what local means


@pytest.mark.parametrize("rule", [name for name in STREAMING if name != "dni"])
def test_no_block_learns_from_anything_above_it(rule: str) -> None:
    """Exactly: other weights, heads and codes above change no update of block 0 and 1."""
    model, batch = prepared(load_rule(rule)(), depth=4)
    before = updates(model, batch)
    for block in model.network.blocks[2:]:
        block.weight.mul_(-2.0)
    state = [
        {key: -t if int(key.split(".")[0]) >= 2 else t for key, t in own.items()}
        for own in (model.state.learned, model.state.carried)
    ]
    model.state = State(*state)
    after = updates(model, batch)
    low = [key for key in before if int(key.split(".")[0]) < 2]
    assert low
    assert all(torch.equal(after[key], before[key]) for key in low)
    assert any(not torch.equal(after[key], before[key]) for key in before if key not in low)


@pytest.mark.parametrize("rule", STREAMING)
def test_the_memory_of_local_rules_is_flat_in_depth(rule: str) -> None:
    def made(depth: int) -> int:
        model, batch = learner(load_rule(rule)(), width=32, depth=depth), toy_batch(samples=100)
        model.step(batch)
        kinds = step_memory(model, batch).at_peak
        return kinds["activations"] + kinds["temporaries"]

    assert made(16) == made(4)


# ------------------------------------------------------------------------------ greedy


def test_greedy_learns_one_block_after_the_other() -> None:
    model, batch = learner(GreedyLayerwise(), depth=3, width=6), toy_batch()
    seen = []
    for done in (0, 333, 334, 666, 667, 999):
        model.done = done
        seen.append({key.split(".")[0] for key in updates(model, batch)})
    assert seen == [{"0", "3"}, {"0", "3"}, {"1", "3"}, {"1", "3"}, {"2", "3"}, {"2", "3"}]


def test_a_greedy_block_learns_as_it_does_beside_the_others() -> None:
    together, batch = prepared(DecoupledGreedy(), depth=3)
    alone, _ = prepared(GreedyLayerwise(), depth=3)
    alone.state = together.state
    expected = updates(together, batch)
    for done in (0, 500, 999):
        alone.done = done
        found = updates(alone, batch)
        assert found
        assert all(torch.equal(found[key], expected[key]) for key in found)


# ------------------------------------------------------------------------------ synthetic gradients


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_synthetic_gradients_that_are_true_make_dni_backpropagation(name: str) -> None:
    """One sample of each class: rows of B_l can hold every sample's true gradient. Then blocks learn as under
    bp, and the modules have nothing to be corrected by."""
    model, _ = prepared(SyntheticGradients(), name)
    batch = toy_batch(samples=3, shape=IMAGES)
    batch = Batch(batch.inputs.double(), batch.targets)
    traces = model.network.forward(batch.inputs)
    change = model.loss.gradient(traces[-1].output, batch.targets)
    learned = {key: torch.zeros_like(t) for key, t in model.state.learned.items()}
    for place in range(len(traces) - 1, 0, -1):
        _, change = model.network.blocks[place].pullback(traces[place], change)
        learned[f"{model.network.blocks[place - 1].name}.by_label"] = 3 * change.flatten(2)
    model.state = State(learned)
    found, true = updates(model, batch), gradients(model, batch)
    assert_same(found, true)
    for key in learned:
        assert found[key].abs().max() < 1e-14, key


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_synthetic_gradient_module_descends_its_squared_error(name: str) -> None:
    model, batch = prepared(SyntheticGradients(), name)
    found, samples = updates(model, batch), batch.targets.shape[1]
    top = model.network.blocks[-1]
    traces = model.network.forward(batch.inputs)
    error = model.loss.gradient(traces[-1].output, batch.targets)
    _, true = top.pullback(traces[-1], error)
    below = model.network.blocks[-2].name
    h = traces[-2].output[0]
    leaves = [
        model.state.learned[f"{below}.{k}"][0].clone().requires_grad_() for k in ("by_activity", "by_label")
    ]
    with torch.enable_grad():
        foretold = torch.einsum("uv,bv...->bu...", leaves[0], h)
        foretold = foretold + leaves[1][batch.targets[0]].view_as(h)
        loss = (foretold - samples * true[0]).square().sum() / 2 / samples
    for key, gradient in zip(("by_activity", "by_label"), torch.autograd.grad(loss, leaves), strict=True):
        assert torch.allclose(found[f"{below}.{key}"][0], gradient), key


def test_a_synthetic_gradient_is_corrected_by_what_the_next_module_foretells() -> None:
    """Blocks 0 and 1 take nothing from block 3's weights; the module of block 2 does."""
    model, batch = prepared(SyntheticGradients(), depth=3)
    before = updates(model, batch)
    model.network.blocks[-1].weight.mul_(-2.0)
    after = updates(model, batch)
    changed = {key for key in before if not torch.equal(after[key], before[key])}
    assert changed == {"3.weight", "3.bias", "2.by_activity", "2.by_label"}


# ------------------------------------------------------------------------------ pHSIC


def bottleneck(h: Tensor, y: Tensor, rule: PlausibleKernelBottleneck, groups: int) -> Tensor:
    """The objective of one layer and seed, spelt pair by pair."""
    z = h.flatten(1).unflatten(1, (groups, -1))
    spread = ((z - z.mean(2, keepdim=True)).square().sum(2) + rule.smoothing).div(z.shape[2]).sqrt()
    v = spread - spread.mean(1, keepdim=True)
    kernel = torch.exp(-(v[:, None] - v[None]).square().sum(2) / (2 * rule.sigma**2))
    label = correlations(torch.eye(3, dtype=h.dtype)[y])

    def phsic(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).mean() - a.mean() * b.mean()

    return phsic(kernel, kernel) - rule.balance * phsic(label, kernel)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_the_three_factor_rule_is_the_slope_of_the_bottleneck(name: str) -> None:
    rule = PlausibleKernelBottleneck(sigma=0.7, groups=4)
    model, batch = prepared(rule, name)
    expected = expected_updates(model, batch, lambda _, h, y, own: bottleneck(h, y, rule, 4))
    assert_same(updates(model, batch), expected)


def test_the_three_factors_by_pairs_of_samples() -> None:
    """Summed pair by pair, the third factor times each synapse's own two-sample term is the update."""
    rule = PlausibleKernelBottleneck(sigma=0.7, groups=4)
    model, batch = prepared(rule, depth=1)
    block, y = model.network.blocks[0], batch.targets[0]
    count = len(y)
    with torch.enable_grad():
        weight = block.weight.clone().requires_grad_()
        h = block.bind({**block.parameters, "weight": weight}).forward(batch.inputs).output[0]
        z = h.unflatten(1, (4, -1))
        spread = ((z - z.mean(2, keepdim=True)).square().sum(2) + rule.smoothing).div(z.shape[2]).sqrt()
        v = spread - spread.mean(1, keepdim=True)
        kernel = torch.exp(-(v[:, None] - v[None]).square().sum(2) / (2 * rule.sigma**2))
    same = y[:, None] == y[None]
    label = torch.where(same, 1.0, -0.5).double()  # cosine of centred one-hot labels of three classes
    third = 2 * (kernel - kernel.mean()) - rule.balance * (label - label.mean())
    total = torch.zeros_like(block.weight)
    for i, j in itertools.product(range(count), repeat=2):
        (slope,) = torch.autograd.grad(kernel[i, j], weight, retain_graph=True)
        total += third[i, j].detach() * slope / count**2
    assert torch.allclose(updates(model, batch)["0.weight"], total, rtol=1e-8, atol=1e-14)


def test_a_layer_that_has_no_groups_is_refused_with_a_reason() -> None:
    with pytest.raises(CreditbenchError, match="groups"):
        learner(PlausibleKernelBottleneck(), width=7)


# ------------------------------------------------------------------------------ NoProp


def noprop(rule: LearningRule | None = None, double: bool = True, **options: Any) -> tuple[Learner, Batch]:
    settings_ = {"depth": 4, "width": 2, "units": 5} | options
    model = learner(rule or NoProp(), toy_task(IMAGES), "noprop", double=double, **settings_)
    batch = toy_batch(samples=6, shape=IMAGES)
    return model, Batch(batch.inputs.double() if double else batch.inputs, batch.targets)


def denoisers(model: Learner) -> list[Denoiser]:
    return [block for block in model.network.blocks if isinstance(block, Denoiser)]


@pytest.mark.parametrize("depth", [1, 4, 10])
def test_a_true_estimate_takes_the_label_from_one_noise_level_to_the_next(depth: int) -> None:
    """z_{t-1} ~ N(√s_{t-1} u, 1 - s_{t-1}) and û = u give z_t ~ N(√s_t u, 1 - s_t), c_t included."""
    model, _ = noprop(depth=depth)
    chain = denoisers(model)
    assert len(chain) == depth
    for level in (block.level for block in chain):
        mean = level.estimate_weight + level.label_weight * level.before**0.5
        variance = level.label_weight**2 * (1 - level.before) + level.left_variance
        assert mean == pytest.approx(level.after**0.5, rel=1e-12)
        assert variance == pytest.approx(1 - level.after, rel=1e-12)
    assert [b.level.after for b in chain[:-1]] == [b.level.before for b in chain[1:]]
    assert chain[0].level.before < 0.15
    assert chain[-1].level.after > 0.85


def test_a_denoiser_learns_by_the_slope_of_its_own_loss() -> None:
    model, batch = noprop()
    found = updates(model, batch)
    for generator in model.noise.generators:  # the same noise again
        generator.manual_seed(0)
    again, chain = updates(model, batch), denoisers(model)
    assert found.keys() == again.keys()
    for generator in model.noise.generators:
        generator.manual_seed(0)
    u = one_hot(batch.targets, 3).double()
    for number, block in enumerate(chain):
        before, after = block.level.before, block.level.after
        z = before**0.5 * u + (1 - before) ** 0.5 * model.noise.normal(6, 3).double()
        leaves = {key: p.clone().requires_grad_() for key, p in block.parameters.items()}
        bound = replace(block, parameters=leaves)
        with torch.enable_grad():
            _, estimate = bound.forward(torch.cat([batch.inputs.flatten(2), z], -1)).saved
            gain = after / (1 - after) - before / (1 - before)
            loss = 4 / 2 * 0.1 * gain * (estimate - u).square().sum(-1).mean()
        for key, gradient in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            assert torch.allclose(again[f"{number}.{key}"], gradient, rtol=1e-8, atol=1e-14), key


def test_a_denoiser_takes_no_part_in_another_ones_learning() -> None:
    model, batch = noprop()

    def fresh() -> dict[str, Tensor]:
        for generator in model.noise.generators:
            generator.manual_seed(0)
        return updates(model, batch)

    before = fresh()
    for changed in model.network.blocks:
        saved = {key: p.clone() for key, p in changed.parameters.items()}
        for p in changed.parameters.values():
            p.mul_(-1.5)
        after = fresh()
        moved = {key.split(".")[0] for key in before if not torch.equal(after[key], before[key])}
        assert moved == {changed.name}
        for key, p in changed.parameters.items():
            p.copy_(saved[key])


def test_noprop_learns_its_labels_in_no_pass_through_the_network() -> None:
    """After some steps z clears up from block to block, from nothing to the label."""
    model, _ = noprop(double=False, depth=5, width=4, units=16)
    rates = [group["lr"] for group in model.optimizer.optimizer.param_groups]
    assert rates == [1e-3]
    model = learner(NoProp(), toy_task(IMAGES), "noprop", rate=1e-2, depth=5, width=4, units=16)
    split = toy_task(IMAGES).read().train
    batch = Batch(split.inputs.unsqueeze(0), split.targets.unsqueeze(0))
    for _ in range(60):
        model.step(batch)
    truth = one_hot(batch.targets, 3)
    with torch.no_grad():
        traces: list[Trace] = model.network.forward(batch.inputs)
        distances = [(trace.output[..., -3:] - truth).norm(dim=-1).mean().item() for trace in traces[:-1]]
        scores = model.rule.predict(model.network, batch.inputs, model.state)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.3 * distances[0]
    assert (scores.argmax(-1) == batch.targets).double().mean() > 0.95


def test_the_network_of_noprop_is_a_chain_that_bp_can_train() -> None:
    """Its blocks' own way back is autograd's, from the output to the first block."""
    model, batch = noprop(Backpropagation())
    traces = model.network.forward(batch.inputs)
    change = model.loss.gradient(traces[-1].output, batch.targets)
    found: dict[str, Tensor] = {}
    for block, trace in reversed(list(zip(model.network.blocks, traces, strict=True))):
        update, change = block.pullback(trace, change)
        found |= {f"{block.name}.{key}": tensor for key, tensor in update.items()}
    assert change.shape == batch.inputs.shape
    for key, gradient in gradients(model, batch).items():
        assert torch.allclose(found[key], gradient, atol=1e-13), key


def test_noprop_on_another_network_says_where_it_runs() -> None:
    with pytest.raises(CreditbenchError, match="runs on the network noprop"):
        learner(NoProp())


# ------------------------------------------------------------------------------ what they cost


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 20), st.integers(1, 15), st.integers(1, 4))
def test_local_rules_cost_their_closed_forms(batch: int, half: int, depth: int) -> None:
    """2F is a pass and the blocks' own outer products. A linear head takes 3 products of its size (output,
    update, and the way back to h); similarities one of batch² x units to compare, one to go back."""
    width, codes, hidden = 4 * half, 128, 128
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    base = 2 * batch * sum(layers)

    def counted(rule: str) -> int:
        model = learner(load_rule(rule)(), width=width, depth=depth)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    def head(*sizes: int) -> int:
        return 3 * batch * sum(a * b for a, b in itertools.pairwise(sizes))

    compare = 2 * batch * batch * width
    pred, sim = head(width, 3), 3 * batch * width * width + compare + 3 * 3 * 3
    assert counted("pred") == base + depth * pred
    assert counted("sim") == base + depth * sim
    assert counted("predsim") == base + depth * (pred + sim)
    assert counted("pred-bpf") == base + depth * head(width, codes)
    assert counted("sim-bpf") == base + depth * (compare + 3 * 3 * codes)
    assert counted("predsim-bpf") == base + depth * (head(width, codes) + compare + 3 * 3 * codes)
    assert counted("decoupled-greedy") == base + depth * head(width, hidden, 3)
    learning = batch * (layers[0] + layers[-1])  # the first part of the training
    assert counted("greedy") == base // 2 + learning + head(width, hidden, 3)
    # A module foretells, and is updated by activity and by label; a block carries its change to its input.
    module = 2 * batch * width * width + batch * 3 * width
    assert counted("dni") == base + depth * module + batch * sum(layers)
    groups = max(g for g in range(1, 33) if width % g == 0 and width > g)
    assert counted("phsic") == base + depth * 2 * batch * batch * groups + 3 * 3 * 3


@settings(max_examples=3, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(2, 6))
def test_noprop_costs_its_closed_form(batch: int, depth: int, units: int) -> None:
    """Forward, outer products, and back to every layer but the two at the bottom of a block."""
    model, _ = noprop(double=False, depth=depth, width=2, units=units)
    with count_operations() as ops:
        model.step(toy_batch(samples=batch, shape=IMAGES))
    convolutions = [64 * 9 * 2, 16 * 9 * 2 * 4]
    above = convolutions[1] + 4 * 4 * units + 2 * units * units + units * 3
    below = convolutions[0] + 3 * units
    assert ops.macs == batch * (depth * (3 * above + 2 * below) + 2 * 3 * 3)
