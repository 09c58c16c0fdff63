"""Segregated dendrites: a block learns from the difference of two plateaus in its apical dendrites."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class SegregatedDendrites(LearningRule):
    """Apical dendrites see the output twice, as the network gives it and as the teacher has it:

        forward phase   α_l^f = σ(Y_l φ(a_L))        target phase   α_l^t = σ(Y_l t)
        hidden   δ_l = -(α_l^t - α_l^f) ⊙ f'(a_l)    output   δ_L = ∂C/∂a_L    ΔW_l = δ_l h_{l-1}ᵀ

    Guerguiev, Lillicrap & Richards (2017), in the rates of its two phases' ends. φ is softmax, the output
    that the task's loss asks of ([seed, batch, classes]); t is one-hot; Y_l is [seed, classes, units],
    fixed, entries from U(-s, s), s = feedback_scale.
    """

    name: ClassVar[str] = "segregated-dendrites"
    source: ClassVar[str] = "Guerguiev, Lillicrap & Richards (2017), eLife 6, e22901"
    search: ClassVar = {"activation": ("sigmoid", "tanh", "relu"), "feedback_scale": (0.5, 1.0, 2.0)}

    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        feedback = {}
        for block in network.blocks[:-1]:
            scale = self.feedback_scale * block.output_size**0.5
            feedback[block.name] = to_every_block(block, context.classes, context.noise, scale)
        return State(carried=feedback)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        output, samples = traces[-1].output, batch.targets.shape[1]
        phases = torch.cat([output.softmax(-1), context.loss.wanted(output, batch.targets)], 1)
        for block, trace in zip(network.blocks[:-1], traces[:-1], strict=True):
            forward, target = (phases @ state.carried[block.name]).sigmoid().chunk(2, 1)  # plateau potentials
            yield block, block.update(trace, ((forward - target) / samples).view_as(trace.output))
        last = network.blocks[-1]
        yield last, last.update(traces[-1], context.loss.gradient(output, batch.targets))
