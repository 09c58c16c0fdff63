"""Burstprop, rate form: events carry the forward signal and bursts the credit, over one set of synapses."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from creditbench.baselines.rules.feedback import like_weights
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class Burstprop(LearningRule):
    """Events at rate e_l, of which a share p_l are bursts; a teacher changes p_L, and with it all p_l:

        e_l = σ(a_l)        b_l = p_l e_l        p_l = σ(β (b_{l+1} Y_{l+1}) ⊙ (1 - e_l))
        output              p_L = p₀ without and p₀ (1 + (t - e_L)(1 - e_L)) with the teacher t
        ΔW_l = δ_l h_{l-1}ᵀ        δ_l = -(p_l^teacher - p_l) e_l

    Payeur et al. (2021), in the rates of Greedy et al. (2022). e_l and b_l are [seed, batch, units]. Feedback
    weights Y_l, in W_l's shape, learn by the same outer product and decay (Kolen-Pollack). The output
    events are σ of the last pre-activation, so the loss that is descended is the squared error of σ(a_L).
    """

    name: ClassVar[str] = "burstprop"
    source: ClassVar[str] = "Payeur et al. (2021), Nature Neuroscience 24, 1010-1019"
    network_choices: ClassVar = {"activation": "sigmoid"}
    learning_rates: ClassVar = (0.002, 0.2)  # its slopes are small: p₀ and σ' at every block
    search: ClassVar = {"decay": (0.01, 0.1, 1.0), "beta": (0.5, 1.0, 2.0)}

    baseline: float = 0.2  # p₀, burst probability of the output without a teacher
    beta: float = 1.0
    decay: float = 0.1

    def supports(self, network: Network, task: Task) -> str | None:
        for block in network.blocks[:-1]:
            zero = block.activate(torch.zeros(1, 1, *block.preactivation_shape)).output
            if len(block.output_shape) > 1 or not torch.allclose(zero, torch.full_like(zero, 0.5)):
                return "burstprop's events are σ(a): hidden blocks must be linear with activation=sigmoid."
        return None

    def weight_decay(self) -> float:
        return self.decay

    def init(self, network: Network, context: Context) -> State:
        return State(learned={b.name: like_weights(b, context.noise) for b in network.blocks[1:]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        events = [trace.output for trace in traces[:-1]] + [traces[-1].output.sigmoid()]
        target = context.loss.wanted(events[-1], batch.targets)
        free = torch.full_like(target, self.baseline)  # burst probability
        taught = self.baseline * (1 + (target - events[-1]) * (1 - events[-1]))
        for place in reversed(range(len(events))):
            block, event = network.blocks[place], events[place]
            inputs = batch.inputs if place == 0 else events[place - 1]
            update = block.synaptic_update(inputs, (free - taught) * event / batch.targets.shape[1])
            if place > 0:
                feedback, below = state.learned[block.name], events[place - 1]
                free, taught = (
                    torch.sigmoid(self.beta * block.transport(burst * event, feedback) * (1 - below))
                    for burst in (free, taught)
                )
                yield block.name, update["weight"]
            yield block, update
