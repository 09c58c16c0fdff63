"""Signal propagation against its paper's equations, spelt out by autograd or worked by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from creditbench.baselines.rules.sigprop.glyphs import numbers
from creditbench.baselines.rules.sigprop.losses import LOSSES, SIMILARITIES, Terms
from creditbench.baselines.rules.sigprop.predictions import compare_with_subset, groups_of
from creditbench.baselines.rules.sigprop.rows import ClassRows, SampleRows, one_hot
from creditbench.baselines.rules.sigprop.rule import CHOICES, SignalPropagation
from creditbench.baselines.rules.sigprop.targets import TARGETS
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Batch, State
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
        return h @ t.T / h.shape[1] ** 0.5
    if similarity == "cosine":
        return normalize(h, dim=1) @ normalize(t, dim=1).T / temperature
    return -((h[:, None] - t[None]) ** 2).sum(-1) / (2 * h.shape[1] ** 0.5)


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


def test_top_k_that_takes_in_the_whole_batch_asks_for_no_class() -> None:
    """Every sample then wants the same: no logit of its own class is pushed up more than the others."""
    by_h, _ = local_slopes("top-k", ClassRows, k=9)
    nearest, _ = local_slopes("top-k", ClassRows, k=3)
    more, _ = local_slopes("top-k", ClassRows, k=4)
    assert not torch.allclose(by_h, nearest, atol=1e-3)
    assert not torch.allclose(more, nearest, atol=1e-3)  # the fourth positive is another class's target


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
    drawn = sum(rows.drawn(noise) for _ in range(600)) / 600
    wanted = torch.tensor([[1 / 3] * 3 + [0.0]] * 3 + [[0.0] * 3 + [1.0]])
    assert torch.allclose(drawn[0].T, wanted, atol=0.06)
