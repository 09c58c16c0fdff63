"""Difference target propagation: every block is given a target for its output instead of a derivative.

    ĥ_L = h_L - τ ∂C/∂h_L        ĥ_{l-1} = h_{l-1} + g_l(ĥ_l) - g_l(h_l)
    ΔW_l = ∂(1/2τ)‖ĥ_l - f_l(h_{l-1})‖²/∂W_l

Lee et al. (2015). f_l is block l and g_l its way back, tanh(V_l h + c_l) between flattened outputs. Dividing
by the target's step size τ keeps updates the size of gradients.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, Noise, State, Step


def drawn_back(block: Block, noise: Noise, scale: float) -> Tensor:
    """V_l, [seed, units below, units]: entries from U(-s, s), s = scale / sqrt(units)."""
    below = torch.Size(block.input_shape).numel()
    width = float(scale / block.output_size**0.5)
    return width * (2 * noise.uniform(below, block.output_size) - 1)


def way_back(weight: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """g_l: [seed, batch, *output_shape] -> [seed, batch, units below]."""
    back = value.flatten(2) @ weight.mT
    return torch.tanh(back if bias is None else back + bias.unsqueeze(1))


@dataclass(frozen=True)
class FixedWeightTargetPropagation(LearningRule):
    """Difference target propagation whose way back is random and stays so:

        g_l(h) = tanh(V_l h),  V_l fixed

    Shibuya et al. (2023). The difference of two values of g_l points the right way in expectation, though g_l
    inverts nothing.
    """

    name: ClassVar[str] = "fw-dtp"
    source: ClassVar[str] = "Shibuya et al. (2023), AAAI. arXiv:2212.03282"
    network_choices: ClassVar = {"activation": "tanh"}
    search: ClassVar = {
        "activation": ("tanh",),
        "stepsize": (0.01, 0.04, 0.2),
        "feedback_scale": (0.5, 1.0, 2.0),
    }

    stepsize: float = 0.04  # τ
    feedback_scale: float = 1.0

    def init(self, network: Network, context: Context) -> State:
        hidden = network.blocks[1:]
        return State(carried={b.name: drawn_back(b, context.noise, self.feedback_scale) for b in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        samples = batch.targets.shape[1]
        value = traces[-1].output
        target = value - self.stepsize * samples * context.loss.gradient(value, batch.targets)
        for place in reversed(range(len(traces))):
            block, trace = network.blocks[place], traces[place]
            difference = (trace.output - target) / (self.stepsize * samples)
            if place > 0:
                both = torch.cat([target, trace.output], 1)
                wanted, there = way_back(state.carried[block.name], both).chunk(2, 1)
                below = traces[place - 1].output
                target = below + (wanted - there).view_as(below)
            yield block, block.update(trace, difference)


@dataclass(frozen=True)
class DifferenceTargetPropagation(LearningRule):
    """The way back learns to invert the way forward, from noisy values of the block below:

        g_l = tanh(V_l h + c_l)        Δ(V_l, c_l) = ∂½‖g_l(f_l(h_{l-1} + σξ)) - (h_{l-1} + σξ)‖²/∂(V_l, c_l)

    Lee et al. (2015). ξ is standard normal, [seed, batch, units below]. One step of the way back for each of
    the way forward, by the same optimizer; σ is `noise`.
    """

    name: ClassVar[str] = "dtp"
    source: ClassVar[str] = "Lee et al. (2015), ECML PKDD. arXiv:1412.7525"
    network_choices: ClassVar = {"activation": "tanh"}
    search: ClassVar = {"stepsize": (0.05, 0.2), "noise": (0.05, 0.1, 0.2)}

    stepsize: float = 0.2  # τ
    noise: float = 0.1  # σ

    def init(self, network: Network, context: Context) -> State:
        learned = {}
        for block in network.blocks[1:]:
            learned[f"{block.name}.back"] = drawn_back(block, context.noise, 1.0)
            learned[f"{block.name}.shift"] = torch.zeros_like(learned[f"{block.name}.back"][..., 0])
        return State(learned)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        samples = batch.targets.shape[1]
        value = traces[-1].output
        target = value - self.stepsize * samples * context.loss.gradient(value, batch.targets)
        for place in reversed(range(len(traces))):
            block, trace = network.blocks[place], traces[place]
            difference = (trace.output - target) / (self.stepsize * samples)
            update = block.update(trace, difference)
            if place > 0:
                back, shift = state.learned[f"{block.name}.back"], state.learned[f"{block.name}.shift"]
                below = traces[place - 1].output
                noisy = below + self.noise * context.noise.normal(*below.shape[1:])
                seen = block.forward(noisy, context).output
                three = way_back(back, torch.cat([target, trace.output, seen], 1), shift)
                wanted, there, again = three.chunk(3, 1)
                target = below + (wanted - there).view_as(below)
                error = (again - noisy.flatten(2)) * (1 - again.square()) / samples
                yield f"{block.name}.back", error.mT @ seen.flatten(2)
                yield f"{block.name}.shift", error.sum(1)
            yield block, update
