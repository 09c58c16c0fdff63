"""e-prop: eligibility traces that go forward in time, and learning signals from the readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.baselines.rules.through_time import (
    error_at_each_step,
    parts,
    refuse_other_than_spiking,
    sent_through,
)
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task

FEEDBACK = ("random", "symmetric", "adaptive")


@dataclass(frozen=True)
class EligibilityPropagation(LearningRule):
    """What a synapse can know of itself, times what the readout says of its neuron (Bellec et al. 2020):

        ΔW_ji = Σ_t L_j^t ē_ji^t        L^t = B (π^t - π*^t) / T        ē = κ-filtered e
        e_ji^t = ψ_j^t (x̄_i^t - β ε_ji^t)        ε_ji^{t+1} = ψ_j^t x̄_i^t + (ρ - ψ_j^t β) ε_ji^t

    x̄ is the presynaptic spikes under the membrane's filter: of the layer below, or of the layer itself a
    step before for recurrent weights; ε belongs to adaptive neurons. No synapse-sized trace is made: the sum
    over time of L ē is a reverse scan over neurons and one matrix product (`SpikingBlock.eligible`), to
    rounding. That asks for the whole sequence, so memory grows with T as backpropagation's does; the traces'
    own form would be flat in T and need one number a synapse and sample.

    B [seed, classes, units] is drawn once (random), is the readout's W_outᵀ (symmetric), or is drawn and
    moves as W_outᵀ does while both decay (adaptive); the last two ask for a single hidden block. Networks of
    several hidden blocks get their own B each, and no block sends anything down to another.
    """

    name: ClassVar[str] = "e-prop"
    source: ClassVar[str] = "Bellec et al. (2020), Nature Communications 11, 3625"
    temporal: ClassVar[bool] = True
    own_networks: ClassVar = ("snn",)
    search: ClassVar = {"feedback": FEEDBACK, "surrogate": ("arctan", "triangle")}

    feedback: Literal["random", "symmetric", "adaptive"] = "random"
    feedback_scale: float = 1.0
    decay: float = 1e-4  # of W and B alike where feedback is adaptive; per step, times the learning rate

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACK:
            raise unknown_name("e-prop feedback", self.feedback, FEEDBACK)

    def supports(self, network: Network, task: Task) -> str | None:
        if reason := refuse_other_than_spiking(self, network):
            return reason
        if self.feedback != "random" and len(network.blocks) > 2:
            return f"{self.feedback} feedback of e-prop is the readout's, which only one hidden block meets."
        return None

    def weight_decay(self) -> float:
        return self.decay if self.feedback == "adaptive" else 0.0

    def init(self, network: Network, context: Context) -> State:
        draw = (context.classes, context.noise, self.feedback_scale)
        drawn = {block.name: to_every_block(block, *draw) for block in network.blocks[:-1]}
        if self.feedback == "adaptive":
            return State(learned={"feedback": drawn[network.blocks[0].name]})
        return State(carried=drawn if self.feedback == "random" else {})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = parts(network)
        *traces, last = network.forward(batch.inputs, context)
        (y,) = last.saved  # [time, seed, batch, classes]
        error = error_at_each_step(y, batch, context) / len(y)
        signal, _ = readout.deactivate(last, error)  # Σ_{s >= t} κ^{s-t} e_s: the filter of ē, turned round
        assert last.inputs is not None
        output = readout.synaptic_update(last.inputs, signal)
        for block, trace in zip(hidden, traces, strict=True):
            assert trace.inputs is not None
            change = sent_through(signal, self._feedback(block.name, network, state), block)
            delta, own = block.eligible(trace, change)
            yield block, block.synaptic_update(trace.inputs, delta) | own
        yield readout, output
        if self.feedback == "adaptive":
            yield "feedback", output["weight"]

    def _feedback(self, block: str, network: Network, state: State) -> Tensor:
        """B, [seed, classes, units]."""
        if self.feedback == "symmetric":
            return network.blocks[-1].weight
        return state.learned["feedback"] if self.feedback == "adaptive" else state.carried[block]
