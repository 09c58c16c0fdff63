"""Kolen-Pollack: feedback weights learn by the forward weights' own update, until both are the same."""

from dataclasses import dataclass
from typing import ClassVar

from creditbench.baselines.rules.feedback import like_weights
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class KolenPollack(LearningRule):
    """Feedback alignment in which W_l and B_l get one outer product and one decay:

        δ_l = (B_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)    ΔW_l = δ_l h_{l-1}ᵀ + λ W_l    ΔB_l = δ_l h_{l-1}ᵀ + λ B_l

    Kolen & Pollack (1994); Akrout et al. (2019). W_l - B_l shrinks by 1 - ηλ in every step, so that B_l,
    in W_l's shape [seed, out, in], becomes W_l without being told it: both ends of the synapse pair see
    δ_l and h_{l-1}. λ is a decoupled decay. Under Adam the difference shrinks by the same factor, because
    both have the same moments.
    """

    name: ClassVar[str] = "kolen-pollack"
    source: ClassVar[str] = "Akrout et al. (2019), NeurIPS. arXiv:1904.05391"
    search: ClassVar = {"activation": ("relu", "tanh"), "decay": (0.01, 0.1, 1.0)}

    decay: float = 0.1
    feedback_scale: float = 1.0

    def weight_decay(self) -> float:
        return self.decay

    def init(self, network: Network, context: Context) -> State:
        hidden = network.blocks[1:]
        return State(learned={b.name: like_weights(b, context.noise, self.feedback_scale) for b in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        for block, trace in reversed(list(zip(network.blocks[1:], traces[1:], strict=True))):
            update, change = block.pullback(trace, change, weight=state.learned[block.name])
            yield block, update
            yield block.name, update["weight"]
        first = network.blocks[0]
        yield first, first.update(traces[0], change)
