"""Only the output layer learns, on top of random features: the floor."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class LastLayer(LearningRule):
    """ΔW_L = e h_{L-1}ᵀ with e = ∂C/∂h_L, and nothing below.

    No credit is assigned to hidden layers, which stay as they were drawn: whoever does not beat this
    has not shown that hidden layers learn (random features: Rahimi & Recht 2008; extreme learning
    machines: Huang et al. 2006). It gets the same initial weights and tuning as everyone.
    """

    name: ClassVar[str] = "last-layer"
    source: ClassVar[str] = "Rahimi & Recht (2008), NeurIPS: random features"
    temporal: ClassVar[bool] = True
    search: ClassVar = {"activation": ("relu", "tanh")}

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h = batch.inputs
        for block in network.blocks[:-1]:
            h = block.forward(h, context).output
        last = network.blocks[-1]
        trace = last.forward(h, context)
        error = context.loss.gradient(trace.output, batch.targets)
        yield last, last.update(trace, error)
