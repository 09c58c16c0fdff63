"""Weight perturbation: shake all weights, look at the loss, and go back along what made it rise."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.rules.node_perturbation import drops_units
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Tensors


@dataclass(frozen=True)
class WeightPerturbation(LearningRule):
    """The loss of the batch at two places, which lie opposite each other around the weights:

        ξ ~ N(0, σ²)        ΔW = (C(W + ξ) - C(W - ξ))/2σ² ξ        all parameters at once

    Jabri & Flower (1992), Cauwenberghs (1993); with Gaussian noise, one draw per batch. No synapse needs its
    own input or output, only what it did itself and one number. The mean over ξ is the gradient but for terms
    in σ²; the variance grows with the number of weights.
    """

    name: ClassVar[str] = "weight-perturbation"
    source: ClassVar[str] = "Jabri & Flower (1992), IEEE TNN 3; Cauwenberghs (1993), NeurIPS 5"
    search: ClassVar = {"activation": ("relu", "tanh")}

    sigma: float = 1e-3

    def supports(self, network: Network, task: Task) -> str | None:
        return drops_units(network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        noise = [
            {name: self.sigma * context.noise.normal(*p.shape[1:]) for name, p in block.parameters.items()}
            for block in network.blocks
        ]

        def loss(sign: int) -> Tensor:
            pairs = zip(network.blocks, noise, strict=True)
            there: list[Tensors] = [
                {name: p + sign * own[name] for name, p in block.parameters.items()} for block, own in pairs
            ]
            return context.loss.value(network.bind(there)(batch.inputs, context), batch.targets)

        signal = (loss(1) - loss(-1)) / (2 * self.sigma**2)  # [seed]
        for block, own in zip(network.blocks, noise, strict=True):
            yield block, {name: signal.view(-1, *(1,) * (xi.dim() - 1)) * xi for name, xi in own.items()}
