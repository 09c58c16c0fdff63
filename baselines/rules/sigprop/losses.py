"""Local losses of signal propagation, in closed form: derivatives by both streams.

A contrastive loss compares each sample with the targets of the whole batch. Its logits y_ji say how alike
target j and h_i are (`SIMILARITIES`), and T_ji is sample i's share of positive targets:

    L = 1/batch Σ_i n_i Σ_j -T_ji log softmax_j(y_i)        ∂L/∂y_ji = n_i (softmax_j(y_i) - T_ji) / batch

h is [seed, batch, units], t [seed, rows, units], y and T [seed, rows, batch]. A row that stands for `members`
equal targets has their number as a factor in the softmax. Each loss returns ∂L/∂h and ∂L/∂t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, bmm

from creditbench.baselines.rules.sigprop.rows import Rows
from creditbench.suite.types import Noise

Slopes = tuple[Tensor, Tensor]  # by h and by t
Pull = Callable[[Tensor, float], Slopes]  # (change, share): share times change at y, at h and at t
Similarity = Callable[[Tensor, Tensor, float], tuple[Tensor, Pull]]  # (h, t, temperature) -> y, pull


# ----------------------------------------------------------------------------- similarities


def dot(h: Tensor, t: Tensor, temperature: float) -> tuple[Tensor, Pull]:
    """y = t·h / sqrt(units)."""
    scale = h.shape[-1] ** -0.5

    def pull(change: Tensor, share: float) -> Slopes:
        change = (share * scale) * change
        return bmm(change.mT, t), bmm(change, h)

    return scale * bmm(t, h.mT), pull


def cosine_similarity(h: Tensor, t: Tensor, temperature: float) -> tuple[Tensor, Pull]:
    """y = cos(t, h) / temperature. Back: (t - cos h |t| / |h|) / |h| |t| at h, without unit vectors, whose
    making would cost more than the products."""
    h_length, t_length = _length(h), _length(t)  # [seed, batch, 1] and [seed, rows, 1]
    inverse = 1 / (t_length * h_length.mT)
    cos = inverse * bmm(t, h.mT)

    def pull(change: Tensor, share: float) -> Slopes:
        change = (share / temperature) * change
        along, turning = inverse * change, cos * change
        by_h = bmm(along.mT, t).addcmul_(h, turning.sum(1).unsqueeze(-1) / h_length.square(), value=-1)
        by_t = bmm(along, h).addcmul_(t, turning.sum(-1, keepdim=True) / t_length.square(), value=-1)
        return by_h, by_t

    return cos / temperature, pull


def distance(h: Tensor, t: Tensor, temperature: float) -> tuple[Tensor, Pull]:
    """y = -|t - h|² / 2 sqrt(units), less |h|², which is the same for all targets and falls out."""
    scale = h.shape[-1] ** -0.5

    def pull(change: Tensor, share: float) -> Slopes:
        change = (share * scale) * change
        return bmm(change.mT, t), bmm(change, h) - change.sum(-1, keepdim=True) * t

    return scale * (bmm(t, h.mT) - 0.5 * t.square().sum(-1, keepdim=True)), pull


SIMILARITIES: Mapping[str, Similarity] = {"dot": dot, "cosine": cosine_similarity, "distance": distance}


def _length(vectors: Tensor) -> Tensor:
    """[seed, n, units] -> [seed, n, 1], never 0."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return length.clamp_min(1e-12)


# ----------------------------------------------------------------------------- positives


@dataclass(frozen=True)
class Terms:
    """What a loss may ask for besides the two streams."""

    rows: Rows
    incoming: Callable[[], Tensor]  # the targets as they came in from below, [seed, rows, units]
    similarity: Similarity
    temperature: float
    k: int
    noise: Noise

    def compare(self, h: Tensor, t: Tensor) -> tuple[Tensor, Pull]:
        return self.similarity(h, t, self.temperature)


def one_at_random(terms: Terms) -> Tensor:
    """One target of the own class."""
    return terms.rows.drawn(terms.noise)


def nearest(terms: Terms) -> Tensor:
    """The k of the batch's targets that came in most alike to the own one, in equal shares: first the own,
    then others of the class, then, where k asks for more than the class has, those of other classes."""
    rows, k = terms.rows, min(terms.k, terms.rows.labels.shape[1])
    if k == 1:
        return rows.mine
    incoming = terms.incoming()
    alike, _ = terms.compare(incoming, incoming)  # [seed, rows, rows], a column for each target asking
    span = 1 + alike.amax((-1, -2), keepdim=True) - alike.amin((-1, -2), keepdim=True)
    alike = alike + span * rows.kin
    alike.diagonal(dim1=-2, dim2=-1).add_(span.squeeze(-1))
    order = alike.argsort(stable=True, dim=1, descending=True)
    members = rows.members.expand_as(alike).gather(1, order)
    taken = (k - members.cumsum(1) + members).clamp_min(0).minimum(members)
    return torch.zeros_like(alike).scatter_(1, order, taken / k) @ rows.mine


# ----------------------------------------------------------------------------- losses

Loss = Callable[[Tensor, Tensor, Terms], Slopes]


def contrastive(positives: Callable[[Terms], Tensor]) -> Loss:
    """Against all targets of the batch, each sample with the same weight n_i = 1."""

    def slopes(h: Tensor, t: Tensor, terms: Terms) -> Slopes:
        y, pull = terms.compare(h, t)
        return pull(torch.softmax(y + terms.rows.weight, 1) - positives(terms), 1 / h.shape[1])

    return slopes


def max_all(h: Tensor, t: Tensor, terms: Terms) -> Slopes:
    """Every target of the own class counts in full, so n_i is the number of the class's members."""
    y, pull = terms.compare(h, t)
    positives = terms.rows.positives * terms.rows.members  # n_i T_ji
    number = positives.sum(1, keepdim=True)
    return pull(number * torch.softmax(y + terms.rows.weight, 1) - positives, 1 / h.shape[1])


def input_label(h: Tensor, t: Tensor, terms: Terms) -> Slopes:
    """Against each class's target once, whether the batch has samples of the class or not."""
    y, pull = terms.compare(h, t)
    return pull(torch.softmax(y, 1) - terms.rows.positives, 1 / h.shape[1])


def l2(h: Tensor, t: Tensor, terms: Terms) -> Slopes:
    """|h - t|² with the own target, mean over the batch. Any constant is an optimum; an ablation."""
    apart = 2 / h.shape[1] * (h - terms.rows.own(t))
    return apart, -terms.rows.collect(apart)


def cosine(h: Tensor, t: Tensor, terms: Terms) -> Slopes:
    """1 - cos(h, t) with the own target, mean over the batch. Any constant direction is an optimum."""
    own, share = terms.rows.own(t), -1 / h.shape[1]
    h_length, length = _length(h), _length(own)
    cos = (h * own).sum(-1, keepdim=True) / (h_length * length)
    by_h = share / h_length * (own / length - cos * h / h_length)
    by_own = share / length * (h / h_length - cos * own / length)
    return by_h, terms.rows.collect(by_own)


LOSSES: Mapping[str, Loss] = {
    "top-k": contrastive(nearest),
    "max-rand": contrastive(one_at_random),
    "max-all": max_all,
    "input-label": input_label,
    "l2": l2,
    "cosine": cosine,
}
