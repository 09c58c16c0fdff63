"""Deep feedback control: a controller pushes all blocks at once until the output is where it should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.feedback import to_every_block
from creditbench.baselines.rules.forward_gradient import refusal, weights_alone
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Tensors, Trace


@dataclass(frozen=True)
class DeepFeedbackControl(LearningRule):
    """A leaky controller u drives the output to r* = r - λ ∂C/∂r, and weights learn what makes it needless:

        τ v̇_l = -v_l + W_l φ(v_{l-1}) + Q_l u        τ_u u̇ = r* - φ(v_L) - α u
        settled   u = (J Q + α I)⁻¹ (r* - r)         J = [∂r/∂v_1 ... ∂r/∂v_L]
        ΔW_l = -(1/λ) (φ(v_l) - φ(W_l φ(v_{l-1}))) φ(v_{l-1})ᵀ = -(1/λ) (φ' ⊙ Q_l u) φ(v_{l-1})ᵀ

    Meulemans et al. (2021), their analytic steady state, to first order in λ, which then drops out: one
    linear system of [classes, classes] per sample. u is [seed, batch, classes], Q_l [seed, classes, units].
    J Q, what each control does to the output, goes up through the weights as tangents do; nothing comes down
    but u. With Q = Jᵀ the push Q u is the damped Gauss-Newton step: as α falls the least push that puts the
    output on target (Q with Jᵀ's column space is enough), and as α grows the loss's slope by v, over α.

    Feedback learns while noise ξ shakes every v_l and the controller holds the output still:

        u = -(J Q + α I)⁻¹ J ξ        ΔQ_l = ⟨(Q_l u + ξ_l) uᵀ⟩ + β Q_l        ξ ~ N(0, 1)

    which turns its columns into those of Jᵀ. Stated deviations: noise and control have settled, too (theirs
    are filtered in time); both phases on every batch, with one α; and in place of epochs that train feedback
    alone, Q starts from the controller acting on the output directly, Q_L = I, and weakly on hidden blocks.
    """

    name: ClassVar[str] = "dfc"
    source: ClassVar[str] = "Meulemans et al. (2021), NeurIPS. arXiv:2106.07887"
    search: ClassVar = {"activation": ("relu", "tanh"), "damping": (0.1, 1.0, 10.0)}

    damping: float = 1.0  # α
    decay: float = 0.1  # β

    def __post_init__(self) -> None:
        if self.damping <= 0:
            raise CreditbenchError(f"damping is {self.damping}; control settles with a leak above 0.")

    def supports(self, network: Network, task: Task) -> str | None:
        return refusal(network)

    def init(self, network: Network, context: Context) -> State:
        feedback = {b.name: to_every_block(b, context.classes, context.noise) for b in network.blocks[:-1]}
        last = network.blocks[-1].weight
        direct = torch.eye(context.classes, dtype=last.dtype, device=last.device)
        feedback[network.blocks[-1].name] = direct.repeat(network.seeds, 1, 1)
        return State(learned=feedback)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples = batch.targets.shape[1]
        traces = network.forward(batch.inputs, context)
        noise = [context.noise.normal(samples, *block.output_shape) for block in network.blocks]
        controlled, shaken = self.responses(network, traces, state.learned, noise)
        error = context.loss.gradient(traces[-1].output, batch.targets)  # (r - r*) / λ, over the batch's size
        leak = self.damping * torch.eye(context.classes, dtype=error.dtype, device=error.device)
        both = torch.linalg.solve(controlled + leak, -torch.stack([error, shaken], -1))
        teaching, calming = both.unbind(-1)  # u of either phase
        for block, trace, shaking in zip(network.blocks, traces, noise, strict=True):
            feedback = state.learned[block.name]
            yield block, block.update(trace, -(teaching @ feedback))
            moved = calming @ feedback + shaking  # apical potential [seed, batch, units]
            yield block.name, calming.mT @ moved / samples + self.decay * feedback

    def responses(
        self, network: Network, traces: Sequence[Trace], feedback: Tensors, noise: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What the output does for each control, J Q [seed, batch, classes, controls], and for the noise,
        J ξ [seed, batch, classes]: all of them go up side by side."""
        below: Tensor | None = None  # inputs do not move
        for block, trace, shaking in zip(network.blocks, traces, noise, strict=True):
            pushes = feedback[block.name].unsqueeze(1).expand(-1, shaking.shape[1], -1, -1)
            moved = torch.cat([pushes, shaking.unsqueeze(2)], 2)  # of v_l: [seed, batch, controls + 1, units]
            if below is not None:
                moved = moved + weights_alone(block, below.flatten(1, 2)).view_as(moved)
            slope, _ = block.deactivate(trace, torch.ones_like(trace.output))
            below = slope.unsqueeze(2) * moved
        assert below is not None
        return below[:, :, :-1].mT, below[:, :, -1]
