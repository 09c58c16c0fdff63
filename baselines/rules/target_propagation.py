"""Difference target propagation: every block is given a target for its output instead of a derivative.

    ĥ_L = h_L - τ ∂C/∂h_L        ĥ_{l-1} = h_{l-1} + g_l(ĥ_l) - g_l(h_l)
    ΔW_l = ∂(1/2τ)‖ĥ_l - f_l(h_{l-1})‖²/∂W_l

Lee et al. (2015). f_l is block l and g_l its way back: tanh(V_l h + c_l) between flattened outputs, where a
rule does not say otherwise. Dividing by the target's step size τ keeps updates the size of gradients.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Dropout
from creditbench.baselines.rules.feedback import fed_back, like_weights, to_every_block
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, Noise, State, Step, Task


def drawn_back(block: Block, noise: Noise, scale: float) -> Tensor:
    """V_l, [seed, units below, units]: entries from U(-s, s), s = scale / sqrt(units)."""
    below = torch.Size(block.input_shape).numel()
    width = float(scale / block.output_size**0.5)
    return width * (2 * noise.uniform(below, block.output_size) - 1)


def way_back(weight: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """g_l: [seed, batch, *output_shape] -> [seed, batch, units below]."""
    back = value.flatten(2) @ weight.mT
    return torch.tanh(back if bias is None else back + bias.unsqueeze(1))


def drops_units(network: Network) -> str | None:
    """Why a rule that compares two outputs of a block refuses networks with dropout."""
    stages = (s for block in network.blocks if isinstance(block, WeightedBlock) for s in block.stages)
    if any(isinstance(stage, Dropout) for stage in stages):
        return (
            "it compares two outputs of a block, and dropout would silence other units each time: dropout=0"
        )
    return None


@dataclass(frozen=True)
class FixedWeightTargetPropagation(LearningRule):
    """Difference target propagation whose way back is random and stays so:

        g_l(h) = tanh(V_l h),  V_l fixed

    Shibuya et al. (2023). The difference of two values of g_l points the right way in expectation, though g_l
    inverts nothing.
    """

    name: ClassVar[str] = "fw-dtp"
    source: ClassVar[str] = "Shibuya et al. (2023), AAAI. arXiv:2212.10352"
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


@dataclass(frozen=True)
class DirectDifferenceTargetPropagation(LearningRule):
    """The output's target goes straight to every hidden block, by linear feedback Q_l, which learns to undo
    the whole way up from there, on noise (the difference reconstruction loss):

        ĥ_l = h_l + Q_l (ĥ_L - h_L)        ΔQ_l = ∂½(E‖Q_l Δ_l - σξ‖² / σ² + λ ‖Q_l‖²) / ∂Q_l
        Δ_l = f_{L..l+1}(h_l + σξ) - h_L

    Meulemans et al. (2020), DDTP-linear. ξ is standard normal, of h_l's shape; Q_l is [seed, classes, units]
    and σ is `noise`. For small noise the least is E[J_lᵀ] (E[J_l J_lᵀ] + λ)⁻¹, J_l being the output's
    derivative by h_l: targets are Gauss-Newton's with damping λ, and as λ grows they come to lie along the
    mean J_lᵀ, as backpropagation's do in a linear network. Feedback being linear, ΔW_l = ∂(1/2τ)‖ĥ_l -
    f_l(h_{l-1})‖²/∂W_l does not depend on τ, the size of the output target's step. The noisy values of all
    blocks go up in one batch, which each block joins on the way: O(L²) in depth. Feedback takes one step per
    batch, beside the weights and by the same optimizer; theirs had epochs of its own as well.
    """

    name: ClassVar[str] = "ddtp-linear"
    source: ClassVar[str] = "Meulemans et al. (2020), NeurIPS. arXiv:2006.14331"
    network_choices: ClassVar = {"activation": "tanh"}
    search: ClassVar = {"activation": ("tanh",), "noise": (0.05, 0.2), "damping": (0.01, 0.1, 1.0)}

    noise: float = 0.1  # σ
    damping: float = 0.1  # λ

    def supports(self, network: Network, task: Task) -> str | None:
        if any(block.mixes_samples for block in network.blocks[1:]):
            return "ddtp-linear sends noisy samples of all blocks up in one batch: no batch normalisation."
        return drops_units(network)

    def init(self, network: Network, context: Context) -> State:
        return State({b.name: to_every_block(b, context.classes, context.noise) for b in network.blocks[:-1]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, samples = network.blocks[:-1], batch.targets.shape[1]
        traces = network.forward(batch.inputs, context)
        output = traces[-1].output
        change = context.loss.gradient(output, batch.targets)
        tried = [context.noise.normal(*trace.output.shape[1:]) for trace in traces[:-1]]  # ξ
        rising = traces[0].output[:, :0]
        for block, trace, xi in zip(network.blocks[1:], traces[:-1], tried, strict=True):
            noisy = torch.cat([rising, trace.output + self.noise * xi], 1)
            rising = block.forward(noisy, context).output
        arrived = rising.unflatten(1, (len(hidden), samples)) if hidden else rising
        yield network.blocks[-1], network.blocks[-1].update(traces[-1], change)
        for place, block in enumerate(hidden):
            feedback = state.learned[block.name]
            seen = (arrived[:, place] - output) / self.noise  # Δ_l / σ
            error = seen @ feedback - tried[place].flatten(2)
            signal = (change @ feedback).view_as(traces[place].output)
            yield block, block.update(traces[place], signal)
            yield block.name, seen.mT @ error / samples + self.damping * feedback


@dataclass(frozen=True)
class LayerwiseDifferenceReconstruction(LearningRule):
    """Difference target propagation whose feedback learns, block by block, to have the transposed slope:

        ĥ_{l-1} = h_{l-1} + g_l(ĥ_l) - g_l(h_l)        g_l(y) = V_lᵀ D_l y
        ΔV_l = ∂(½E‖g_l(h_l + ση) - g_l(h_l)‖² - E σξ · (g_l(f_l(h_{l-1} + σξ)) - g_l(h_l))) / σ² ∂V_l

    Ernoult et al. (2022), L-DRL. ξ and η are standard normal, of h_{l-1}'s and h_l's shapes; V_l has W_l's
    shape [seed, out, in, ...]. D_l is the way back through what stands behind the weights: unpooling to
    where the greatest was, as theirs, and f'(a_l), where theirs applies f once more. So, as σ falls, the
    least is at V_l = W_l for every f: g_l's Jacobian is the transpose of f_l's (the Jacobian matching
    condition), and targets are backpropagation's. g_l being linear, weight updates do not depend on the size
    of the output target's step. Feedback takes `iterations` steps per batch, by the weights' optimizer.
    """

    name: ClassVar[str] = "l-drl"
    source: ClassVar[str] = "Ernoult et al. (2022), ICML. arXiv:2201.13415"
    network_choices: ClassVar = {"activation": "elu"}
    search: ClassVar = {"activation": ("relu", "elu", "tanh"), "iterations": (1, 3)}

    iterations: int = 3  # K
    noise: float = 0.1  # σ

    def supports(self, network: Network, task: Task) -> str | None:
        return drops_units(network)

    def init(self, network: Network, context: Context) -> State:
        return State({b.name: like_weights(b, context.noise) for b in network.blocks[1:]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces, samples = network.forward(batch.inputs, context), batch.targets.shape[1]
        for _ in range(self.iterations):
            for block, trace in zip(network.blocks[1:], traces[1:], strict=True):
                assert trace.inputs is not None
                xi = context.noise.normal(*trace.inputs.shape[1:])
                moved = block.forward(trace.inputs + self.noise * xi, context).output - trace.output
                eta = context.noise.normal(*trace.output.shape[1:])
                moved, _ = block.deactivate(trace, moved / self.noise)
                eta, _ = block.deactivate(trace, eta)
                again = block.transport(eta, state.learned[block.name])
                both = torch.cat([again, -xi], 1), torch.cat([eta, moved], 1)
                yield block.name, block.synaptic_update(*both)["weight"] / samples
        change = context.loss.gradient(traces[-1].output, batch.targets)
        yield from fed_back(network.blocks, traces, change, state.learned)
