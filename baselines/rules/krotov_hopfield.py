"""Krotov and Hopfield's rule: the strongest unit learns, one of its close rivals unlearns."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.readout import WithoutLabels, hebbian, rows
from creditbench.suite.types import Block, Context, Network, State, Step, Task, Tensors


@dataclass(frozen=True)
class KrotovHopfield(WithoutLabels):
    """Competition by rank, among weights of fixed length:

        s = (sign(W) |W|^{p-1}) x        g = 1 for the greatest s, -Δ for the k-th, else 0
        D = Σ g (x - s W)                ΔW = η D / max |D|

    Krotov & Hopfield (2019). A unit that wins often enough ends at Σ_j |w_ij|^p = 1. Weights begin as N(0, 1)
    in the original, here with that variance, made of the weights drawn; biases are 0. Sums are over the batch
    and a convolution's positions; since steps are divided by their greatest entry, results depend on the
    batch size (100 in the original). The network `krotov` has the authors' powers of rectified
    units.
    """

    name: ClassVar[str] = "krotov-hopfield"
    source: ClassVar[str] = "Krotov & Hopfield (2019), PNAS 116. arXiv:1806.10181"
    search: ClassVar = {"rate": (0.06, 0.2), "anti": (0.2, 0.4)}

    rate: float = 0.2  # ten times the authors', for a hundredth of their steps
    p: float = 2.0
    k: int = 2
    anti: float = 0.4  # Δ

    def supports(self, network: Network, task: Task) -> str | None:
        if any(block.weight.shape[1] < self.k for block in network.blocks[:-1]):
            return f"{self.name} ranks {self.k} units and a block has fewer; make it wider."
        return super().supports(network, task)

    def start(self, block: Block) -> Tensors:
        spread = block.weight.flatten(1).std(1).view(-1, *(1,) * (block.weight.dim() - 1))
        return {"weight": block.weight / spread, "bias": 0 * block.parameters["bias"]}

    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        weight = block.weight
        if self.p == 2:
            s = a
        else:
            s = block.bind(
                {**block.parameters, "weight": weight.sign() * weight.abs() ** (self.p - 1)}
            ).preactivate(h)
        ranked = s.topk(self.k, dim=2).indices
        g = torch.zeros_like(s)
        g.scatter_(2, ranked[:, :, -1:], -self.anti).scatter_(2, ranked[:, :, :1], 1.0)
        held = rows(g * s).sum(-1).unsqueeze(-1)  # [seed, units, 1]
        change = hebbian(block, h, g) - held * weight.flatten(2)
        greatest = change.abs().amax((1, 2), keepdim=True).clamp_min(1e-30)
        yield block, {"weight": (-eta * change / greatest).view_as(weight)}
