"""Cascaded forward: fixed random blocks, each with a predictor of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class CascadedForward(LearningRule):
    """Blocks stay as they were drawn and a linear predictor learns on top of each (Zhao et al. 2023):

        h_l = f(W_l h_{l-1} + b_l)        y_l = P_l h_l        p = Σ_l softmax(y_l)

    fit="gradient": P_l descends the task's loss of y_l. fit="closed-form": the least squares of one-hot
    targets, P_l = Tᵀ H (HᵀH + λI)⁻¹ over all samples seen, from carried sums HᵀH [seed, units, units] and
    HᵀT [seed, units, classes]; λ is `ridge` times the mean of HᵀH's diagonal. It is solved whenever the
    number of steps has doubled, and at the end. P_l is [seed, classes, units], without bias. The network's
    output layer stays as drawn: the last hidden block's predictor stands in its place.

    No credit reaches a block, so what is gained over the last layer alone comes from reading all depths.
    (The authors also offer blocks that direct feedback alignment has trained beforehand; these are not here.)
    """

    name: ClassVar[str] = "cafo"
    source: ClassVar[str] = "Zhao et al. (2023). arXiv:2303.09728"
    search: ClassVar = {"activation": ("relu", "tanh")}

    fit: Literal["gradient", "closed-form"] = "gradient"
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        if self.fit not in ("gradient", "closed-form"):
            raise unknown_name("cafo fit", self.fit, ("gradient", "closed-form"))

    def supports(self, network: Network, task: Task) -> str | None:
        return None if len(network.blocks) > 1 else "it reads hidden blocks and this network has none"

    def init(self, network: Network, context: Context) -> State:
        zeros, seeds, predictors, sums = network.blocks[0].weight.new_zeros, network.seeds, {}, {}
        for block in network.blocks[:-1]:
            units = block.output_size
            predictors[block.name] = zeros(seeds, context.classes, units)
            sums[f"{block.name}.squares"] = zeros(seeds, units, units)
            sums[f"{block.name}.targets"] = zeros(seeds, units, context.classes)
        return State(predictors) if self.fit == "gradient" else State(carried=predictors | sums)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, carried, done = batch.inputs, dict(state.carried), context.step + 1
        wanted = one_hot(batch.targets, context.classes).to(h.dtype)
        for block in network.blocks[:-1]:
            h = block.forward(h, context).output
            read = h.flatten(2)
            if self.fit == "gradient":
                error = context.loss.gradient(read @ state.learned[block.name].mT, batch.targets)
                yield block.name, error.mT @ read
                continue
            squares = torch.baddbmm(carried[f"{block.name}.squares"], read.mT, read)
            targets = torch.baddbmm(carried[f"{block.name}.targets"], read.mT, wanted)
            carried |= {f"{block.name}.squares": squares, f"{block.name}.targets": targets}
            if done == context.steps or done & (done - 1) == 0:
                carried[block.name] = least_squares(squares, targets, self.ridge)
        return carried

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        h, total = inputs, inputs.new_zeros(())
        for block in network.blocks[:-1]:
            h = block.forward(h).output
            predictor = (state.learned if self.fit == "gradient" else state.carried)[block.name]
            total = total + torch.softmax(h.flatten(2) @ predictor.mT, -1)
        return total.div(len(network.blocks) - 1).clamp_min(1e-30).log()


def least_squares(squares: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """Of HᵀH [seed, units, units] and HᵀT [seed, units, classes]: P [seed, classes, units]."""
    size = squares.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
    damped = squares + torch.diag_embed((ridge * size).unsqueeze(-1).expand(squares.shape[:2]))
    predictor: Tensor = torch.linalg.solve(damped, targets)
    return predictor.mT
