"""Signal propagation against its paper's equations, spelt out by autograd or worked by hand."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils._pytree import tree_leaves

import creditbench
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.sigprop.glyphs import numbers
from creditbench.baselines.rules.sigprop.losses import LOSSES, SIMILARITIES, Terms, nearest
from creditbench.baselines.rules.sigprop.predictions import compare_with_subset, groups_of
from creditbench.baselines.rules.sigprop.rows import ClassRows, SampleRows, one_hot
from creditbench.baselines.rules.sigprop.rule import CHOICES, SignalPropagation
from creditbench.baselines.rules.sigprop.targets import TARGETS, arrival
from creditbench.suite import registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell
from creditbench.suite.train import learner as train_learner
from creditbench.suite.types import Batch, LearningRule, State
from tools import learner, network, toy_batch, toy_task, updates

PER_CLASS = [name for name, own in TARGETS.items() if own.per_class]
PER_SAMPLE = [name for name, own in TARGETS.items() if not own.per_class]
IMAGE = (1, 8, 8)


def model_of(
    rule: SignalPropagation, name: str = "mlp", seeds: tuple[int, ...] = (0,), **options: Any
) -> Learner:
    """On 8 x 8 images of three classes, in float64."""
    model = learner(rule, toy_task(IMAGE), name, seeds, double=True, **options)

    def doubled(tensors: Any) -> dict[str, Tensor]:
        return {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}

    model.state = State(doubled(model.state.learned), doubled(model.state.carried))
    return model


def batch_of(seeds: int = 1, samples: int = 9, seed: int = 7) -> Batch:
    batch = toy_batch(seeds, samples, IMAGE, seed=seed)
    return Batch(batch.inputs.double(), batch.targets)


# ------------------------------------------------------------------------------- local losses


def logits(similarity: str, h: Tensor, t: Tensor, temperature: float) -> Tensor:
    """How alike h [batch, units] and t [rows, units] are."""
    if similarity == "dot":
        return torch.mul(h @ t.T, h.shape[1] ** -0.5)
    if similarity == "cosine":
        return torch.mul(normalize(h, dim=1) @ normalize(t, dim=1).T, 1 / temperature)
    apart = (h[:, None] - t[None]).square().sum(-1)
    return torch.mul(apart, -0.5 * h.shape[1] ** -0.5)


def in_full(
    loss: str, similarity: str, h: Tensor, columns: Tensor, came: Tensor, labels: Tensor, k: int
) -> Tensor:
    """A local loss as the authors' library spells it, sample against sample of the batch: a row for each
    image, a column for each image's own target. came: the targets below, [batch, units]."""
    if loss == "l2":
        return ((h - columns) ** 2).sum(1).mean()
    if loss == "cosine":
        return (1 - torch.nn.functional.cosine_similarity(h, columns)).mean()
    log = torch.log_softmax(logits(similarity, h, columns, 0.2), -1)
    same = (labels[:, None] == labels[None, :]).to(h.dtype)
    if loss == "max-all":
        return -(same * log).sum(1).mean()
    near = logits(similarity, came, came, 0.2)
    total = torch.zeros((), dtype=h.dtype)
    for row in range(len(h)):
        order = sorted(range(len(h)), key=lambda j, i=row: (j != i, not same[i, j], -near[i, j].item()))  # type: ignore[misc]
        total = total - log[row, order[:k]].mean()
    return total / len(h)


def terms_of(rows: Any, came: Tensor, similarity: str, k: int) -> Terms:
    noise = SeededNoise([generator("test", 0)])
    return Terms(rows, lambda: came[None], SIMILARITIES[similarity], 0.2, k, noise)


CASES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(2, 7), st.integers(0, 10**6))


