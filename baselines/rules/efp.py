"""Error forward propagation: the output's error enters once more at the bottom and travels forward."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class ErrorForwardPropagation(LearningRule):
    """One loop, from the output to the first block, instead of a way back through every block:

        free phase      h_1 = f(W_1 x + b_1)              h_l = f(W_l h_{l-1} + b_l)      e = ∂C/∂y
        error phase     t_1 = f(W_1 x + b_1 - β S e)      t_l = f(W_l t_{l-1} + b_l)
        learning        ΔW_1 = (t_1 - h_1) xᵀ / β         ΔW_l = (t_l - h_l) t_{l-1}ᵀ / β

    Kohan, Rietman & Siegelmann (2018). The forward weights carry the error; S, fixed and random, is
    [seed, classes, units of block 1], drawn from U(-s, s), s = 1/sqrt(classes), and β is `nudge`. No
    derivative of f is used. The output layer learns by the delta rule, -e h_{N-1}ᵀ. The original lets a
    recurrent network settle in both phases; here each is one pass, so the loop is closed once per batch.
    """

    name: ClassVar[str] = "efp"
    source: ClassVar[str] = "Kohan, Rietman & Siegelmann (2018). arXiv:1808.03357"
    search: ClassVar = {"activation": ("relu", "tanh"), "nudge": (0.1, 1.0)}

    nudge: float = 0.3

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 2:
            return "error forward propagation trains hidden blocks and this network has none"
        if any(block.mixes_samples for block in network.blocks):
            return "batch normalisation would treat the two phases apart; choose normalisation=layer or none"
        if any(block.output_shape != block.preactivation_shape for block in network.blocks):
            return (
                "error forward propagation pairs each unit's activity with its own weights, and pooling"
                " leaves several units with one activity; choose a network without pooling"
            )
        return None

    def init(self, network: Network, context: Context) -> State:
        noise = context.noise.uniform(context.classes, network.blocks[0].output_size)
        return State(carried={"loop": context.classes**-0.5 * (2 * noise - 1)})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, *middle, last = network.blocks
        a = first.preactivate(batch.inputs)
        h = [first.activate(a, context).output]
        for block in middle:
            h.append(block.forward(h[-1], context).output)
        trace = last.forward(h[-1], context)
        error = context.loss.gradient(trace.output, batch.targets)  # of the mean: e / batch
        yield last, last.update(trace, error)
        share = 1 / (self.nudge * batch.targets.shape[1])
        signal = (error @ state.carried["loop"]) / share  # β S e
        below, t = batch.inputs, first.activate(a - signal.view_as(a), context).output
        yield first, first.synaptic_update(below, share * (h[0] - t))
        for block, own in zip(middle, h[1:], strict=True):
            below, t = t, block.forward(t, context).output
            yield block, block.synaptic_update(below, share * (own - t))
