"""Counter-current learning: a second network runs from the labels down, and both meet at every block."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import elu

from creditbench.baselines.rules.target_propagation import drawn_back
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class CounterCurrentLearning(LearningRule):
    """Features of samples and of classes are to agree just where the label says so:

        h_l = f_l(h_{l-1})        c_L = one-hot classes,  c_{l-1} = elu(V_l c_l)
        hidden   ½ k_l ⟨(S_l - Y)²⟩,  S_l = h_l c_lᵀ / s_l        output   the task's loss

    Kao & Hariharan (2024). c_l is [seed, classes, units]: one row per class for the whole batch. Neither
    network hears of the other but at its own block, and nothing passes between blocks. similarity: scaled
    has s_l = √units and k_l = classes; paper has s_l = 1, k_l = 256 / units. ⟨⟩ is over batch and classes.
    """

    name: ClassVar[str] = "ccl"
    source: ClassVar[str] = "Kao & Hariharan (2024), NeurIPS. arXiv:2409.19841"
    network_choices: ClassVar = {"activation": "elu"}
    search: ClassVar = {"activation": ("elu", "relu", "tanh")}

    similarity: Literal["scaled", "paper"] = "scaled"

    def __post_init__(self) -> None:
        if self.similarity not in ("scaled", "paper"):
            raise CreditbenchError(f"similarity is scaled or paper, not '{self.similarity}'.")

    def init(self, network: Network, context: Context) -> State:
        return State({block.name: drawn_back(block, context.noise, 1.0) for block in network.blocks[1:]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        rows = self._from_labels(network, state, context)
        below = batch.inputs
        for block, above in zip(network.blocks[:-1], network.blocks[1:], strict=True):
            trace = block.forward(below, context)
            change, other = self._meet(trace.output.flatten(2), rows[block.name], batch.targets)
            yield block, block.update(trace, change.view_as(trace.output))
            delta = torch.ops.aten.elu_backward(other, 1.0, 1, 1, True, rows[block.name])
            yield above.name, delta.mT @ rows[above.name]  # [seed, units, units above]
            below = trace.output
        trace = network.blocks[-1].forward(below, context)
        error = context.loss.gradient(trace.output, batch.targets)
        yield network.blocks[-1], network.blocks[-1].update(trace, error)

    def _from_labels(self, network: Network, state: State, context: Context) -> dict[str, Tensor]:
        """c_l by the name of block l, the output's one-hot rows included."""
        last = network.blocks[-1]
        row = torch.eye(context.classes, device=last.weight.device, dtype=last.weight.dtype)
        rows = {last.name: row.expand(network.seeds, -1, -1)}
        for block, above in zip(reversed(network.blocks[:-1]), reversed(network.blocks[1:]), strict=True):
            rows[block.name] = elu(rows[above.name] @ state.learned[above.name].mT)
        return rows

    def _meet(self, features: Tensor, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss's slope at h_l, [seed, batch, units], and at c_l, [seed, classes, units]."""
        units, (samples, classes) = features.shape[-1], (features.shape[1], rows.shape[1])
        divisor, weight = (units**0.5, classes) if self.similarity == "scaled" else (1.0, 256 / units)
        scores = features @ rows.mT / divisor  # [seed, batch, classes]
        scores.scatter_add_(2, targets.unsqueeze(2), scores.new_full((*targets.shape, 1), -1.0))
        slope = scores * (weight / (divisor * samples * classes))
        return slope @ rows, slope.mT @ features