@settings(max_examples=60, deadline=None)
@given(
    CASES,
    st.sampled_from(["top-k", "max-all", "l2", "cosine"]),
    st.sampled_from(sorted(SIMILARITIES)),
    st.integers(1, 10),
    st.booleans(),
)
def test_local_losses_have_the_slopes_of_their_pairwise_spelling(
    case: tuple[int, int, int, int], loss: str, similarity: str, k: int, per_class: bool
) -> None:
    samples, classes, units, seed = case
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=g)  # uneven, and some classes are absent
    count = classes if per_class else samples
    h = torch.randn(samples, units, generator=g).double().requires_grad_()
    t, came = (torch.randn(count, units, generator=g).double() for _ in range(2))
    t.requires_grad_()
    index = labels if per_class else torch.arange(samples)
    k = min(k, samples)
    expected = torch.autograd.grad(in_full(loss, similarity, h, t[index], came[index], labels, k), [h, t])
    kind = ClassRows if per_class else SampleRows
    rows = kind(labels[None], one_hot(labels[None], classes, torch.float64))
    found = LOSSES[loss](h.detach()[None], t.detach()[None], terms_of(rows, came, similarity, k))
    for own, slope in zip(found, expected, strict=True):
        assert torch.allclose(own[0], slope, atol=1e-9), (loss, similarity)


@settings(max_examples=20, deadline=None)
@given(CASES, st.sampled_from(sorted(SIMILARITIES)))
def test_input_label_is_the_cross_entropy_of_the_class_targets(
    case: tuple[int, int, int, int], similarity: str
) -> None:
    samples, classes, units, seed = case
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=g)
    h, t = (torch.randn(n, units, generator=g).double().requires_grad_() for n in (samples, classes))
    expected = torch.autograd.grad(cross_entropy(logits(similarity, h, t, 0.2), labels), [h, t])
    rows = ClassRows(labels[None], one_hot(labels[None], classes, torch.float64))
    found = LOSSES["input-label"](h.detach()[None], t.detach()[None], terms_of(rows, t, similarity, 1))
    for own, slope in zip(found, expected, strict=True):
        assert torch.allclose(own[0], slope, atol=1e-9)


def local_slopes(loss: str, kind: Any, k: int = 1, labels: Any = (0, 0, 0, 1, 1, 1, 2, 2, 2)) -> Any:
    """∂L/∂h and ∂L/∂t of one and the same little case."""
    label = torch.tensor([labels])
    g = torch.Generator().manual_seed(3)
    t, came = torch.randn(1, 3, 4, generator=g), torch.randn(1, 3, 4, generator=g)
    if kind is SampleRows:
        t, came = t[:, label[0]], came[:, label[0]]
    h = torch.randn(1, len(labels), 4, generator=g)
    rows = kind(label, one_hot(label, 3, torch.float32))
    return LOSSES[loss](h, t, terms_of(rows, came[0], "dot", k))


@pytest.mark.parametrize("kind", [ClassRows, SampleRows])
def test_top_k_with_as_many_positives_as_a_class_has_members_is_max_all_but_for_its_weight(
    kind: Any,
) -> None:
    for some, all_ in zip(local_slopes("top-k", kind, k=3), local_slopes("max-all", kind), strict=True):
        assert torch.allclose(3 * some, all_, atol=1e-6)


def test_top_k_takes_neighbours_where_k_asks_for_more_than_the_class_has() -> None:
    """Three classes of three; class 1's target came in next to class 0's, class 2's opposite to both."""
    labels = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    rows = ClassRows(labels, one_hot(labels, 3, torch.float64))
    came = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]], dtype=torch.float64)
    for k, shares in (
        (1, [1, 0, 0]), (3, [1, 0, 0]), (4, [3 / 4, 1 / 4, 0]), (6, [1 / 2, 1 / 2, 0]),
        (9, [1 / 3, 1 / 3, 1 / 3]), (20, [1 / 3, 1 / 3, 1 / 3]),
    ):  # fmt: skip
        found = nearest(terms_of(rows, came, "dot", k))[0, :, 0]  # of the first sample, class 0
        assert torch.allclose(found, torch.tensor(shares, dtype=torch.float64)), k


@pytest.mark.parametrize("loss", ["top-k", "max-all", "max-rand", "l2", "cosine"])
def test_a_row_per_class_gives_what_a_row_per_sample_gives(loss: str) -> None:
    """Equal targets are carried once and count as often as the batch has them."""
    by_h, by_class = local_slopes(loss, ClassRows)
    same_h, by_sample = local_slopes(loss, SampleRows)
    assert torch.allclose(by_h, same_h, atol=1e-6)
    assert torch.allclose(by_class, by_sample.unflatten(1, (3, 3)).sum(2), atol=1e-6)


