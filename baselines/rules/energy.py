"""Networks that settle to the least of an energy, and rules that compare two places where they settle.

    E = Σ_l ½‖s_l‖² - Σ_l s_l · f_l(s_{l-1})        s_0 = x,  0 ≤ s_l ≤ 1 for hidden blocks

f_l is block l without a nonlinearity of its own (weights, and pooling if it has any); the hard limits make
the units' nonlinearity ρ(u) = min(max(u, 0), 1). A block's least energy, all else held still, is
s_l = ρ(f_l(s_{l-1}) + Jᵀ_{l+1} s_{l+1}), Jᵀ s what a block hands down: the same weights work both ways.
Values s_l have the shape [seed, batch, *output_shape].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task, Trace

Output = Callable[[Tensor], Tensor]  # what the output settles at, given f_L(s_{L-1})


def handed_down(block: Block, trace: Trace, value: Tensor) -> Tensor:
    """Jᵀ s: a block's value as an input to the values below it."""
    return block.transport(block.deactivate(trace, value)[0])


def settle(
    blocks: tuple[Block, ...], first: Tensor, values: list[Tensor], steps: int, output: Output
) -> list[Tensor]:
    """`steps` sweeps from the lowest block to the output, each block going to its least energy.

    first: f_1(x), which does not change. Every sweep lowers the energy."""
    values = list(values)
    traces = [above.forward(value) for above, value in zip(blocks[1:], values[:-1], strict=True)]
    for _ in range(steps):
        below = first
        for place, above in enumerate(blocks[1:]):
            values[place] = (below + handed_down(above, traces[place], values[place + 1])).clamp_(0, 1)
            traces[place] = above.forward(
                values[place]
            )  # what goes up now, and how what comes down next goes
            below = traces[place].output
        values[-1] = output(below)
    return values


def from_below(blocks: tuple[Block, ...], inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """f_1(x), and values from one pass upwards, as if nothing came down."""
    first = blocks[0].forward(inputs).output
    values, below = [], first
    for block in blocks[1:]:
        values.append(below.clamp(0, 1))
        below = block.forward(values[-1]).output
    return first, [*values, below]


@dataclass(frozen=True)
class SettlingRule(LearningRule):
    """A network that settles for `free_steps` sweeps and infers by settling; subclasses say how it learns."""

    network_choices: ClassVar = {"activation": "identity"}

    free_steps: int = 15
    nudged_steps: int = 6

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 2:
            return f"{self.name} needs a hidden block to settle."
        for block in network.blocks[:-1]:
            one = block.bind({name: tensor[:1] for name, tensor in block.parameters.items()})
            output = one.activate(one.weight.new_full((1, 1, *one.preactivation_shape), -1.0)).output
            if not (output == -1).all():
                return (
                    f"{self.name} has a nonlinearity of its own: use activation=identity, no normalisation."
                )
        return None

    def settled(self, network: Network, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """f_1(x), and the values of the free network."""
        first, values = from_below(network.blocks, inputs)
        return first, settle(network.blocks, first, values, self.free_steps, lambda output: output)

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        return self.settled(network, inputs)[1][-1]

    def contrast(self, network: Network, inputs: Tensor, phases: list[tuple[float, list[Tensor]]]) -> Step:
        """ΔW_l = -Σ c s_l ⊗ f_l's input: the weights' slope of Σ c E, over phases (c, settled values)."""
        samples = inputs.shape[1]
        below = torch.cat([inputs] * len(phases), 1)
        for place, block in enumerate(network.blocks):
            value = torch.cat([values[place] for _, values in phases], 1)
            weighted = torch.cat([-c / samples * values[place] for c, values in phases], 1)
            yield block, block.update(block.forward(below), weighted)
            below = value


@dataclass(frozen=True)
class EquilibriumPropagation(SettlingRule):
    """Equilibrium propagation: the output is nudged, and weights go where the nudged network is at home:

        F = E + β C,  C = ½‖s_L - t‖²        ΔW = (∂E/∂W(s^{β}) - ∂E/∂W(s^{-β})) / 2β

    Scellier & Bengio (2017); Laborieux et al. (2021) for the centred form. t is one-hot, [seed, batch,
    classes]. one-sided compares s^β with the free s^0 over β. The centred estimate's error falls as β², the
    other's as β. Both nudges settle side by side in a doubled batch.
    """

    name: ClassVar[str] = "ep"
    source: ClassVar[str] = "Scellier & Bengio (2017), Frontiers in Computational Neuroscience 11, 24"
    search: ClassVar = {"beta": (0.2, 0.5, 0.8)}

    beta: float = 0.5
    nudge: Literal["centred", "one-sided"] = "centred"

    def __post_init__(self) -> None:
        if self.nudge not in ("centred", "one-sided"):
            raise CreditbenchError(f"nudge is centred or one-sided, not '{self.nudge}'.")
        if not 0 < self.beta < 1:
            raise CreditbenchError(f"beta is {self.beta}; the nudged output is finite for 0 < beta < 1.")

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, free = self.settled(network, batch.inputs)
        target = context.loss.wanted(free[-1], batch.targets)
        signs = (1.0, -1.0) if self.nudge == "centred" else (1.0,)
        nudge = torch.cat([torch.full_like(target, sign * self.beta) for sign in signs], 1)
        doubled = [torch.cat([tensor] * len(signs), 1) for tensor in (first, target, *free)]
        nudged = settle(
            network.blocks, doubled[0], doubled[2:], self.nudged_steps,
            lambda output: (output + nudge * doubled[1]) / (1 + nudge),
        )  # fmt: skip
        halves = [list(half) for half in zip(*(value.chunk(len(signs), 1) for value in nudged), strict=True)]
        other = halves[1] if self.nudge == "centred" else free
        c = 1 / (self.beta * len(signs))
        yield from self.contrast(network, batch.inputs, [(c, halves[0]), (-c, other)])


@dataclass(frozen=True)
class CoupledLearning(SettlingRule):
    """Coupled learning: the output is held a little nearer to the target than where it settled by itself:

        s_L = s⁰_L + β (t - s⁰_L)        ΔW = (∂E/∂W(held) - ∂E/∂W(free)) / β

    Stern et al. (2021). β = 1 holds it at the target itself: contrastive Hebbian learning.
    """

    name: ClassVar[str] = "coupled-learning"
    source: ClassVar[str] = "Stern et al. (2021), Physical Review X 11, 021045"
    search: ClassVar = {"beta": (0.1, 0.3, 0.6)}

    beta: float = 0.3

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, free = self.settled(network, batch.inputs)
        target = context.loss.wanted(free[-1], batch.targets)
        held = free[-1] + self.beta * (target - free[-1])
        start = [*free[:-1], held]
        values = settle(network.blocks, first, start, self.nudged_steps, lambda output: held)
        yield from self.contrast(network, batch.inputs, [(1 / self.beta, values), (-1 / self.beta, free)])


@dataclass(frozen=True)
class ContrastiveHebbian(CoupledLearning):
    """Contrastive Hebbian learning: Hebbian with the output held at the target, anti-Hebbian without:

        ΔW_l = s_l s_{l-1}ᵀ(free) - s_l s_{l-1}ᵀ(held)

    Movellan (1991); Xie & Seung (2003).
    """

    name: ClassVar[str] = "chl"
    source: ClassVar[str] = "Movellan (1991), Proc. 1990 Connectionist Models Summer School, 10-17"
    search: ClassVar = {"nudged_steps": (3, 6, 12)}

    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.beta != 1:
            raise CreditbenchError("contrastive Hebbian learning holds the output at the target: beta is 1.")
