"""Backpropagation: the yardstick, by autograd."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class Backpropagation(LearningRule):
    """The derivative of the loss by every weight, by reverse-mode automatic differentiation:

        δ_L = ∂C/∂a_L        δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Rumelhart, Hinton & Williams (1986). δ_l has the shape of block l's pre-activation a_l,
    [seed, batch, units]. Seeds do not interact, so the sum of their losses has all their derivatives.
    """

    name: ClassVar[str] = "bp"
    source: ClassVar[str] = "Rumelhart, Hinton & Williams (1986). Nature 323, 533-536"
    temporal: ClassVar[bool] = True
    search: ClassVar = {"activation": ("relu", "tanh")}

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        leaves = [
            {name: p.detach().requires_grad_() for name, p in block.parameters.items()}
            for block in network.blocks
        ]
        with torch.enable_grad():
            outputs = network.bind(leaves)(batch.inputs, context)
            loss = context.loss.value(outputs, batch.targets).sum()
        flat = [p for own in leaves for p in own.values()]
        gradients = iter(torch.autograd.grad(loss, flat))
        for block, own in zip(network.blocks, leaves, strict=True):
            yield block, {name: next(gradients) for name in own}