def test_max_rand_takes_each_of_a_class_equally_often_and_nobody_else() -> None:
    labels = torch.tensor([[0, 0, 0, 1]])
    rows = SampleRows(labels, one_hot(labels, 2, torch.float32))
    noise = SeededNoise([generator("test", 1)])
    drawn = torch.stack([rows.drawn(noise) for _ in range(600)]).mean(0)
    wanted = torch.tensor([[1 / 3] * 3 + [0.0]] * 3 + [[0.0] * 3 + [1.0]])
    assert torch.allclose(drawn[0].T, wanted, atol=0.06)


# ------------------------------------------------------------------------------- a step


def first_streams(targets: str, model: Learner, live: Any, batch: Batch, s: Tensor) -> tuple[Tensor, Tensor]:
    """h_1 and t_1, a row per class or per sample, as the paper writes them."""
    x, context = batch.inputs, model.context()
    own = torch.nn.functional.one_hot(batch.targets, 3).double()

    def mix(weights: Tensor) -> Tensor:
        return torch.einsum("sbc,sc...->sb...", weights, s)

    a = live.preactivate(x)
    h = live.activate(a, context).output
    if targets == "context-input":
        return h, live.activate(s, context).output
    if targets in ("context", "drawn"):
        return h, live.forward(s, context).output
    if targets == "target-input":
        return h, h * live.activate(mix(own), context).output
    if targets == "joint":
        return h, live.activate(a + mix(own), context).output
    error = torch.softmax(model.network(x), -1) - own
    return h, live.forward(mix(error.detach()), context).output


@pytest.mark.parametrize("targets", sorted(TARGETS))
@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("normalisation", [None, "layer"])
def test_a_step_is_local_losses_with_detached_layers(targets: Any, name: str, normalisation: Any) -> None:
    options: dict[str, Any] = {"mlp": {"width": 6, "depth": 3}, "conv": {"width": 3}}[name]
    rule = SignalPropagation(targets=targets, loss="max-all")
    model = model_of(rule, name, normalisation=normalisation, **options)
    batch = batch_of()
    found = updates(model, batch)
    (key,) = (model.state.learned or model.state.carried).keys()
    source = (model.state.learned or model.state.carried)[key].clone().requires_grad_()
    labels = batch.targets[0]
    index = labels if targets in PER_CLASS else torch.arange(9)
    h, t = torch.empty(0), torch.empty(0)
    for number, block in enumerate(model.network.blocks[:-1]):
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        live = block.bind(leaves)
        if number == 0:
            h, t = first_streams(targets, model, live, batch, source)
        else:
            h, t = (live.forward(u, model.context()).output for u in (h, t))
        columns = t.flatten(2)[0, index]
        loss = in_full("max-all", "dot", h.flatten(2)[0], columns, columns, labels, 1)
        wanted = [*leaves.values(), *([source] if number == 0 else [])]
        slopes = torch.autograd.grad(loss, wanted, allow_unused=True)
        names = [f"{block.name}.{k}" for k in leaves] + ["generator"]
        for own, slope in zip(names, slopes, strict=False):
            if own in found:
                assert torch.allclose(found[own], slope, atol=1e-11), own
        h, t = h.detach(), t.detach()
    assert ("generator" in found) == (targets != "drawn")
    output = model.network.blocks[-1].forward(h).output
    error = model.loss.gradient(output, batch.targets)
    assert torch.allclose(found[f"{model.network.blocks[-1].name}.bias"], error.sum(1))


LOCAL = [name for name in sorted(TARGETS) if name != "target-loop"]


@pytest.mark.parametrize("targets", LOCAL)
@pytest.mark.parametrize("schedule", ["at-once", "in-parallel"])
@pytest.mark.parametrize("above", [1, 2, 3])
def test_what_stands_above_a_block_never_reaches_it(targets: Any, schedule: Any, above: int) -> None:
    """Bit for bit: the local updates are the same whatever the weights above are."""
    rule = SignalPropagation(targets=targets, schedule=schedule, similarity="cosine")
    model = learner(rule, toy_task(IMAGE), depth=3)
    for seed in range(4):  # until the pipeline is full
        model.step(toy_batch(shape=IMAGE, seed=seed))
    batch = toy_batch(shape=IMAGE)
    before = updates(model, batch)
    assert len(before) >= 8
    for block in model.network.blocks[above:]:
        block.weight.mul_(-3)
    after = updates(model, batch)
    for name in before:
        if not name[0].isdigit() or int(name[0]) < above:
            assert torch.equal(after[name], before[name]), name
        elif int(name[0]) == above:
            assert not torch.equal(after[name], before[name]), name


