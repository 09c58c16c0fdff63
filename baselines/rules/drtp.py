"""Direct random target projection: hidden blocks learn from the label, before the output is known."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class DirectRandomTargetProjection(LearningRule):
    """The target stands for the error, whose sign it nearly gives away:

        hidden   δ_l = -(B_l t) ⊙ f'(a_l) / batch        output   δ_L = ∂C/∂a_L        ΔW_l = δ_l h_{l-1}ᵀ

    Frenkel, Lefebvre & Bol (2021). t is the one-hot target, [seed, batch, classes]; B_l is [seed, classes,
    units], fixed, entries from U(-s, s), s = feedback_scale / sqrt(units). A block learns as soon as its own
    forward pass is done, and no activity is kept for later.
    """

    name: ClassVar[str] = "drtp"
    source: ClassVar[str] = "Frenkel, Lefebvre & Bol (2021), Frontiers in Neuroscience 15. arXiv:1909.01311"
    search: ClassVar = {"activation": ("tanh", "sigmoid", "relu")}

    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        hidden, draw = network.blocks[:-1], (context.classes, context.noise, self.feedback_scale)
        return State(carried={block.name: to_every_block(block, *draw) for block in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        inputs, samples = batch.inputs, batch.targets.shape[1]
        *hidden, last = network.blocks
        for block in hidden:
            trace = block.forward(inputs, context)
            wanted = -state.carried[block.name] / samples  # [seed, classes, units]: a row for each target
            rows = batch.targets.unsqueeze(-1).expand(-1, -1, block.output_size)
            change = wanted.gather(1, rows).view_as(trace.output)
            yield block, block.update(trace, change)
            inputs = trace.output
        trace = last.forward(inputs, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))
