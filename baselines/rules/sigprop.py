"""Signal propagation: the label enters beside the input and travels forward through the same weights."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task

LOSSES = ("top-k", "max-all", "max-rand", "input-label", "l2")


@dataclass(frozen=True)
class SignalPropagation(LearningRule):
    """Learning by a forward pass alone (Kohan, Rietman & Siegelmann 2022):

        h_1 = f(W_1 x + b_1)              t_1 = f(S_1 c)
        h_l = f(W_l h_{l-1} + b_l)        t_l = f(W_l t_{l-1} + b_l)        l = 2, 3, ...

    Each hidden block has a local loss L(h_l, t_l) and is detached from the next. c is the class, so
    targets have one row each: t_l is [seed, classes, units], h_l [seed, batch, units], and S_1, kept as
    [seed, classes, units of a_1], is the target generator (c is one-hot: a bias of its own would be part of
    every row already). With similarities y = h_l t_lᵀ / sqrt(units)
    (or cosines over `temperature`) the losses compare a sample with the batch it came in:

        top-k, max-all, max-rand    -Σ_j T_ij log softmax_j(y_i)    j: the targets of the batch's samples
        input-label                 -log softmax_c(y_i)             c: the classes
        l2                          |h - t|²                        any constant is an optimum; an ablation

    T marks the positives: samples of the own class. As they share one target, min(k, members) of them,
    normalised (top-k), weigh the same for every k, and the same as one at random (max-rand); max-all
    marks all and does not normalise. With entry="below", t_1 = f(W_1 S_0 c + b_1) instead.
    The output layer learns from the task's loss on the last h, so inference never needs a label.
    """

    name: ClassVar[str] = "sigprop"
    source: ClassVar[str] = "Kohan, Rietman & Siegelmann (2022), IEEE TNNLS. arXiv:2204.01723"
    search: ClassVar = {"activation": ("relu", "tanh"), "similarity": ("dot", "cosine")}

    loss: Literal["top-k", "max-all", "max-rand", "input-label", "l2"] = "top-k"
    similarity: Literal["dot", "cosine"] = "dot"
    temperature: float = 0.1  # of the cosine
    entry: Literal["beside", "below"] = "beside"
    learn_generator: bool = True

    def __post_init__(self) -> None:
        for field, known in (
            ("loss", LOSSES),
            ("similarity", ("dot", "cosine")),
            ("entry", ("beside", "below")),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(f"sigprop {field}", getattr(self, field), known)

    def supports(self, network: Network, task: Task) -> str | None:
        if any(block.mixes_samples for block in network.blocks):
            return (
                "batch normalisation would mix images with class targets; the authors normalise each"
                " sample (normalisation=layer or instance)"
            )
        return None

    def init(self, network: Network, context: Context) -> State:
        first = network.blocks[0]
        shape = first.preactivation_shape if self.entry == "beside" else first.input_shape
        width = context.classes**-0.5
        noise = context.noise.uniform(context.classes, *shape)
        return State(learned={"generator": width * (2 * noise - 1)})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, *hidden = batch.inputs, *network.blocks[:-1]
        t = state.learned["generator"]  # [seed, classes, *shape]: S c for every class
        samples = h.shape[1]
        for number, block in enumerate(hidden):
            beside = number == 0 and self.entry == "beside"
            below = torch.cat([h] if beside else [h, t], 1)
            a = block.preactivate(below)  # both streams meet the same weights in one pass
            trace = block.activate(torch.cat([a, t], 1) if beside else a, context)
            h, t = trace.output[:, :samples], trace.output[:, samples:]
            change = torch.cat(self.local_changes(h.flatten(2), t.flatten(2), batch.targets), 1)
            delta, tail = block.deactivate(trace, change.view_as(trace.output))
            signal = delta[:, samples:]  # to the generator, before the weights below it change
            if number == 0 and not beside:
                signal = block.transport(signal)
            yield block, block.synaptic_update(below, delta[:, : below.shape[1]]) | tail
            if number == 0 and self.learn_generator:
                yield "generator", signal
        last = network.blocks[-1]
        trace = last.forward(h, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))

    def local_changes(self, h: Tensor, t: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the local loss by h [seed, batch, units] and by t [seed, classes, units]."""
        batch = targets.shape[1]
        own = torch.zeros(*targets.shape, t.shape[1], dtype=h.dtype, device=h.device)
        own.scatter_(-1, targets.unsqueeze(-1), 1.0)  # [seed, batch, classes]
        members = own.sum(1, keepdim=True)  # of each class in the batch
        if self.loss == "l2":
            apart = 2 / batch * (h - own @ t)
            return apart, -own.mT @ apart
        if self.similarity == "cosine":
            length_h, length_t = h.norm(dim=-1, keepdim=True), t.norm(dim=-1, keepdim=True)
            h, t = normalize(h, dim=-1), normalize(t, dim=-1)
        scale = h.shape[-1] ** -0.5 if self.similarity == "dot" else 1 / self.temperature
        y = scale * (h @ t.mT)
        change = torch.softmax(y if self.loss == "input-label" else y + members.log(), -1) - own
        weigh = own @ members.mT if self.loss == "max-all" else 1.0
        change = change * (scale * weigh / batch)
        by_h, by_t = change @ t, change.mT @ h
        if self.similarity == "cosine":  # back through x / |x|
            by_h = _tangent(by_h, h) / length_h.clamp_min(1e-12)
            by_t = _tangent(by_t, t) / length_t.clamp_min(1e-12)
        return by_h, by_t


def _tangent(change: Tensor, direction: Tensor) -> Tensor:
    """The part of a change that turns a unit vector rather than stretching it."""
    return change - direction * (change * direction).sum(-1, keepdim=True)