def test_the_error_of_target_loop_brings_what_stands_above_to_every_block() -> None:
    model, batch = learner(SignalPropagation(targets="target-loop"), toy_task(IMAGE)), toy_batch(shape=IMAGE)
    before = updates(model, batch)
    model.network.blocks[-1].weight.mul_(-3)
    after = updates(model, batch)
    assert not torch.equal(before["0.weight"], after["0.weight"])


@pytest.mark.parametrize("targets", sorted(TARGETS))
def test_it_makes_no_difference_when_updates_are_applied(targets: Any) -> None:
    """Both streams have left a block, and its generator, before it changes: updates applied as they come are
    those of a step that keeps them all to its end."""
    rule = SignalPropagation(targets=targets)
    model, kept = (learner(rule, toy_task(IMAGE), depth=3) for _ in range(2))
    batch = toy_batch(shape=IMAGE)
    streamed: list[Any] = []
    model.step(batch, lambda _, update: streamed.append(copy.deepcopy(update)))
    with torch.no_grad():
        expected = [update for _, update in rule.step(kept.network, batch, kept.state, kept.context())]
    assert len(streamed) == len(expected)
    for one, other in zip(streamed, expected, strict=True):
        for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("targets", sorted(TARGETS))
def test_seeds_in_one_pass_do_not_see_each_other(targets: Any) -> None:
    rule = SignalPropagation(targets=targets, loss="max-all", k=2)
    together, batch = model_of(rule, seeds=(3, 5)), batch_of(seeds=2)
    found = updates(together, batch)
    for place, seed in enumerate((3, 5)):
        alone = updates(
            model_of(rule, seeds=(seed,)), Batch(batch.inputs[place, None], batch.targets[place, None])
        )
        for name, tensor in alone.items():
            assert torch.allclose(found[name][place], tensor[0], atol=1e-12), name


def test_the_same_weights_carry_both_streams() -> None:
    """Without a batch's images in the loss, the second block still moves: through the target's stream."""
    model, batch = model_of(SignalPropagation(loss="l2")), batch_of()
    whole = updates(model, batch)["1.weight"]
    second = model.network.blocks[1].weight.clone().requires_grad_()
    h, t = first_streams(
        "context-input", model, model.network.blocks[0], batch, model.state.learned["generator"]
    )
    bias = model.network.blocks[1].parameters["bias"]
    streams = [torch.relu(u @ second.mT + bias.unsqueeze(1)) for u in (h, t)]
    parts = []
    for still in (0, 1):
        left, right = (u.detach() if place == still else u for place, u in enumerate(streams))
        loss = ((left - right[:, batch.targets[0]]) ** 2).sum(-1).mean()
        parts.append(torch.autograd.grad(loss, second, retain_graph=True)[0])
    assert min(part.abs().max() for part in parts) > 0
    assert torch.allclose(whole, parts[0] + parts[1], atol=1e-12)


def test_a_generator_learns_a_signal_per_class_or_stays_as_it_was_drawn() -> None:
    model = learner(SignalPropagation(), width=6)
    assert model.state.learned["generator"].shape == (1, 3, 6)
    found = updates(model, toy_batch())
    assert found["generator"].shape == (1, 3, 6)
    assert found["generator"].abs().amax(-1).min() > 0
    fixed = learner(SignalPropagation(learn_generator=False), width=6)
    assert torch.equal(fixed.state.carried["generator"], model.state.learned["generator"])
    assert not fixed.state.learned
    assert "generator" not in updates(fixed, toy_batch())


