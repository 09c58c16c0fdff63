"""Feedback alignment: the error comes back through fixed random weights."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.baselines.rules.feedback import fed_back, like_weights
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class FeedbackAlignment(LearningRule):
    """Backpropagation in which fixed random B_l stands for W_lᵀ on the way back:

        δ_L = ∂C/∂a_L        δ_l = (B_{l+1} δ_{l+1}) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Lillicrap et al. (2016). B_l is kept in the shape of W_l ([seed, out, in]; kernels for a
    convolution, which it crosses as a transposed convolution), with entries drawn from
    U(-s, s), s = feedback_scale / sqrt(fan-in of W_l): W_l's own distribution when the scale is 1. In
    networks with time B_l stands for the weights between blocks; inside a block its own state and recurrent
    weights carry back in time as in backpropagation.
    """

    name: ClassVar[str] = "fa"
    source: ClassVar[str] = "Lillicrap et al. (2016), Nature Communications 7, 13276"
    temporal: ClassVar[bool] = True
    search: ClassVar = {"activation": ("relu", "tanh")}

    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        hidden = network.blocks[1:]
        return State(carried={b.name: like_weights(b, context.noise, self.feedback_scale) for b in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        yield from fed_back(network.blocks, traces, change, state.carried)
