"""Synthetic gradients: a module beside every hidden block foretells its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import one_hot

from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class SyntheticGradients(LearningRule):
    """Decoupled neural interfaces (Jaderberg et al. 2017), with linear modules that see the label (cDNI):

        ĝ_l = A_l h_l + B_l label + c_l               foretells a sample's ∂C/∂h_l
        δ_l = ĝ_l ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ        g_{l-1} = W_lᵀ δ_l
        L_l = mean_i |ĝ_l - g_l|² / 2                 the module's loss; at the top g is the true gradient

    A block learns as soon as its own forward pass is done; what its module is corrected by comes one block
    later, itself made from that block's module. A_l is [seed, units, units]; for images [seed, channels,
    channels], the same at every position. B_l and c_l, one row per class, [seed, classes, units], hold for
    every position apart. All start at zero, so that blocks stand still until the truth has come down to them.
    """

    name: ClassVar[str] = "dni"
    source: ClassVar[str] = "Jaderberg et al. (2017), ICML. arXiv:1608.05343"
    search: ClassVar = {"activation": ("relu", "tanh")}

    def init(self, network: Network, context: Context) -> State:
        learned = {}
        for block in network.blocks[:-1]:
            zeros, (units, *_) = block.weight.new_zeros, block.output_shape
            learned[f"{block.name}.by_activity"] = zeros(network.seeds, units, units)
            learned[f"{block.name}.by_label"] = zeros(network.seeds, context.classes, block.output_size)
        return State(learned)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        inputs, samples = batch.inputs, batch.targets.shape[1]
        label = one_hot(batch.targets, context.classes).to(inputs.dtype)
        below: tuple[Block, Tensor, Tensor] | None = None  # the block before, its output, what was foretold
        for block in network.blocks[:-1]:
            trace = block.forward(inputs, context)
            foretold = self.foretell(block, trace.output, batch.targets, state)
            update, change = block.pullback(trace, foretold / samples)
            if below:
                yield from self.corrected(*below, change * samples, label)
            yield block, update
            below, inputs = (block, trace.output, foretold), trace.output
        last = network.blocks[-1]
        trace = last.forward(inputs, context)
        update, change = last.pullback(trace, context.loss.gradient(trace.output, batch.targets))
        if below:
            yield from self.corrected(*below, change * samples, label)
        yield last, update

    def foretell(self, block: Block, h: Tensor, targets: Tensor, state: State) -> Tensor:
        """ĝ, every sample's gradient at a block's output h, of h's shape."""
        by_label = state.learned[f"{block.name}.by_label"]
        rows = by_label.gather(1, targets.unsqueeze(-1).expand(-1, -1, block.output_size)).view_as(h)
        mapped = units_last(h) @ state.learned[f"{block.name}.by_activity"].mT
        return rows + mapped.view(*h.shape[:2], *h.shape[3:], -1).movedim(-1, 2)

    def corrected(self, block: Block, h: Tensor, foretold: Tensor, true: Tensor, label: Tensor) -> Step:
        """The module's updates, from what it foretold and what has come down since."""
        error = (foretold - true) / len(h[0])
        yield f"{block.name}.by_activity", units_last(error).mT @ units_last(h)
        yield f"{block.name}.by_label", label.mT @ error.flatten(2)


def units_last(h: Tensor) -> Tensor:
    """[seed, batch, units, ...] -> [seed, batch and positions, units]."""
    return h.movedim(2, -1).flatten(1, -2)
