"""Reward-modulated Hebb: explore, act, hear whether it was right, and keep what was done more than usual."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.node_perturbation import beside, mixes_samples
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class RewardModulatedHebb(LearningRule):
    """Three factors: the input, how far a unit went beyond its own mean, and the reward beyond its mean:

        hidden    a_l = W_l h_{l-1} + σ ξ_l                            z_l = ξ_l / σ
        output    an action k, drawn from p = softmax(W_L h_{L-1})     z_L = [k] - p
        ΔW_l = -(R - R̄) z_l h_{l-1}ᵀ        R = 1 if k is right, else 0        R̄ ← R̄ + ρ (⟨R⟩ - R̄)

    Legenstein et al. (2010). z_l h_{l-1}ᵀ is the eligibility, the derivative of the log-probability of what
    the units did, so the mean update is the gradient of the expected reward: REINFORCE with a baseline
    (Williams 1992). ξ_l is standard normal, [seed, batch, units]. Of a label the rule learns one bit, whether
    the action was right. Predictions are made without exploration. Gain and shift of normalisation stay as
    they are.
    """

    name: ClassVar[str] = "reward-hebb"
    source: ClassVar[str] = (
        "Legenstein et al. (2010), J. Neuroscience 30; Williams (1992), Machine Learning 8"
    )
    search: ClassVar = {"activation": ("relu", "tanh"), "sigma": (0.3, 1.0, 3.0)}

    sigma: float = 1.0
    baseline_rate: float = 0.05  # ρ

    def supports(self, network: Network, task: Task) -> str | None:
        return mixes_samples(network)

    def init(self, network: Network, context: Context) -> State:
        chance = network.blocks[-1].weight.new_full((network.seeds,), 1 / context.classes)
        return State(carried={"baseline": chance})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, h = batch.targets.shape[1], batch.inputs
        *hidden, last = network.blocks
        below, beyond = [], []
        for block in hidden:
            xi = context.noise.normal(samples, *block.preactivation_shape)
            below.append(h)
            beyond.append(xi / self.sigma)
            h = block.activate(block.preactivate(h) + self.sigma * xi, context).output
        scores = last.forward(h, context).output
        action = drawn(scores, context.noise.uniform(samples))
        below.append(h)
        beyond.append(context.loss.wanted(scores, action) - torch.softmax(scores, -1))
        reward = (action == batch.targets).to(scores.dtype)  # [seed, batch]
        usual = state.carried["baseline"]
        signal = (usual.unsqueeze(1) - reward) / samples
        for block, pre, z in zip(network.blocks, below, beyond, strict=True):
            yield block, block.synaptic_update(pre, beside(signal, z) * z)
        return {"baseline": usual + self.baseline_rate * (reward.mean(1) - usual)}


def drawn(scores: Tensor, chance: Tensor) -> Tensor:
    """An action from softmax(scores) by a uniform number of [0, 1): [seed, batch], int64."""
    passed = torch.softmax(scores, -1).cumsum(-1) <= chance.unsqueeze(-1)
    return passed.sum(-1).clamp_(max=scores.shape[-1] - 1)  # rounding may leave the sum below 1
