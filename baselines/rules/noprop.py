"""NoProp: every block learns by itself to tell the label from an image and a noisy label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from creditbench.baselines.networks.noprop import Denoiser, levels
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class NoProp(LearningRule):
    """Discrete-time diffusion of the label; no pass through the network, forward or backward, is needed to
    learn (Li, Teh & Pascanu 2025). Block t of T, for a one-hot label u:

        z_{t-1} ~ N(sqrt(s_{t-1}) u, (1 - s_{t-1}) I)        û_t = softmax(net_t(x, z_{t-1}))
        L_t = T/2 η (SNR_t - SNR_{t-1}) mean_i |û_t - u|²        SNR_t = s_t / (1 - s_t)

    and the output block learns from the task's loss of z_T drawn alike. Within a block ΔW = ∂L_t/∂W is
    backpropagation through its four or five layers. z and û are [seed, batch, classes]; η is `weight`. The
    blocks' equations, s_t and inference are those of the network noprop, which it needs. (The paper's KL term
    has no parameters when labels are one-hot; learned embeddings and continuous time are not here.)
    """

    name: ClassVar[str] = "noprop"
    source: ClassVar[str] = "Li, Teh & Pascanu (2025). arXiv:2503.24322"
    learning_rates: ClassVar = (1e-3, 1e-2)
    own_networks: ClassVar = ("noprop:depth=3,width=2,units=5",)

    weight: float = 0.1

    def supports(self, network: Network, task: Task) -> str | None:
        if all(isinstance(block, Denoiser) for block in network.blocks[:-1]):
            return None
        return "its blocks take the image and a noisy label: it runs on the network noprop"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        x, samples = batch.inputs.flatten(2), batch.targets.shape[1]
        u = one_hot(batch.targets, context.classes).to(x.dtype)
        *denoisers, last = network.blocks
        for block, level in zip(denoisers, levels(len(denoisers)), strict=True):
            z = noisy(u, level.before, context)
            trace = block.forward(torch.cat([x, z], -1), context)
            a, b = level.estimate_weight, level.label_weight
            apart = (trace.output[..., -context.classes :] - b * z) / a - u  # û - u
            change = len(denoisers) * self.weight * level.gained_ratio / (a * samples) * apart
            yield block, block.update(trace, pad(change, (x.shape[-1], 0)))  # by z_t = a û + b z
            del trace, apart, change
        z = noisy(u, levels(len(denoisers))[-1].after, context)
        trace = last.forward(torch.cat([x, z], -1), context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))


def noisy(label: Tensor, share: float, context: Context) -> Tensor:
    """z ~ N(sqrt(share) label, (1 - share) I)."""
    noise = context.noise.normal(*label.shape[1:]).to(label.dtype)
    return float(share**0.5) * label + float((1 - share) ** 0.5) * noise
