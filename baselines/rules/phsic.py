"""Plausible kernelised bottleneck: Hebbian learning with a third factor that compares pairs of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.local import Credit, block_by_block
from creditbench.baselines.rules.local_losses import label_similarity
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class PlausibleKernelBottleneck(LearningRule):
    """Every hidden block keeps what tells labels apart and forgets the rest (Pogodin & Latham 2020):

        L_l = pHSIC(h_l, h_l) - γ pHSIC(label, h_l)        pHSIC(a, b) = mean_ij (k(a)_ij - mean k(a)) k(b)_ij
        ΔW_l = Σ_ij M_ij ∂k(h_l)_ij/∂W_l / batch²          M = 2 (k(h_l) - mean) - γ (k(label) - mean)

    M_ij, one number for a pair of samples and a layer, is the third factor beside each synapse's own pre- and
    postsynaptic term ∂k_ij/∂w, which falls apart into the two samples'. k(label) is the cosine of centred
    one-hot labels; k(h)_ij = exp(-|v_i - v_j|² / 2σ²), where v has one number for each of `groups` groups of
    n units (or channels with their positions), centred over the groups:

        v_g = sqrt((Σ_{units of g} (h - mean)² + smoothing) / n)

    γ is `balance`; the authors' smoothing is 1, for groups of 32 units. k is [seed, batch, batch], v [seed,
    batch, groups].
    """

    name: ClassVar[str] = "phsic"
    source: ClassVar[str] = "Pogodin & Latham (2020), NeurIPS. arXiv:2006.07123"
    search: ClassVar = {"activation": ("relu", "leaky-relu"), "sigma": (1.0, 2.0, 5.0)}

    balance: float = 2.0
    sigma: float = 5.0
    groups: int = 32
    smoothing: float = 0.1

    def supports(self, network: Network, task: Task) -> str | None:
        for block in network.blocks[:-1]:
            if self.grouped(block) < 2:
                return (
                    f"block '{block.name}' has {block.output_size} units: its kernel needs two groups or"
                    " more, of two units or more"
                )
        return None

    def grouped(self, block: Block) -> int:
        """As many groups as asked for, or the next fewer that share the units evenly."""
        fits = (g for g in range(self.groups, 1, -1) if block.output_size % g == 0 and block.output_size > g)
        return next(fits, 1)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        labels = torch.eye(context.classes, dtype=batch.inputs.dtype, device=batch.inputs.device)
        wanted = label_similarity(labels.expand(len(batch.targets), -1, -1), batch.targets)
        wanted = self.balance * (wanted - wanted.mean((1, 2), keepdim=True))

        def credit(block: Block, h: Tensor) -> Credit:
            z = h.reshape(*h.shape[:2], self.grouped(block), -1)  # [seed, batch, groups, units of each]
            z = z - z.mean(-1, keepdim=True)
            spread = ((z.square().sum(-1) + self.smoothing) / z.shape[-1]).sqrt()
            v = spread - spread.mean(-1, keepdim=True)
            kernel = gaussian(v, self.sigma)
            third_factor = 2 * (kernel - kernel.mean((1, 2), keepdim=True)) - wanted
            by_v = apart(third_factor * kernel, v, self.sigma) / kernel[0].numel()
            by_spread = by_v - by_v.mean(-1, keepdim=True)
            change = by_spread.div(z.shape[-1] * spread).unsqueeze(-1) * z
            return change.view_as(h), {}

        yield from block_by_block(network, batch, context, credit)


def gaussian(v: Tensor, sigma: float) -> Tensor:
    """exp(-|v_i - v_j|² / 2σ²): [seed, batch, features] -> [seed, batch, batch]."""
    squares = v.square().sum(-1)
    distance = squares.unsqueeze(-1) + squares.unsqueeze(-2) - 2 * v @ v.mT
    return torch.exp(distance.clamp_min(0) / (-2 * sigma**2))


def apart(pairs: Tensor, v: Tensor, sigma: float) -> Tensor:
    """Σ_j pairs_ij ∂(k_ij)/∂v_i / k_ij, both ways of each pair; pairs [seed, batch, batch] is symmetric."""
    return (-2 / sigma**2) * (pairs.sum(-1, keepdim=True) * v - pairs @ v)
