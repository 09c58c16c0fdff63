"""Feedback alignment: the error comes back through fixed random weights."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class FeedbackAlignment(LearningRule):
    """Backpropagation in which fixed random B_l stands for W_lᵀ on the way back:

        δ_L = ∂C/∂a_L        δ_l = (B_{l+1} δ_{l+1}) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Lillicrap et al. (2016). B_l is kept in the shape of W_l ([seed, out, in]; kernels for a
    convolution, which it crosses as a transposed convolution), with entries drawn from
    U(-s, s), s = feedback_scale / sqrt(fan-in of W_l): W_l's own distribution when the scale is 1.
    """

    name: ClassVar[str] = "fa"
    source: ClassVar[str] = "Lillicrap et al. (2016), Nature Communications 7, 13276"
    search: ClassVar = {"activation": ("relu", "tanh")}

    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        feedback = {}
        for block in network.blocks[1:]:
            width = self.feedback_scale / block.weight[0, 0].numel() ** 0.5
            noise = context.noise.uniform(*block.weight.shape[1:])
            feedback[block.name] = width * (2 * noise - 1)
        return State(carried=feedback)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        for block, trace in reversed(list(zip(network.blocks[1:], traces[1:], strict=True))):
            update, change = block.pullback(trace, change, weight=state.carried[block.name])
            yield block, update
        first = network.blocks[0]
        yield first, first.update(traces[0], change)
