"""Sign-symmetry: feedback weights share the signs of the forward weights and nothing else."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from creditbench.baselines.rules.feedback import fed_back, like_weights
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step

MAGNITUDES = ("uniform", "batch", "frozen")


@dataclass(frozen=True)
class SignSymmetry(LearningRule):
    """Backpropagation in which M_l ⊙ sign(W_l)ᵀ stands for W_lᵀ on the way back:

        δ_L = ∂C/∂a_L        δ_l = ((M_{l+1} ⊙ sign W_{l+1})ᵀ δ_{l+1}) ⊙ f'(a_l)        ΔW_l = δ_l h_{l-1}ᵀ

    Liao, Leibo & Poggio (2016); Xiao et al. (2019). One bit per weight is transported. M_l ≥ 0, of W_l's
    shape [seed, out, in]: uniform (uSF) is √(2 / (fan-in + fan-out)) everywhere; batch (brSF) is |U(-s, s)|,
    s = 1 / sqrt(fan-in), drawn anew for every batch; frozen (frSF) the same, drawn once.
    """

    name: ClassVar[str] = "sign-symmetry"
    source: ClassVar[str] = "Liao, Leibo & Poggio (2016), AAAI. arXiv:1510.05067"
    search: ClassVar = {"activation": ("relu", "tanh"), "magnitude": MAGNITUDES}

    magnitude: Literal["uniform", "batch", "frozen"] = "frozen"

    def __post_init__(self) -> None:
        if self.magnitude not in MAGNITUDES:
            raise CreditbenchError(f"magnitude is one of {', '.join(MAGNITUDES)}, not '{self.magnitude}'.")

    def init(self, network: Network, context: Context) -> State:
        if self.magnitude != "frozen":
            return State()
        return State(carried={b.name: like_weights(b, context.noise).abs() for b in network.blocks[1:]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        feedback = {b.name: self._magnitude(b, state, context) * b.weight.sign() for b in network.blocks[1:]}
        change = context.loss.gradient(traces[-1].output, batch.targets)
        yield from fed_back(network.blocks, traces, change, feedback)

    def _magnitude(self, block: Block, state: State, context: Context) -> Tensor | float:
        if self.magnitude == "frozen":
            return state.carried[block.name]
        if self.magnitude == "batch":
            return like_weights(block, context.noise).abs()
        kernel = block.weight[0, 0, 0].numel()  # 1 for a linear block
        fan_in, fan_out = block.weight[0, 0].numel(), block.weight.shape[1] * kernel
        return math.sqrt(2 / (fan_in + fan_out))
