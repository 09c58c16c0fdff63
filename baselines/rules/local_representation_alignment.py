"""Local representation alignment: every hidden block is told what its output should have been.

    y_l = φ_l(a_l - β d_l)        e_l = h_l - y_l        e_L = ∂C/∂h_L        ΔW_l = e_l ⊗ h_{l-1}

a_l is block l's pre-activation, φ_l what stands behind its weights, h_l = φ_l(a_l), and d_l an error from
above through error weights, [seed, batch, *preactivation_shape]. No derivative is taken: e_l is a difference
of values, β φ'_l(a_l) ⊙ d_l for small β. Errors have h_l's shape and are each sample's own, not the mean's.

Pooling makes one value of several. On the way down all of them get its error; and as e_l does not say which
of them it is for, ΔW_l is there the slope of ½‖h_l - y_l‖² with y_l held.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.feedback import like_weights
from creditbench.baselines.rules.target_propagation import drops_units
from creditbench.suite.types import (
    Batch,
    Block,
    Context,
    LearningRule,
    Network,
    Noise,
    State,
    Step,
    Task,
    Trace,
)

Passed = list[tuple[Block, Trace, Tensor]]  # each block, its trace and its pre-activation


def passed(network: Network, batch: Batch, context: Context) -> Passed:
    found: Passed = []
    below = batch.inputs
    for block in network.blocks:
        sums = block.preactivate(below)
        found.append((block, replace(block.activate(sums, context), inputs=below), sums))
        below = found[-1][1].output
    return found


def pools(block: Block) -> bool:
    return block.preactivation_shape != block.output_shape


def spread(block: Block, value: Tensor) -> Tensor:
    """From a block's output to its pre-activation: what pooling made one gets the same value."""
    if not pools(block):
        return value
    images: Tensor = torch.nn.functional.interpolate(value.flatten(0, 1), block.preactivation_shape[1:])
    return images.view(*value.shape[:2], *block.preactivation_shape)


def learned_from(block: Block, trace: Trace, error: Tensor) -> dict[str, Tensor]:
    """ΔW_l, and what normalisation learns behind the weights."""
    assert trace.inputs is not None
    delta, tail = block.deactivate(trace, error)
    return block.synaptic_update(trace.inputs, delta if pools(block) else error) | tail


@dataclass(frozen=True)
class ErrorDrivenAlignment(LearningRule):
    """Errors come down block by block, through error weights that learn as the weights do:

        d_l = E_{l+1}ᵀ e_{l+1}        ΔE_l = ΔW_l

    Ororbia & Mali (2019), LRA-E. E_l has W_l's shape [seed, out, in, ...]. Their γ, the rate of E_l, is 1 in
    their code and would be divided out by Adam anyhow, which leaves W_l - E_l as it was drawn.
    """

    name: ClassVar[str] = "lra-e"
    source: ClassVar[str] = "Ororbia & Mali (2019), AAAI. arXiv:1805.11703"
    network_choices: ClassVar = {"activation": "tanh"}
    search: ClassVar = {"activation": ("relu", "tanh"), "feedback_scale": (0.3, 1.0, 3.0)}

    beta: float = 0.1
    feedback_scale: float = 1.0

    def supports(self, network: Network, task: Task) -> str | None:
        return drops_units(network)

    def init(self, network: Network, context: Context) -> State:
        hidden = network.blocks[1:]
        return State({b.name: like_weights(b, context.noise, self.feedback_scale) for b in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, first, down = batch.targets.shape[1], network.blocks[0], None
        way = passed(network, batch, context)
        error = samples * context.loss.gradient(way[-1][1].output, batch.targets)
        for block, trace, sums in reversed(way):
            if down is not None:
                wanted = block.activate(sums - self.beta * spread(block, down), context).output
                error = trace.output - wanted
            update = learned_from(block, trace, error / samples)
            if block is not first:
                down = block.transport(spread(block, error), state.learned[block.name])
                yield block.name, update["weight"]
            yield block, update


def errors_to(block: Block) -> str:
    """What E_l is called: no block's name, for those that take whole steps are named together."""
    return f"{block.name}.errors"


def straight(block: Block, classes: int, noise: Noise, scale: float) -> Tensor:
    """From the output to a block's pre-activation: [seed, classes, units], entries from U(-s, s),
    s = scale / sqrt(classes)."""
    units = torch.Size(block.preactivation_shape).numel()
    return float(scale / classes**0.5) * (2 * noise.uniform(classes, units) - 1)


@dataclass(frozen=True)
class RecursiveAlignment(LearningRule):
    """Every `skip`-th hidden block gets its error straight from the output, so that the way down is short:

        d_l = E_lᵀ e_s        s = L if `skip` divides l or l is the last hidden block, else l + 1
        e_l ← α e_l + (1 - α) sign(e_l)        ΔE_l = -γ e_s ⊗ d_l

    Ororbia, Mali, Kifer & Giles (2023), rec-LRA; l counts from 0, so that the first block is one of those
    and learns. E_l is [seed, classes, units] from the output, and has W_{l+1}'s shape from the block above.
    ΔE_l is a whole step (the optimizer has no part in it) and shrinks what was just used. Stated deviations:
    α is 1 (beside errors as small as β makes them the signs are all there is, and they never fade); noise on
    the inputs and updates rescaled to a ball are left out, as no other rule here gets them.
    """

    name: ClassVar[str] = "rec-lra"
    source: ClassVar[str] = "Ororbia, Mali, Kifer & Giles (2023), AAAI. arXiv:2002.03911"
    search: ClassVar = {"activation": ("relu", "tanh"), "beta": (0.03, 0.1, 0.3)}

    beta: float = 0.1
    skip: int = 2
    alpha: float = 1.0
    gamma: float = 0.01
    feedback_scale: float = 1.0

    def supports(self, network: Network, task: Task) -> str | None:
        return drops_units(network)

    def from_output(self, network: Network, place: int) -> bool:
        return place % self.skip == 0 or place == len(network.blocks) - 2

    def init(self, network: Network, context: Context) -> State:
        learned = {}
        for place, (block, above) in enumerate(zip(network.blocks[:-1], network.blocks[1:], strict=True)):
            if self.from_output(network, place):
                learned[errors_to(block)] = straight(
                    block, context.classes, context.noise, self.feedback_scale
                )
            else:
                learned[errors_to(block)] = like_weights(above, context.noise, self.feedback_scale)
        return State(learned)

    def own_steps(self, network: Network) -> Collection[str]:
        return [errors_to(block) for block in network.blocks[:-1]]

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, last = batch.targets.shape[1], network.blocks[-1]
        way = passed(network, batch, context)
        top = error = samples * context.loss.gradient(way[-1][1].output, batch.targets)
        yield last, learned_from(last, way[-1][1], top / samples)
        for place in reversed(range(len(way) - 1)):
            block, trace, sums = way[place]
            feedback = state.learned[errors_to(block)]
            if self.from_output(network, place):
                sent = top @ feedback
                used = top.mT @ sent
                moved = sent.view_as(sums)
            else:
                above = way[place + 1][0]
                source = spread(above, error)
                sent = above.transport(source, feedback)
                used = above.synaptic_update(sent, source)["weight"]
                moved = spread(block, sent)
            error = trace.output - block.activate(sums - self.beta * moved, context).output
            error = self.alpha * error + (1 - self.alpha) * error.sign()
            yield block, learned_from(block, trace, error / samples)
            yield errors_to(block), self.gamma * used / samples
