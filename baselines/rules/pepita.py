"""PEPITA: the error goes in at the input, and a second forward pass carries it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.pooling import Pooling
from creditbench.baselines.networks.stages import Normalisation
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, Noise, State, Step, Task


@dataclass(frozen=True)
class Pepita(LearningRule):
    """Learning by two forward passes, the second from an input that the error has modulated:

        h_0 = x              h_l = f(W_l h_{l-1} + b_l)              e = ∂C/∂h_L, by sample
        h_0^err = x + F e    h_l^err = f(W_l h_{l-1}^err + b_l)
        ΔW_l = (h_l - h_l^err) (h_{l-1}^err)ᵀ        ΔW_L = e (h_{L-1}^err)ᵀ

    Dellaferrera & Kreiman (2022): no derivative of f, no weights transported, no backward pass. With
    cross-entropy e is softmax minus one-hot. F is [seed, classes, inputs], entries drawn from U(-s, s),
    s = feedback_scale sqrt(6 / inputs). Behind a convolution the difference is taken before pooling.
    Dropout silences the same units in both passes. A block's bias learns as a weight from 1 (the authors
    have none). e is the first pass's at the output layer too, as in the paper's Algorithm 1; the authors'
    code takes the second pass's there where several layers are fully connected.
    """

    name: ClassVar[str] = "pepita"
    source: ClassVar[str] = "Dellaferrera & Kreiman (2022), ICML. arXiv:2201.11665"
    search: ClassVar = {"activation": ("relu", "tanh"), "feedback_scale": (0.05, 0.1)}

    feedback_scale: float = 0.05

    def supports(self, network: Network, task: Task) -> str | None:
        for block in network.blocks:
            if not isinstance(block, WeightedBlock):
                return "it looks at activities before pooling, which only blocks of weights and stages show"
            if any(isinstance(stage, Normalisation) for stage in block.stages):
                return "its equation has no update for the gain and shift of normalisation"
        return None

    def init(self, network: Network, context: Context) -> State:
        shape = network.blocks[0].input_shape
        noise = context.noise.uniform(context.classes, *shape)
        width = self.feedback_scale * (6 / noise[0, 0].numel()) ** 0.5
        return State(carried={"feedback": width * (2 * noise - 1)})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        masks = _Masks(context.noise)
        first = replace(context, noise=masks)
        h, activities = batch.inputs, []
        for block in hidden:
            activity, h = halves(block, h, first)
            activities.append(activity)
        error = context.loss.gradient(last.forward(h, first).output, batch.targets)
        h, second = modulated(batch.inputs, error, state), replace(context, noise=masks.again())
        for block in hidden:
            activity, above = halves(block, h, second)
            yield block, block.synaptic_update(h, (activities.pop(0) - activity) / batch.targets.shape[1])
            h = above
        yield last, last.synaptic_update(h, error)


@dataclass(frozen=True)
class Mempepita(Pepita):
    """PEPITA with no activity kept: the standard pass is done again, block by block, beside the modulated
    one.

    Pau & Aymone (2023). Its updates are PEPITA's; a third forward pass buys memory that does not grow
    with depth. Equations and F as in `Pepita`.
    """

    name: ClassVar[str] = "mempepita"
    source: ClassVar[str] = "Pau & Aymone (2023), IEEE COINS: PEPITA on MLCommons-Tiny benchmarks"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        masks = _Masks(context.noise)
        h, first = batch.inputs, replace(context, noise=masks)
        for block in hidden:
            h = block.forward(h, first).output
        error = context.loss.gradient(last.forward(h, first).output, batch.targets)
        h, h_err = batch.inputs, modulated(batch.inputs, error, state)
        again, second = (replace(context, noise=masks.again()) for _ in range(2))
        for block in hidden:
            activity, above = halves(block, h, again)
            activity_err, above_err = halves(block, h_err, second)
            update = block.synaptic_update(h_err, (activity - activity_err) / batch.targets.shape[1])
            h, h_err = above, above_err
            del activity, above, activity_err, above_err  # flat memory
            yield block, update
        yield last, last.synaptic_update(h_err, error)


def modulated(inputs: Tensor, error: Tensor, state: State) -> Tensor:
    """x + F e, e by sample: [seed, batch, *input_shape]."""
    feedback = state.carried["feedback"]
    return inputs + (error.shape[1] * error @ feedback.flatten(2)).view_as(inputs)


def halves(block: Block, inputs: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """A block's activity before its pooling, where it has the shape of the pre-activation, and its output."""
    if not isinstance(block, WeightedBlock):
        raise CreditbenchError("PEPITA looks at activities before pooling, which this block does not show.")
    pooling = tuple(stage for stage in block.stages if isinstance(stage, Pooling))
    units = replace(block, stages=tuple(stage for stage in block.stages if stage not in pooling))
    activity = units.forward(inputs, context).output
    return activity, replace(block, stages=pooling).activate(activity, context).output


@dataclass(frozen=True)
class _Masks(Noise):
    """Noise that remembers what it drew, so that the next pass can be given the same."""

    noise: Noise
    drawn: list[Tensor] = field(default_factory=list)

    def normal(self, *shape: int) -> Tensor:
        return self._kept(self.noise.normal(*shape))

    def uniform(self, *shape: int) -> Tensor:
        return self._kept(self.noise.uniform(*shape))

    def integers(self, high: int, *shape: int) -> Tensor:
        return self._kept(self.noise.integers(high, *shape))

    def again(self) -> _Again:
        return _Again(iter(self.drawn))

    def _kept(self, drawn: Tensor) -> Tensor:
        self.drawn.append(drawn)
        return drawn


@dataclass(frozen=True)
class _Again(Noise):
    """The same draws in the same order."""

    drawn: Iterator[Tensor]

    def normal(self, *shape: int) -> Tensor:
        return next(self.drawn)

    def uniform(self, *shape: int) -> Tensor:
        return next(self.drawn)

    def integers(self, high: int, *shape: int) -> Tensor:
        return next(self.drawn)
