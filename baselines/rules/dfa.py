"""Direct feedback alignment: the output error reaches every hidden block through its own random weights."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class DirectFeedbackAlignment(LearningRule):
    """No block needs the weights above it, and all hidden blocks could learn at the same time:

        e = ∂C/∂a_L        δ_l = (B_l e) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Nøkland (2016). B_l is [seed, classes, units of block l's output], entries drawn from
    U(-s, s), s = feedback_scale / sqrt(units), and B_l e is wanted at the block's output, behind its
    pooling if it has any.
    """

    name: ClassVar[str] = "dfa"
    source: ClassVar[str] = "Nøkland (2016), NeurIPS. arXiv:1609.01596"
    search: ClassVar = {"activation": ("relu", "tanh")}

    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        feedback = {}
        for block in network.blocks[:-1]:
            noise = context.noise.uniform(context.classes, block.output_size)
            feedback[block.name] = self.feedback_scale / block.output_size**0.5 * (2 * noise - 1)
        return State(carried=feedback)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        error = context.loss.gradient(traces[-1].output, batch.targets)  # [seed, batch, classes]
        last = network.blocks[-1]
        yield last, last.update(traces[-1], error)
        for block, trace in zip(network.blocks[:-1], traces[:-1], strict=True):
            change = (error @ state.carried[block.name]).view_as(trace.output)
            yield block, block.update(trace, change)
