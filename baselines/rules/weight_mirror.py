"""Weight mirror: feedback weights learn the forward weights from what noise does on its way through them."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from creditbench.baselines.rules.feedback import fed_back, like_weights
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class WeightMirror(LearningRule):
    """Feedback alignment, and after each batch a mirror phase in which every block sees noise alone:

        ξ ~ U(-½, ½) / σ        y = W_l ξ + b_l        B_l ← (1 - κ) B_l + κ ⟨y ξᵀ⟩

    Akrout et al. (2019). E[y ξᵀ] = W_l when the noise has unit variance, so B_l, in W_l's shape [seed, out,
    in], follows W_l up to the error of averaging over about 1/κ batches. Stated deviations: y is the
    pre-activation (their noise is so weak that units stay linear), and decay and rate are one number, which
    gives B_l the weights' own scale. For a convolution ⟨y ξᵀ⟩ is also over the positions where kernel and
    image meet.
    """

    name: ClassVar[str] = "weight-mirror"
    source: ClassVar[str] = "Akrout et al. (2019), NeurIPS. arXiv:1904.05391"
    search: ClassVar = {"activation": ("relu", "tanh"), "mirror_rate": (0.003, 0.01, 0.03)}

    mirror_rate: float = 0.01

    def init(self, network: Network, context: Context) -> State:
        return State(carried={b.name: like_weights(b, context.noise) for b in network.blocks[1:]})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        yield from fed_back(network.blocks, traces, change, state.carried)
        samples = batch.targets.shape[1]
        mirrored = {}
        for block in network.blocks[1:]:
            noise = 12**0.5 * (context.noise.uniform(samples, *block.input_shape) - 0.5)  # unit variance
            seen = block.preactivate(noise)
            one = (torch.ones_like(sample[:, :1]) for sample in (noise, seen))
            meetings = samples * block.synaptic_update(*one)["weight"]  # terms in each sum; fewer at borders
            product = block.synaptic_update(noise, seen)["weight"] / meetings
            mirrored[block.name] = state.carried[block.name].lerp(product, self.mirror_rate)
        return mirrored
