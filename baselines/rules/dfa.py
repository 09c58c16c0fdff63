"""Direct feedback alignment: the output error reaches every hidden block through its own random weights."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class DirectFeedbackAlignment(LearningRule):
    """Direct feedback alignment: the error comes to every hidden block at once, by its own weights:

        e = ∂C/∂a_L        δ_l = (B_l e) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Nøkland (2016). B_l is [seed, classes, units of block l's output], entries drawn from
    U(-s, s), s = feedback_scale / sqrt(units), and B_l e is wanted at the block's output, behind its
    pooling if it has any. In a spiking network it is wanted at every step, and what a block's own state and
    recurrent weights carry back in time is backpropagation's.
    """

    name: ClassVar[str] = "dfa"
    source: ClassVar[str] = "Nøkland (2016), NeurIPS. arXiv:1609.01596"
    temporal: ClassVar[bool] = True
    search: ClassVar = {"activation": ("relu", "tanh")}

    feedback_scale: float = 1.0

    def supports(self, network: Network, task: Task) -> str | None:
        if task.kind == "series":
            return (
                f"{self.name} sends one error to every step of a network, also to those behind a series' end;"
                " choose dfa-through-time"
            )
        return None

    def init(self, network: Network, context: Context) -> State:
        hidden, draw = network.blocks[:-1], (context.classes, context.noise, self.feedback_scale)
        return State(carried={block.name: to_every_block(block, *draw) for block in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        error = context.loss.gradient(traces[-1].output, batch.targets)  # [seed, batch, classes]
        last = network.blocks[-1]
        yield last, last.update(traces[-1], error)
        signal = self.broadcast(error)
        for block, trace in zip(network.blocks[:-1], traces[:-1], strict=True):
            change = (signal @ state.carried[block.name]).view(*signal.shape[:2], *block.output_shape)
            change = change.expand_as(trace.output)  # the same at every step, where there is time
            yield block, block.update(trace, change)

    def broadcast(self, error: Tensor) -> Tensor:
        """What is sent to the hidden blocks of the error: [seed, batch, classes]."""
        return error


@dataclass(frozen=True)
class SignDirectFeedbackAlignment(DirectFeedbackAlignment):
    """Direct feedback alignment that sends the error's signs alone, one bit per class:

        δ_l = (B_l sign(e)) ⊙ f'(a_l)

    Frenkel, Lefebvre & Bol (2021), divided by the size of the batch as the error is.
    """

    name: ClassVar[str] = "sdfa"
    source: ClassVar[str] = "Frenkel, Lefebvre & Bol (2021), Frontiers in Neuroscience 15. arXiv:1909.01311"

    def broadcast(self, error: Tensor) -> Tensor:
        return error.sign() / error.shape[1]
