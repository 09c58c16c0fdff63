"""Self-contrastive forward-forward: a pair of equal images is good, a pair of different ones is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.forward_forward import direction
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class SelfContrastiveForwardForward(LearningRule):
    """Hidden blocks learn without labels (Chen et al. 2025):

        a⁺_i = W_1 x_i + W_1 x_i + 2b        a⁻_i = W_1 x_i + W_1 x_j + 2b        j another sample
        a_l = W_l ĥ_{l-1} + b_l              for both streams, from the second block on
        L = softplus(θ⁺ - G⁺) + softplus(G⁻ - θ⁻) + λ G⁺        G = mean_units f(a)²
        ĥ = f(a - mean_units a) at unit mean square

    Both images of a pair meet the same weights, so each is seen once: a⁻ is the mean of two a⁺. At a
    convolution, G is of the channels at each position (behind the pooling) and L the mean over positions.
    Subtracting the mean before f is the triangle activation of Coates, Lee & Ng (2011) where f is relu.
    Images enter centred, with unit mean square. The output layer learns from the task's loss on the last ĥ⁺,
    which is also what inference computes: a single image is paired with itself.
    """

    name: ClassVar[str] = "scff"
    source: ClassVar[str] = (
        "Chen, Liu, Laydevant & Grollier (2025), Nature Communications 16, 5978. arXiv:2409.11593"
    )
    search: ClassVar = {"right": (1.0, 5.0), "wrong": (5.0, 9.0)}

    right: float = 5.0  # θ⁺
    wrong: float = 5.0  # θ⁻
    penalty: float = 1e-3  # λ

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 2:
            return "goodness is of hidden layers and this network has none"
        if any(block.mixes_samples for block in network.blocks):
            return "batch normalisation would mix pairs of equal images with pairs of different ones"
        return None

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        samples = batch.targets.shape[1]
        shift = 1 + context.noise.integers(max(samples - 1, 1), 1)  # [seed, 1]
        places = torch.arange(samples, device=shift.device)
        partner, partner_of = (places + shift) % samples, (places - shift) % samples
        h = centred(batch.inputs)
        for number, block in enumerate(hidden):
            a = block.preactivate(h)
            if number == 0:
                a = torch.cat([2 * a, a + _taken(a, partner)], 1)
            trace = block.activate(a, context)
            delta, tail = block.deactivate(trace, self.local_change(trace.output))
            if number == 0:
                right, wrong = delta.chunk(2, 1)
                delta = 2 * right + wrong + _taken(wrong, partner_of)
            update = block.synaptic_update(h, delta) | tail
            del trace, delta  # flat memory
            h = direction(block.activate(a - a.mean(2, keepdim=True), context).output)
            yield block, update
        trace = last.forward(h[:, :samples], context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))

    def local_change(self, h: Tensor) -> Tensor:
        """Derivative of the mean local loss by h [seed, 2 batch, *units], pairs of equal images first."""
        right, wrong = h.square().mean(2, keepdim=True).chunk(2, 1)
        slope = torch.cat(
            [self.penalty - torch.sigmoid(self.right - right), torch.sigmoid(wrong - self.wrong)], 1
        )
        return h * slope * (2 / right[0].numel() / h.shape[2])

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        *hidden, last = network.blocks
        h = centred(inputs)
        for number, block in enumerate(hidden):
            a = block.preactivate(h) * (1 if number else 2)
            h = direction(block.activate(a - a.mean(2, keepdim=True)).output)
        return last.forward(h).output


def centred(inputs: Tensor) -> Tensor:
    """Each sample at mean zero and unit mean square."""
    over = tuple(range(2, inputs.dim()))
    return direction(inputs - inputs.mean(over, keepdim=True))


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """Samples in another order, each seed's own: [seed, batch, ...], [seed, batch]."""
    return torch.take_along_dim(x, places.view(*places.shape, *(1,) * (x.dim() - 2)), 1)
