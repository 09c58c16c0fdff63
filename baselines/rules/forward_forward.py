"""Forward-forward learning: two forward passes, one with the right label and one with a wrong one."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class LabelContrast(LearningRule):
    """What FF and SymBa share: each hidden block tells a right label from a wrong one by its goodness.

        ĥ_0 = x        h_l = f(W_l ĥ_{l-1} + b_l)        ĥ_l = h_l sqrt(units) / |h_l|
        G_l = |h_l|² / units        ΔW_l = ∂L/∂G⁺ · 2/units (h⁺ ⊙ f') ĥ⁺_{l-1}ᵀ + the same of h⁻

    The label is written into the first `classes` pixels (label="image", Hinton's way, in units of the
    image's usual length) or comes in beside the image, through weights [seed, classes, units] of its own
    that learn by the same rule (label="beside", which costs no pixels and which convolutions can see).
    Either way it adds a row to the first pre-activation, so the image itself meets the first weights once.

    Negatives are never the true label: uniform over the others, or "hard", drawn from what the output
    layer thinks of the others. The output layer learns from the task's loss on the last ĥ under a neutral
    label, the mean of all. Readout: the goodness of each label, without the first of several hidden
    blocks, or the output layer. With random negatives nothing reaches a block from above it.
    """

    label: Literal["image", "beside"] = "image"
    label_scale: float = 0.5  # of the label in the image: its length over that of the image
    negatives: Literal["hard", "random"] = "hard"
    readout: Literal["goodness", "linear"] = "goodness"
    peer: float = 0.0  # how much units are pushed to the same mean activity

    def __post_init__(self) -> None:
        for field, known in (
            ("label", ("image", "beside")),
            ("negatives", ("hard", "random")),
            ("readout", ("goodness", "linear")),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(f"{self.name} {field}", getattr(self, field), known)

    @abstractmethod
    def slopes(self, right: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of each sample's loss by its two goodnesses, all [seed, batch]."""

    def supports(self, network: Network, task: Task) -> str | None:
        hidden = network.blocks[:-1]
        if not hidden:
            return "goodness is of hidden layers and this network has none"
        if any(block.mixes_samples for block in hidden):
            return "batch normalisation would mix right labels with wrong ones (trifecta has its own)"
        if self.label == "image" and len(hidden[0].preactivation_shape) == 3:
            return "a convolution sees the label's pixels in one corner only; write label=beside"
        if self.label == "image" and task.classes > hidden[0].weight[0, 0].numel():
            return "the image has fewer pixels than there are classes; write label=beside"
        return None

    def init(self, network: Network, context: Context) -> State:
        first, *_ = hidden = network.blocks[:-1]
        learned = {}
        if self.label == "beside":
            noise = context.noise.uniform(context.classes, *first.preactivation_shape)
            learned["label"] = 2 * noise - 1
        means = {b.name: torch.zeros_like(b.parameters["bias"]) for b in hidden} if self.peer else {}
        return State(learned, means)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, *_ = hidden = network.blocks[:-1]
        samples = batch.targets.shape[1]
        image = self._image(batch.inputs, context.classes)
        labels = self._labels(first, state, context.classes)
        seen = first.preactivate(image)
        negatives = wrong_labels(batch.targets, context)
        if self.negatives == "hard" or self.readout == "linear":
            last = network.blocks[-1]
            trace = last.forward(self._neutral(hidden, seen, labels, context), context)
            if self.negatives == "hard":
                negatives = _drawn(trace.output, batch.targets, context)
            yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))
        both = torch.cat([batch.targets, negatives], 1)  # [seed, 2 batch]: right labels, then wrong ones
        a, h = torch.cat([seen, seen], 1) + chosen_labels(labels, both), image
        means = dict(state.carried)
        for number, block in enumerate(hidden):
            trace = block.activate(block.preactivate(h) if number else a, context)
            change = self.local_change(trace.output)
            if self.peer:
                means[block.name], push = self._peers(means[block.name], trace.output[:, :samples])
                change[:, :samples] += push
            delta, tail = block.deactivate(trace, change)
            below, h = h, direction(trace.output)
            if number:
                yield block, block.synaptic_update(below, delta) | tail
                continue
            update = first.synaptic_update(image, delta[:, :samples] + delta[:, samples:])
            by_label = one_hot(both, context.classes).to(delta.dtype).mT @ delta.flatten(2)
            if self.label == "image":
                update["weight"][..., : context.classes] = self._value(first) * by_label.mT
            yield block, update | tail
            if self.label == "beside":
                yield "label", by_label.view_as(labels)
        return means

    def local_change(self, h: Tensor) -> Tensor:
        """Derivative of the mean local loss by h [seed, 2 batch, *units], right labels first."""
        right, wrong = goodness(h).chunk(2, 1)
        slope = torch.cat(self.slopes(right, wrong), 1) * (2 / (right.shape[1] * h[0, 0].numel()))
        return h * slope.view(*slope.shape, *(1,) * (h.dim() - 2))

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        first, *_ = hidden = network.blocks[:-1]
        classes = network.blocks[-1].output_size
        labels = self._labels(first, state, classes)
        seen = first.preactivate(self._image(inputs, classes))
        if self.readout == "linear":
            return network.blocks[-1].forward(self._neutral(hidden, seen, labels, None)).output
        a = (seen.unsqueeze(2) + labels.unsqueeze(1)).flatten(1, 2)  # every label of a sample in a row
        h, scores = first.activate(a).output, torch.zeros(())
        if len(hidden) == 1:
            scores = goodness(h)
        for block in hidden[1:]:
            h = block.forward(direction(h)).output
            scores = scores + goodness(h)
        return scores.view(*inputs.shape[:2], classes)

    def _image(self, inputs: Tensor, classes: int) -> Tensor:
        """The inputs, with the pixels that the label takes at zero."""
        if self.label == "beside":
            return inputs
        flat = inputs.flatten(2)
        return torch.cat([torch.zeros_like(flat[..., :classes]), flat[..., classes:]], -1).view_as(inputs)

    def _value(self, first: Block) -> float:
        """Of a label's pixel."""
        return self.label_scale * math.sqrt(first.weight[0, 0].numel())

    def _labels(self, first: Block, state: State, classes: int) -> Tensor:
        """What each label adds to the first pre-activation: [seed, classes, *shape]."""
        if self.label == "beside":
            return state.learned["label"]
        return self._value(first) * first.weight[..., :classes].mT

    def _neutral(
        self, hidden: tuple[Block, ...], seen: Tensor, labels: Tensor, context: Context | None
    ) -> Tensor:
        """The last hidden block's ĥ under the mean of all labels."""
        h = seen + labels.mean(1, keepdim=True)
        for number, block in enumerate(hidden):
            h = direction(block.activate(block.preactivate(h) if number else h, context).output)
        return h

    def _peers(self, mean: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Running mean activities m [seed, units or channels] and peer · ∂ mean_j (m_j - mean(m))² / ∂h."""
        over = (1, *range(3, h.dim()))
        mean = 0.9 * mean + 0.1 * h.mean(over)
        apart = mean - mean.mean(1, keepdim=True)
        push = apart * (self.peer * 0.2 * mean.shape[1] ** -1 * mean[0].numel() / h[0].numel())
        return mean, push.view(len(push), 1, -1, *(1,) * (h.dim() - 3)).expand_as(h)


@dataclass(frozen=True)
class ForwardForward(LabelContrast):
    """Forward-forward: goodness above a threshold for right labels and below it for wrong ones:

        L = softplus(-α (G⁺ - θ)) + softplus(α (G⁻ - θ))

    Hinton (2022), with G, labels, negatives and readout as in `LabelContrast`. For G as the sum of squares
    with as many as there are units for a threshold, write threshold=1 and alpha=units. A fresh block's G is
    about 1/6 for inputs of unit variance: from far above it, θ sees right and wrong labels alike.
    """

    name: ClassVar[str] = "ff"
    source: ClassVar[str] = "Hinton (2022). arXiv:2212.13345"
    search: ClassVar = {"threshold": (0.3, 1.0), "alpha": (4.0, 16.0)}

    threshold: float = 0.3
    alpha: float = 16.0

    def slopes(self, right: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.sigmoid(self.alpha * (self.threshold - right))
        high = torch.sigmoid(self.alpha * (wrong - self.threshold))
        return -self.alpha * low, self.alpha * high


@dataclass(frozen=True)
class SymBa(LabelContrast):
    """SymBa: the goodness of a right label above that of a wrong one, and no threshold:

        L = softplus(-α (G⁺ - G⁻))

    Lee & Song (2023): both passes of a sample get slopes of the same size, so neither drowns the other.
    G, labels, negatives and readout as in `LabelContrast`. (The authors append a fixed random pattern for
    each class to the image; label="beside" is that with learned weights on a pattern that is one-hot.)
    """

    name: ClassVar[str] = "symba"
    source: ClassVar[str] = "Lee & Song (2023). arXiv:2303.08418"
    search: ClassVar = {"label": ("image", "beside"), "alpha": (4.0, 16.0)}

    alpha: float = 4.0

    def slopes(self, right: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        slope = self.alpha * torch.sigmoid(self.alpha * (wrong - right))
        return -slope, slope


def goodness(h: Tensor) -> Tensor:
    """Mean square of a sample's units: [seed, batch, *units] -> [seed, batch]."""
    return h.flatten(2).square().mean(dim=-1)


def direction(h: Tensor) -> Tensor:
    """h at a mean square of one: the length, which holds the goodness, is gone."""
    length: Tensor = h.flatten(2).norm(dim=-1).clamp_min(1e-8) / math.sqrt(h[0, 0].numel())
    return h / length.view(*length.shape, *(1,) * (h.dim() - 2))


def chosen_labels(labels: Tensor, chosen: Tensor) -> Tensor:
    """Each sample's label: [seed, classes, *shape], [seed, batch] -> [seed, batch, *shape]."""
    rows: Tensor = torch.take_along_dim(labels.flatten(2), chosen.unsqueeze(-1), 1)
    return rows.view(*chosen.shape, *labels.shape[2:])


def wrong_labels(targets: Tensor, context: Context) -> Tensor:
    """Uniform over the classes that a sample does not have: [seed, batch]."""
    return (targets + 1 + context.noise.integers(context.classes - 1, targets.shape[1])) % context.classes


def _drawn(outputs: Tensor, targets: Tensor, context: Context) -> Tensor:
    """A wrong label each, with the odds that the output layer gives it: [seed, batch]."""
    uniform = context.noise.uniform(*outputs.shape[1:]).clamp_min(1e-30)
    odds = outputs - (-uniform.log()).log()  # the greatest of outputs with Gumbel noise is a draw
    return odds.scatter(-1, targets.unsqueeze(-1), -torch.inf).argmax(-1)