def test_drawn_numbers_differ_on_the_smallest_images_that_are_allowed() -> None:
    for shape, classes in (((1, 5, 5), 10), ((3, 7, 14), 100), ((1, 28, 28), 10)):
        pictures = numbers(shape, classes).flatten(1)
        apart = torch.cdist(pictures, pictures) + 10 * torch.eye(classes)
        assert apart.min() > 0.3
    one = numbers((1, 7, 7), 10)[1, 0]
    assert torch.equal(one > 0, torch.arange(7).expand(7, 7) == 6)  # a 1 is the right-hand stroke


# ------------------------------------------------------------------------------- parallel blocks


@pytest.mark.parametrize(
    "options", [{"depth": 4, "width": 7}, {"depth": 1}, {"depth": 2, "normalisation": "layer"}]
)
@pytest.mark.parametrize("targets", LOCAL)
def test_in_parallel_is_at_once_one_step_later_per_block(options: dict[str, Any], targets: Any) -> None:
    """Block l works on batch n - l, from inputs that it would have met anyway: the same weights, bit for bit,
    l steps later. The output layer is one more block."""

    def history(schedule: Any, steps: int) -> list[list[Tensor]]:
        model = learner(SignalPropagation(targets=targets, schedule=schedule), toy_task(IMAGE), **options)
        told = []
        for step in range(steps):
            model.step(toy_batch(shape=IMAGE, seed=step))
            told.append([block.weight.clone() for block in model.network.blocks])
        return told

    blocks = options["depth"] + 1
    once, parallel = history("at-once", 4), history("in-parallel", 3 + blocks)
    for late in range(blocks):
        for step in range(4):
            assert torch.equal(once[step][late], parallel[step + late][late]), (late, step)
        if late:
            assert torch.equal(parallel[late - 1][late], parallel[0][late])  # nothing has reached it yet


def test_blocks_in_parallel_may_learn_in_any_order() -> None:
    """Nothing that a block needs is made in the same step: with all updates held back to the end of the
    step, they are the same."""
    rule = SignalPropagation(schedule="in-parallel")
    model, held = (learner(rule, toy_task(IMAGE), depth=3) for _ in range(2))
    for step in range(6):
        batch = toy_batch(shape=IMAGE, seed=step)
        model.step(batch)
        with torch.no_grad():
            walk = rule.step(held.network, batch, held.state, held.context())
            yielded = []
            while True:
                try:
                    yielded.append(next(walk))
                except StopIteration as end:
                    held.state = State(held.state.learned, end.value)
                    break
        for target, update in reversed(yielded):
            held.optimizer.apply(target, update)
    for one, other in zip(model.tensors().values(), held.tensors().values(), strict=True):
        assert torch.equal(one, other)


# ------------------------------------------------------------------------------- Hebbian


def test_the_hebbian_form_by_hand() -> None:
    """One unit, W = 0.5, b = 0, identity. Class 0 has t_0 = 2, so t_1 = 1; its samples x = 4 and 6 have
    h_1 = 2 and 3. Class 1 has t_0 = -2, t_1 = -1, and a sample x = -4, h_1 = -2. Then ΔW = 1/3 ((1 - 2) 2 +
    (1 - 3) 2 + (-1 + 2) (-2)) = -8/3 and Δb = 1/3 (-1 - 2 + 1) = -2/3; a rule yields what is descended."""
    rule = SignalPropagation(targets="context", update="hebbian")
    model = learner(rule, toy_task((1,), 2), depth=1, width=1, activation="identity")
    model.network.blocks[0].weight.fill_(0.5)
    model.network.blocks[0].parameters["bias"].zero_()
    model.state = State(carried={"generator": torch.tensor([[[2.0], [-2.0]]])})
    found = updates(model, Batch(torch.tensor([[[4.0], [6.0], [-4.0]]]), torch.tensor([[0, 0, 1]])))
    assert found["0.weight"].item() == pytest.approx(8 / 3)
    assert found["0.bias"].item() == pytest.approx(2 / 3)
    assert "generator" not in found


