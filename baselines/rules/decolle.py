"""DECOLLE: every layer has a fixed random readout of its own, and learns from its error at every moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.baselines.rules.through_time import (
    Sums,
    Traces,
    error_at_each_step,
    parts,
    refuse_other_than_spiking,
    refuse_recurrent,
    sent_through,
)
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class DeepContinuousLocalLearning(LearningRule):
    """Local errors in space, traces in time (Kaiser, Mostafa & Neftci 2020):

        y_l^t = G_l z_l^t        ΔW_l = 1/T Σ_t (G_lᵀ ∂C(y_l^t)/∂y_l^t ⊙ ψ(u_l^t)) (P_l^t)ᵀ
        P_l^t = α P_l^{t-1} + z_{l-1}^t

    G_l [seed, classes, units] is fixed, entries from U(-s, s), s = readout_scale / sqrt(units), and G_lᵀ is
    its own transpose: nothing is transported, for nothing of it learns. C is the task's loss (the authors
    take a smooth L1 distance and neurons with a second filter). The output layer learns from its own error.
    """

    name: ClassVar[str] = "decolle"
    source: ClassVar[str] = "Kaiser, Mostafa & Neftci (2020), Frontiers in Neuroscience 14. arXiv:1811.10766"
    temporal: ClassVar[bool] = True
    own_networks: ClassVar = ("snn",)
    search: ClassVar = {"readout_scale": (1.0, 3.0), "surrogate": ("arctan", "fast-sigmoid")}

    readout_scale: float = 1.0

    def supports(self, network: Network, task: Task) -> str | None:
        return refuse_other_than_spiking(self, network) or refuse_recurrent(self, network)

    def init(self, network: Network, context: Context) -> State:
        draw = (context.classes, context.noise, self.readout_scale)
        return State(carried={block.name: to_every_block(block, *draw) for block in network.blocks[:-1]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = parts(network)
        traces_in, sums = Traces(), Sums()
        for traces in network.through_time(batch.inputs, context):
            sums.steps += 1
            for block, trace in zip((*hidden, readout), traces, strict=True):
                if block is readout:
                    change = error_at_each_step(trace.output, batch, context)
                else:
                    own = state.carried[block.name]
                    y = sent_through(trace.output.flatten(3), own.mT, readout)
                    change = sent_through(error_at_each_step(y, batch, context), own, block)
                delta, _ = block.deactivate(trace, change)
                assert trace.inputs is not None
                traces_in.see(block.name, trace.inputs, block.leak)
                sums.add(block.name, traces_in.update(block, delta))
        yield from sums.means(network)
