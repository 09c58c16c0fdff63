"""The Bienenstock-Cooper-Munro rule: a threshold between weakening and strengthening slides with activity."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.rules.readout import WithoutLabels, hebbian, inputs_of, rows
from creditbench.suite.types import Block, Context, Network, State, Step


@dataclass(frozen=True)
class BienenstockCooperMunro(WithoutLabels):
    """Strong responses strengthen, weak ones weaken, and what counts as strong follows the unit's own past:

        Δw_i = η <y_i (y_i - θ_i) x> / θ_i        θ_i ← θ_i + ρ (<y_i²> - θ_i)        y = max(0, W x)

    Bienenstock, Cooper & Munro (1982); θ as the mean of y² by Intrator & Cooper (1992), the division by it,
    which moves no fixed point and keeps steps finite, by Law & Cooper (1994). θ is [seed, units]. A unit ends
    selective: of n independent, equally frequent patterns it answers to one, with y = θ = n. The bias is 0.
    """

    name: ClassVar[str] = "bcm"
    source: ClassVar[str] = "Bienenstock, Cooper & Munro (1982), J. of Neuroscience 2"
    search: ClassVar = {"rate": (0.01, 0.03, 0.1), "normalisation": (None, "layer")}

    rate: float = 0.03
    memory: float = 0.1  # ρ, of the threshold

    def own_steps(self, network: Network) -> Collection[str]:
        return [*super().own_steps(network), *self.thresholds(network)]

    def thresholds(self, network: Network) -> list[str]:
        return [f"{block.name}.threshold" for block in network.blocks[:-1]]

    def init(self, network: Network, context: Context) -> State:
        hidden = zip(self.thresholds(network), network.blocks[:-1], strict=True)
        return State({name: block.weight.new_ones(block.weight.shape[:2]) for name, block in hidden})

    def start(self, block: Block) -> dict[str, Tensor]:
        return {"bias": 0 * block.parameters["bias"]}

    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        name = f"{block.name}.threshold"
        y, theta = a.relu(), state.learned[name]
        toward = max(self.memory, 1 / (context.step + 1))  # a plain mean until there is a past
        theta = theta + toward * (rows(y).square().mean(-1) - theta)
        beside = theta.clamp_min(1e-12).view(len(theta), 1, -1, *(1,) * (a.dim() - 3))  # over the batch
        change = hebbian(block, h, y * (y - beside) / beside) / rows(y).shape[-1]
        yield block, {"weight": (-eta / inputs_of(block) * change).view_as(block.weight)}
        yield name, state.learned[name] - theta