@pytest.mark.parametrize("targets", ["context", "joint", "target-loop"])
def test_the_hebbian_form_descends_its_stated_function_of_the_target_stream(targets: Any) -> None:
    rule = SignalPropagation(targets=targets, update="hebbian")
    model, batch = model_of(rule, depth=3, width=5, activation="identity"), batch_of()
    found, source = updates(model, batch), model.state.carried["generator"]
    index = batch.targets[0] if targets in PER_CLASS else torch.arange(9)
    h, t = first_streams(targets, model, model.network.blocks[0], batch, source)
    for block in model.network.blocks[1:-1]:
        leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
        h = block.forward(h).output
        t = block.bind(leaves).forward(t.detach()).output
        own = t[0, index]
        function = ((h[0] * own).sum(-1) - 0.5 * own.square().sum(-1)).mean()
        for key, slope in zip(leaves, torch.autograd.grad(function, list(leaves.values())), strict=True):
            assert torch.allclose(found[f"{block.name}.{key}"], slope, atol=1e-12)


# ------------------------------------------------------------------------------- predictions


def test_the_input_travels_alike_with_and_without_a_label_beside_it() -> None:
    """No label reaches h: other labels leave the input's stream as it is, bit for bit, in every block."""
    for targets in PER_CLASS:
        rule = SignalPropagation(targets=targets, prediction="classes")  # type: ignore[arg-type]
        model, batch = learner(rule, toy_task(IMAGE)), toy_batch(shape=IMAGE)
        seen: list[list[Tensor]] = []
        for labels in (batch.targets, batch.targets.flip(1)):
            stage: Any = arrival(
                TARGETS[targets], batch.inputs, labels, rule._source(model.state), False, None
            )
            seen.append([])
            for block in model.network.blocks[:-1]:
                _, stage = stage.through(block, model.context())
                seen[-1].append(stage.h.clone())
        assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
        used = model.network.forward(batch.inputs)
        for with_targets, trace in zip(seen[0], used, strict=False):
            assert torch.allclose(with_targets, trace.output, atol=1e-6)


def test_inference_by_the_output_layer_needs_no_state() -> None:
    model, batch = learner(SignalPropagation()), toy_batch()
    scores = model.rule.predict(model.network, batch.inputs, State())
    assert torch.equal(scores, model.network(batch.inputs))


def test_prediction_by_class_targets_by_hand() -> None:
    """Two inputs, two relu units with W = 1; class targets f(S c) = (2, 0), (0, 1) and (1, 1)."""
    rule = SignalPropagation(prediction="classes")
    model = learner(rule, toy_task((2,), 3), depth=1, width=2)
    model.network.blocks[0].weight.copy_(torch.eye(2)[None])
    model.network.blocks[0].parameters["bias"].zero_()
    state = State({"generator": torch.tensor([[[2.0, -5.0], [-1.0, 1.0], [1.0, 1.0]]])})
    inputs = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 3.0], [1.0, 2.0]]])
    wanted = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 3.0, 3.0], [2.0, 2.0, 3.0]])
    scores = model.rule.predict(model.network, inputs, state)
    assert torch.allclose(scores[0], wanted / 2**0.5)
    cosine = replace(rule, similarity="cosine", temperature=1.0).predict(model.network, inputs, state)
    assert torch.allclose(cosine[0, 0], torch.tensor([1.0, 0.0, 0.5**0.5]))
    near = replace(rule, similarity="distance").predict(model.network, inputs, state)
    assert near.argmax(-1).tolist() == [[0, 1, 1, 2]]  # (1, 0) is as far from (2, 0) as from (1, 1)
    apart = torch.tensor([[1.0, 2.0, 1.0], [5.0, 0.0, 1.0], [13.0, 4.0, 5.0], [5.0, 2.0, 1.0]])  # |h - t|²
    lengths = torch.tensor([[1.0], [1.0], [9.0], [5.0]])  # |h|², the same for all targets
    assert torch.allclose(near[0], (lengths - apart) / (2 * 2**0.5))


