"""SoftHebb: a soft winner-take-all in which the losers unlearn."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.readout import WithoutLabels, hebbian, rows
from creditbench.suite.types import Block, Context, State, Step, Tensors


@dataclass(frozen=True)
class SoftHebb(WithoutLabels):
    """Units compete by a softmax over the layer (over channels, at every position of a convolution):

        u = W x        y = ± softmax(τ u), + for the greatest and - for all others
        D_i = Σ y_i (x - u_i w_i)        Δw_i = η r / √d · |‖w_i‖ - 1|^{1/2} · D_i / max |D|

    Moraitis et al. (2022); Journé et al. (2023). Weights begin at length about r, far above 1, d being a
    unit's number of inputs, and their steps die away as they reach unit length, each in its own time. η is
    in units of the initial weights r/√d, which makes one rate of the authors' 0.08, 0.005 and 0.01 for three
    layers. The network `softhebb` has the authors' triangle units; in an mlp, layer normalisation and a relu
    come close. Biases are 0.
    """

    name: ClassVar[str] = "softhebb"
    source: ClassVar[str] = "Journé et al. (2023), ICLR. arXiv:2209.11883"
    search: ClassVar = {"rate": (0.015, 0.05), "temperature": (0.3, 1.0)}

    rate: float = 0.015
    temperature: float = 1.0  # τ, inverse
    radius: float = 25.0  # r

    def start(self, block: Block) -> Tensors:
        fan_in = block.weight[0, 0].numel()
        spread = block.weight.flatten(1).std(1).view(-1, *(1,) * (block.weight.dim() - 1))
        weight = block.weight / spread * self.radius / fan_in**0.5
        return {"weight": weight, "bias": 0 * block.parameters["bias"]}

    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        weight = block.weight.flatten(2)  # [seed, units, inputs]
        y = torch.softmax(self.temperature * a, 2)
        winner = a.argmax(2, keepdim=True)
        y = (-y).scatter(2, winner, y.gather(2, winner))
        held = rows(y * a).sum(-1).unsqueeze(-1)  # Σ y_i u_i: [seed, units, 1]
        change = hebbian(block, h, y) - held * weight
        change = change / change.abs().amax((1, 2), keepdim=True).clamp_min(1e-30)
        pace = (weight.norm(dim=-1, keepdim=True) - 1).abs().sqrt()
        size = eta * self.radius / weight.shape[-1] ** 0.5
        yield block, {"weight": (-size * pace * change).view_as(block.weight)}
