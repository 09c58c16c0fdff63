"""Predictive coding: activities settle until every block's prediction error is balanced, then weights learn.

    F = Σ_{l<L} ½‖h_l - f_l(h_{l-1})‖² + C(f_L(h_{L-1}), t)        h_0 = x

f_l is a whole block (weights, activation, pooling), h_l its value, [seed, batch, *output_shape]. Every rule
here descends F in the values, from the forward pass, and in the weights; they differ in when and from where.
The slope at a prediction, d_l = f_l(h_{l-1}) - h_l and d_L = ∂C/∂f_L, is all that a block needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Trace


def carried_down(block: Block, trace: Trace, slope: Tensor) -> Tensor:
    """Jᵀ d: a slope at a block's output as a slope at its input."""
    return block.transport(block.deactivate(trace, slope)[0])


def values_of(traces: Sequence[Trace]) -> list[Tensor]:
    return [trace.output for trace in traces]


def settle(
    blocks: Sequence[Block],
    traces: list[Trace],
    last: "OutputSlope",
    steps: int,
    rate: float,
    context: Context,
) -> tuple[list[Trace], list[Tensor]]:
    """`steps` steps of h_l ← h_l - rate (Jᵀ_{l+1} d_{l+1} - d_l), all blocks at once, from the forward pass.

    Returns the predictions made from the values then reached, and the slopes d_l at them."""
    traces, values = list(traces), values_of(traces)[:-1]
    slopes = [torch.zeros_like(value) for value in values] + [last(traces[-1].output)]
    for step in range(steps):
        reached = range(max(1, len(blocks) - 1 - step), len(blocks))  # the error comes down a block a step
        pulls = {place: carried_down(blocks[place], traces[place], slopes[place]) for place in reached}
        for place, pull in pulls.items():
            values[place - 1] = values[place - 1] - rate * (pull - slopes[place - 1])
            traces[place] = blocks[place].forward(values[place - 1], context)
        for place in reached:
            slopes[place - 1] = traces[place - 1].output - values[place - 1]
        slopes[-1] = last(traces[-1].output)
    return traces, slopes


@dataclass(frozen=True)
class OutputSlope:
    """∂C/∂f_L per sample: of the task's loss, or of the squared error to a clamped value."""

    context: Context
    targets: Tensor
    clamped: Tensor | None = None  # [seed, batch, classes]

    def __call__(self, output: Tensor) -> Tensor:
        if self.clamped is not None:
            return output - self.clamped
        return self.context.loss.gradient(output, self.targets) * self.targets.shape[1]


LOSSES = ("cross-entropy", "squared-error")


@dataclass(frozen=True)
class PredictiveCoding(LearningRule):
    """Predictive coding: values settle for some steps, then every block learns from its own prediction error:

        h_l ← h_l - γ (Jᵀ_{l+1} d_{l+1} - d_l)        d_l = f_l(h_{l-1}) - h_l        ΔW_l = ∂½‖d_l‖²/∂W_l

    Whittington & Bogacz (2017); Song et al. (2024). The output is clamped by the task's loss
    (cross-entropy), or by h_L = one-hot target (squared-error). As the output's error shrinks, the update
    becomes backpropagation's.
    """

    name: ClassVar[str] = "pc"
    source: ClassVar[str] = "Whittington & Bogacz (2017), Neural Computation 29, 1229-1262"
    search: ClassVar = {"activation": ("relu", "tanh"), "rate": (0.05, 0.1, 0.2)}

    steps: int = 10
    rate: float = 0.1  # γ
    loss: Literal["cross-entropy", "squared-error"] = "cross-entropy"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise CreditbenchError(f"loss is one of {', '.join(LOSSES)}, not '{self.loss}'.")

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        clamped = (
            context.loss.wanted(traces[-1].output, batch.targets) if self.loss != "cross-entropy" else None
        )
        last = OutputSlope(context, batch.targets, clamped)
        traces, slopes = settle(network.blocks, traces, last, self.steps, self.rate, context)
        for block, trace, slope in zip(network.blocks, traces, slopes, strict=True):
            yield block, block.update(trace, slope / batch.targets.shape[1])


@dataclass(frozen=True)
class NudgedPredictiveCoding(LearningRule):
    """Predictive coding whose output is nudged, to the target and away from it, and the difference taken:

        h_L = u ∓ β ∂C/∂u  at the free output u        ΔW = (ΔW(+β) - ΔW(-β)) / 2β

    Pinchetti et al. (2025). Both settle side by side in one doubled batch. nudge: centred takes the
    difference, positive and negative one side over ±β. As β falls the update tends to backpropagation's with
    (I + JJᵀ)⁻¹ ∂C/∂u in place of ∂C/∂u, J the slope of the output by all values below it: the output gives
    way to the clamp. The centred form gets there as β², the others as β.
    """

    name: ClassVar[str] = "pc-nudged"
    source: ClassVar[str] = "Pinchetti et al. (2025), ICLR. arXiv:2407.01163"
    search: ClassVar = {"activation": ("relu", "tanh"), "rate": (0.05, 0.1, 0.2), "beta": (0.1, 0.3, 1.0)}

    steps: int = 10
    rate: float = 0.1
    beta: float = 0.3
    nudge: Literal["centred", "positive", "negative"] = "centred"

    SIGNS: ClassVar = {"centred": (1.0, -1.0), "positive": (1.0,), "negative": (-1.0,)}

    def __post_init__(self) -> None:
        if self.nudge not in self.SIGNS:
            raise CreditbenchError(f"nudge is one of {', '.join(self.SIGNS)}, not '{self.nudge}'.")

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        signs, samples = self.SIGNS[self.nudge], batch.targets.shape[1]
        free = network(batch.inputs, context)
        slope = OutputSlope(context, batch.targets)(free)
        clamped = torch.cat([free - sign * self.beta * slope for sign in signs], 1)
        inputs, targets = (torch.cat([one] * len(signs), 1) for one in (batch.inputs, batch.targets))
        traces = network.forward(inputs, context)
        last = OutputSlope(context, targets, clamped)
        traces, slopes = settle(network.blocks, traces, last, self.steps, self.rate, context)
        weights = torch.tensor(signs, device=free.device).repeat_interleave(samples)
        weights = weights / (self.beta * len(signs) * samples)
        for block, trace, slope in zip(network.blocks, traces, slopes, strict=True):
            yield block, block.update(trace, slope * weights.view(-1, *(1,) * (slope.dim() - 2)))