@pytest.mark.parametrize("targets", PER_CLASS)
@pytest.mark.parametrize("prediction", ["classes", "subset", "neutral"])
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_prediction_compares_what_comes_out_on_top(targets: Any, prediction: Any, name: str) -> None:
    rule = SignalPropagation(targets=targets, prediction=prediction, similarity="cosine")
    model, batch = model_of(rule, name, seeds=(0, 1)), batch_of(seeds=2)
    source = rule._source(model.state)
    hidden = model.network.blocks[:-1]

    def top(rows: Tensor) -> Tensor:
        first = hidden[0]
        u = first.activate(rows).output if targets == "context-input" else first.forward(rows).output
        for block in hidden[1:]:
            u = block.forward(u).output
        return u

    h = model.network.forward(batch.inputs)[-2].output
    scores = rule.predict(model.network, batch.inputs, model.state)
    y = torch.stack(
        [logits("cosine", a, b, 0.1) for a, b in zip(h.flatten(2), top(source).flatten(2), strict=True)]
    )
    if prediction == "classes":
        assert torch.allclose(scores, y)
    elif prediction == "neutral":
        read = model.network.blocks[-1].forward(h * top(source.mean(1, keepdim=True))).output
        assert torch.allclose(scores, read)
    else:  # of three classes, the first and its nearest are one group and the third is alone
        assert scores.isfinite().all()
        compared = (scores - y).abs() < 1e-9
        assert ((compared.sum(-1) == 1) | (compared.sum(-1) == 2)).all()
        assert compared.gather(-1, scores.argmax(-1, keepdim=True)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_groups_share_out_all_classes_once(classes: int, seed: int) -> None:
    t = torch.randn(2, classes, 5, generator=torch.Generator().manual_seed(seed))
    groups = groups_of(t, lambda a, b: a @ b.mT)
    for own in groups.flatten(1):
        assert sorted(own[own < classes].tolist()) == list(range(classes))
    h = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(seed + 1))
    scores = compare_with_subset(h, t, lambda a, b: a @ b.mT)
    assert scores.shape == (2, 4, classes)
    assert scores.isfinite().all()


