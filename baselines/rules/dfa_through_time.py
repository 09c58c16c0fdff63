"""Direct feedback alignment through time: every moment gets the output's error, and none hears of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.along_time import add, cell_of, not_recurrent
from creditbench.baselines.rules.feedback import to_every_block
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class DirectFeedbackThroughTime(LearningRule):
    """With B [outputs, units] random and fixed and e_t the error at moment t (that at the end, where only the
    end has a target):

        ΔW = Σ_t (∂F(h_{t-1}, x_t, W) / ∂W)ᵀ Bᵀ e_t

    Direct feedback alignment (Nøkland 2016) of a recurrent layer seen as one layer for each moment, as Han et
    al. (2020) train recurrent networks: what a moment alone had to do with its state, h_{t-1} held fixed.
    Nothing goes back in time, and where only the end has a target the states of all moments wait for it. A
    state at rest that is learned (temporal-weights' phases) gets nothing: no moment has it as a weight.
    """

    name: ClassVar[str] = "dfa-through-time"
    source: ClassVar[str] = "Nøkland (2016), arXiv:1609.01596; Han, Park, Ryu & Yoo (2020), arXiv:2006.12830"
    temporal: ClassVar[bool] = True

    feedback_scale: float = 1.0

    def supports(self, network: Network, task: Task) -> str | None:
        return not_recurrent(self.name, network)

    def init(self, network: Network, context: Context) -> State:
        drawn = to_every_block(network.blocks[0], context.classes, context.noise, self.feedback_scale)
        return State(carried={"feedback": drawn})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = cell_of(network)
        walked = [traces[0] for traces in network.through_time(batch.inputs, context)]
        whole = readout.forward(torch.cat([trace.output for trace in walked]), context)
        error = context.loss.gradient(whole.output, batch.targets)
        yield readout, readout.update(whole, error)
        feedback, total = state.carried["feedback"], dict[str, Tensor]()
        for place, trace in enumerate(walked):
            now = error if readout.steps is None else error[:, :, place]  # [seed, batch, outputs]
            total = add(total, hidden.update(trace, (now @ feedback).unsqueeze(0)))
        yield hidden, total
