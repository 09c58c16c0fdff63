"""Online training through time, and spatial learning through time: credit across layers at each moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditbench.baselines.rules.through_time import (
    Sums,
    Traces,
    error_at_each_step,
    parts,
    refuse_other_than_spiking,
    refuse_recurrent,
)
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class OnlineTrainingThroughTime(LearningRule):
    """Backpropagation through the layers at every step, none through time (Xiao et al. 2022):

        δ_L^t = ∂C(y_t)/∂y_t        δ_l^t = (W_{l+1}ᵀ δ_{l+1}^t) ⊙ ψ(u_l^t)
        â_l^t = λ_l â_l^{t-1} + z_{l-1}^t        ΔW_l = 1/T Σ_t δ_l^t (â_l^t)ᵀ

    λ_l is the membrane's leak, so that the trace â of what came in is all that a weight's past has to do with
    the present potential; how the past reached it through spikes is left out. One moment's activity is held
    at a time. (OTTT_A: weights move once a batch; the authors add a mean squared error to the cross-entropy.)
    """

    name: ClassVar[str] = "ottt"
    source: ClassVar[str] = "Xiao, Meng, Zhang, He & Lin (2022), NeurIPS. arXiv:2210.04195"
    temporal: ClassVar[bool] = True
    own_networks: ClassVar = ("snn",)
    search: ClassVar = {"surrogate": ("arctan", "fast-sigmoid", "sigmoid")}

    def supports(self, network: Network, task: Task) -> str | None:
        return refuse_other_than_spiking(self, network) or refuse_recurrent(self, network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = parts(network)
        traces_in, sums = Traces(), Sums()
        for traces in network.through_time(batch.inputs, context):
            sums.steps += 1
            change = error_at_each_step(traces[-1].output, batch, context)  # [1, seed, batch, classes]
            for block, trace in reversed(list(zip((*hidden, readout), traces, strict=True))):
                delta, _ = block.deactivate(trace, change)
                assert trace.inputs is not None
                traces_in.see(block.name, trace.inputs, self.remembered(block.leak))
                sums.add(block.name, traces_in.update(block, delta))
                if block is not network.blocks[0]:
                    change = block.transport(delta)
        yield from sums.means(network)

    def remembered(self, leak: float) -> float:
        """How much of the trace â^{t-1} is in â^t."""
        return leak


@dataclass(frozen=True)
class SpatialLearningThroughTime(OnlineTrainingThroughTime):
    """As OTTT with the trace left out, too: every moment as if it were the only one (Meng et al. 2023):

    ΔW_l = 1/T Σ_t δ_l^t (z_{l-1}^t)ᵀ
    """

    name: ClassVar[str] = "sltt"
    source: ClassVar[str] = "Meng, Xiao, Yan, Wang, Lin & Luo (2023), ICCV. arXiv:2302.14311"

    def remembered(self, leak: float) -> float:
        return 0.0