def test_a_subset_is_the_group_most_alike_and_costs_two_roots_of_the_classes() -> None:
    """Four classes in two groups by hand: 0 and 2 point right, 3 and 1 up; the input points right."""
    t = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.9, 0.0], [0.0, 2.0]]])
    assert [sorted(group) for group in groups_of(t, lambda a, b: a @ b.mT)[0].tolist()] == [[0, 2], [1, 3]]
    scores = compare_with_subset(torch.tensor([[[3.0, 1.0]]]), t, lambda a, b: a @ b.mT)[0, 0]
    assert scores[[0, 2]].tolist() == pytest.approx([3.0, 2.7])
    assert scores[[1, 3]].max() < 2.7  # though it is 1 and 2 alike to them
    many = torch.randn(1, 100, 32, generator=torch.Generator().manual_seed(0))
    samples = torch.randn(1, 500, 32, generator=torch.Generator().manual_seed(1))
    with creditbench.count_operations() as ops:
        compare_with_subset(samples, many, lambda a, b: a @ b.mT)
    assert ops.macs == 500 * 20 * 32 + 100 * 100 * 32  # ten groups, ten members; and once the grouping


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("choices", "name", "options", "word"),
    [
        ({}, "mlp", {"normalisation": "batch"}, "layer or instance"),
        ({}, "mlp", {"depth": 0}, "none"),
        ({"targets": "joint", "loss": "input-label"}, "mlp", {}, "context-input, context, drawn"),
        ({"targets": "target-loop", "prediction": "classes"}, "mlp", {}, "without a sample"),
        ({"targets": "target-loop", "schedule": "in-parallel"}, "mlp", {}, "at-once"),
        ({"prediction": "neutral", "schedule": "in-parallel"}, "mlp", {}, "at-once"),
        ({"update": "hebbian"}, "mlp", {}, "context, drawn, joint, target-loop"),
        ({"update": "hebbian", "targets": "context"}, "conv", {}, "pooling"),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_a_reason(
    choices: dict[str, Any], name: str, options: dict[str, Any], word: str
) -> None:
    task = toy_task(IMAGE)
    reason = SignalPropagation(**choices).supports(network(task, name, **options), task)
    assert reason is not None
    assert word in reason


def test_numbers_are_not_drawn_where_they_cannot_be_told_apart() -> None:
    task = toy_task((1, 4, 4))
    assert "5 x 5 pixels" in (SignalPropagation(targets="drawn").supports(network(task), task) or "")


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_the_nearest_of_what_is_known_is_named(field: str) -> None:
    known = next(iter(CHOICES[field]))
    misspelt: Any = {field: known[:-1]}
    with pytest.raises(CreditbenchError, match=f"Did you mean '{known}'"):
        SignalPropagation(**misspelt)


@pytest.mark.parametrize("choices", [{"k": 0}, {"temperature": 0.0}])
def test_numbers_without_meaning_are_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(CreditbenchError, match="at least 1"):
        SignalPropagation(**choices)


# ------------------------------------------------------------------------------- what it costs and learns


def step_macs(rule: LearningRule, batch: int, **options: Any) -> int:
    model = learner(rule, toy_task((1, 8, 8), 10), **options)
    with creditbench.count_operations(strict=True) as ops:
        model.step(toy_batch(samples=batch, shape=(1, 8, 8), classes=10))
    return ops.macs


@settings(max_examples=10, deadline=None)
@given(st.integers(100, 300), st.integers(64, 300), st.integers(2, 5))
def test_a_step_takes_fewer_macs_than_one_of_bp(batch: int, width: int, depth: int) -> None:
    """Its targets, ten rows, cost less than the way back that it does not have. (With one hidden block there
    is no way back to save: bp does not carry its error to the input.)"""
    own = step_macs(SignalPropagation(), batch, width=width, depth=depth)
    assert own < step_macs(Backpropagation(), batch, width=width, depth=depth)
    # of the targets: ten rows through every block but the first, forward and for the update
    rows = 2 * 10 * (depth - 1) * width**2
    forward = 64 * width + (depth - 1) * width**2 + 10 * width
    assert own == 2 * batch * forward + rows + 3 * batch * 10 * depth * width


def made(rule: LearningRule, depth: int) -> int:
    """Peak bytes of what a step makes, at width 256: activities, errors and updates, one at a time or not."""
    model = learner(rule, toy_task((1, 28, 28), 10), depth=depth)
    batch = toy_batch(samples=128, shape=(1, 28, 28), classes=10)
    model.step(batch)
    at_peak = step_memory(model, batch).at_peak
    return at_peak["activations"] + at_peak["temporaries"]


def test_memory_is_flat_in_depth_and_at_sixteen_blocks_less_than_a_quarter_of_that_of_bp() -> None:
    bp = made(Backpropagation(), 16)
    for rule in (
        SignalPropagation(),
        SignalPropagation(similarity="cosine"),
        SignalPropagation(prediction="classes"),
    ):
        assert made(rule, 16) == made(rule, 4)
        assert made(rule, 16) < bp / 4


def after(epochs: int, **choices: Any) -> tuple[float, float, float]:
    """On digits: the variance of the last hidden block's activity, and of its direction, relative to what
    they were at the start; and the accuracy on validation data."""
    task = registry.load("task", "digits")
    cell = Cell(task, task.read(), registry.load("network", "mlp"), SignalPropagation(**choices))
    model, batches = train_learner(cell, [Spec("digits", 1, "mlp", "sigprop", 0, 3e-3, epochs=epochs)])

    def spread() -> Tensor:
        h = model.network.forward(task.prepare(cell.splits.train.inputs[None]))[-2].output[0]
        return torch.stack([h.var(0).sum(), normalize(h, dim=1).var(0).sum()])

    before = spread()
    for _ in range(epochs):
        for batch in batches.epoch():
            model.step(batch)
    held = cell.splits.validation
    scores = model.rule.predict(model.network, task.prepare(held.inputs[None]), model.state)
    activity, direction = (spread() / before).tolist()
    return activity, direction, (scores[0].argmax(-1) == held.targets).double().mean().item()


def test_losses_without_negatives_collapse() -> None:
    """A constant is an optimum of l2, a constant direction one of the cosine loss, and they are found."""
    activity, _, accuracy = after(8, loss="l2")
    assert activity < 0.02
    assert accuracy < 0.5
    _, direction, accuracy = after(8, loss="cosine")
    assert direction < 0.02
    assert accuracy < 0.8


@pytest.mark.parametrize("loss", ["top-k", "max-all", "max-rand", "input-label"])
@pytest.mark.parametrize("prediction", ["output", "classes"])
def test_contrastive_losses_do_not_collapse(loss: Any, prediction: Any) -> None:
    activity, direction, accuracy = after(8, loss=loss, prediction=prediction)
    assert min(activity, direction) > 0.5
    assert accuracy > 0.9