@dataclass(frozen=True)
class IncrementalPredictiveCoding(LearningRule):
    """Incremental predictive coding: values and weights move together at every step of settling:

        ΔW_l = ∂½‖d_l‖²/∂W_l        h_l ← h_l - γ (Jᵀ_{l+1} d_{l+1} - d_l)        each, `steps` times a batch

    Salvatori et al. (2024). The optimizer makes `steps` steps per batch.
    """

    name: ClassVar[str] = "ipc"
    source: ClassVar[str] = "Salvatori et al. (2024), ICLR. arXiv:2212.00720"
    search: ClassVar = {"activation": ("relu", "tanh"), "rate": (0.1, 0.3, 0.8), "steps": (3, 5, 8)}

    steps: int = 5
    rate: float = 0.3

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        blocks, samples = network.blocks, batch.targets.shape[1]
        last = OutputSlope(context, batch.targets)
        traces = network.forward(batch.inputs, context)
        values = values_of(traces)[:-1]
        reached = [False] * len(blocks)  # by the error, which comes down a block a step
        for _ in range(self.steps):
            moved = [here or below for here, below in zip(reached, [False, *reached[:-1]], strict=True)]
            traces = [
                block.forward(h, context) if new else trace  # elsewhere it is still that of the forward pass
                for block, trace, h, new in zip(blocks, traces, [batch.inputs, *values], moved, strict=True)
            ]
            slopes = [trace.output - h for trace, h in zip(traces[:-1], values, strict=True)]
            slopes.append(last(traces[-1].output))
            reached = [bool(slope.any()) for slope in slopes]
            pulls = [
                carried_down(block, trace, slope) if wrong else 0.0
                for block, trace, slope, wrong in zip(
                    blocks[1:], traces[1:], slopes[1:], reached[1:], strict=True
                )
            ]
            values = [h - self.rate * (p - d) for h, p, d in zip(values, pulls, slopes[:-1], strict=True)]
            for block, trace, slope, wrong in zip(blocks, traces, slopes, reached, strict=True):
                if wrong:
                    yield block, block.update(trace, slope / samples)


@dataclass(frozen=True)
class ZeroDivergenceInference(LearningRule):
    """Predictive coding with γ = 1, in which a block learns at the step that the error first reaches it:

        h_{l-1} ← h_{l-1} - Jᵀ_l d_l        ΔW_l = ∂½‖d_l‖²/∂W_l  at step L - l

    Song et al. (2020). From the forward pass all errors below are zero until then, so the update is
    backpropagation's, exactly. Values that move after their block has learned change nothing and are not
    computed.
    """

    name: ClassVar[str] = "z-il"
    source: ClassVar[str] = "Song et al. (2020), NeurIPS 33"
    search: ClassVar = {"activation": ("relu", "tanh")}

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        slope = OutputSlope(context, batch.targets)(traces[-1].output)
        for place in reversed(range(len(network.blocks))):
            block, trace = network.blocks[place], traces[place]
            update = block.update(trace, slope / batch.targets.shape[1])
            if place > 0:
                prediction = traces[place - 1].output
                value = prediction - carried_down(block, trace, slope)
                slope = prediction - value
            yield block, update


@dataclass(frozen=True)
class ErrorOptimisation(LearningRule):
    """Predictive coding that settles its errors and not its values, so that a signal needs one step, not L:

        s_l = f_l(s_{l-1}) + e_l        F = Σ ½‖e_l‖² + C        e_l ← e_l - γ (e_l + ∂C/∂s_l)

    Goemaere et al. (2025). The same equilibria as predictive coding: there d_l = -e_l. ∂C/∂s_l comes down
    through all blocks, which makes this a way to compute predictive coding and not a local one.
    """

    name: ClassVar[str] = "epc"
    source: ClassVar[str] = "Goemaere et al. (2025). arXiv:2505.20137"
    search: ClassVar = {"activation": ("relu", "tanh"), "rate": (0.1, 0.3, 0.8)}

    steps: int = 5
    rate: float = 0.3

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        blocks, last = network.blocks, OutputSlope(context, batch.targets)
        traces = network.forward(batch.inputs, context)
        errors = [torch.zeros_like(trace.output) for trace in traces[:-1]]
        for _ in range(self.steps):
            slope = last(traces[-1].output)
            for place in reversed(range(len(errors))):
                slope = carried_down(blocks[place + 1], traces[place + 1], slope)
                errors[place] = errors[place] - self.rate * (errors[place] + slope)
            state_below, traces = batch.inputs, []
            for place, block in enumerate(blocks):
                traces.append(block.forward(state_below, context))
                if place < len(errors):
                    state_below = traces[-1].output + errors[place]
        slopes = [-error for error in errors] + [last(traces[-1].output)]
        for block, trace, slope in zip(blocks, traces, slopes, strict=True):
            yield block, block.update(trace, slope / batch.targets.shape[1])
