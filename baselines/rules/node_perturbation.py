"""Node perturbation: noise at every unit, one number back, and the noise that helped is kept."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Dropout
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


def with_and_against(preactivation: Tensor, noise: Tensor) -> Tensor:
    """a + ξ and a - ξ side by side, [seed, 2 batch, ...]; below the first noise both are one, [seed, batch,
    ...], and are computed once."""
    samples = noise.shape[1]
    pairs = preactivation.reshape(len(noise), -1, samples, *noise.shape[2:])
    return (pairs + torch.stack([noise, -noise], 1)).flatten(1, 2)


def halfway(pairs: Tensor, samples: int) -> Tensor:
    """½(h⁺ + h⁻): [seed, batch or 2 batch, ...] -> [seed, batch, ...]."""
    return pairs.reshape(len(pairs), -1, samples, *pairs.shape[2:]).mean(1)


def rise(outputs: Tensor, targets: Tensor, context: Context) -> Tensor:
    """½(C⁺ - C⁻), each sample's: [seed, batch]."""
    plus, minus = context.loss.values(outputs, torch.cat([targets, targets], 1)).chunk(2, 1)
    return (plus - minus) / 2


def beside(per_sample: Tensor, activity: Tensor) -> Tensor:
    """[seed, batch] -> [seed, batch, 1, ...], to stand beside an activity."""
    return per_sample.view(*per_sample.shape, *(1,) * (activity.dim() - 2))


def drops_units(network: Network) -> str | None:
    """Why networks with dropout are refused."""
    stages = (s for block in network.blocks if isinstance(block, WeightedBlock) for s in block.stages)
    if any(isinstance(stage, Dropout) for stage in stages):
        return "dropout would move the loss by more than the perturbation does; choose dropout=0"
    return None


def mixes_samples(network: Network) -> str | None:
    """Why networks are refused in which a sample's loss depends on what the others explore."""
    if any(block.mixes_samples for block in network.blocks):
        return (
            "batch normalisation mixes the samples' noise, and each sample's loss has to answer to its own;"
            " choose normalisation=layer or none"
        )
    return None


@dataclass(frozen=True)
class NodePerturbation(LearningRule):
    """The loss is looked at twice, with noise on all pre-activations and with the same noise reversed:

        a_l^± = W_l h_{l-1}^± ± ξ_l        ξ_l ~ N(0, σ²)
        ΔW_l = (C⁺ - C⁻)/2σ² ξ_l ½(h_{l-1}^+ + h_{l-1}^-)ᵀ

    Dembo & Kailath (1990), Werfel, Xie & Seung (2005); in antithetic pairs. C^± is the sample's own loss and
    ξ_l is [seed, batch, units]: what a block is told is one number per sample. The mean of the update over ξ
    is the gradient but for terms in σ², its variance grows with the number of units. Gain and shift of
    normalisation have no nodes of their own and stay as they are.
    """

    name: ClassVar[str] = "node-perturbation"
    source: ClassVar[str] = (
        "Dembo & Kailath (1990), IEEE TNN 1; Werfel, Xie & Seung (2005), Neural Comput. 17"
    )
    search: ClassVar = {"activation": ("relu", "tanh")}

    sigma: float = 0.01

    def supports(self, network: Network, task: Task) -> str | None:
        return mixes_samples(network) or drops_units(network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, h = batch.targets.shape[1], batch.inputs
        below, noise = [], []
        for block in network.blocks:
            below.append(halfway(h, samples))
            noise.append(self.sigma * context.noise.normal(samples, *block.preactivation_shape))
            h = block.activate(with_and_against(block.preactivate(h), noise[-1]), context).output
        signal = rise(h, batch.targets, context) / (self.sigma**2 * samples)
        for block, pre, xi in zip(network.blocks, below, noise, strict=True):
            yield block, block.synaptic_update(pre, beside(signal, xi) * xi)


@dataclass(frozen=True)
class DecorrelatedNodePerturbation(LearningRule):
    """Node perturbation on inputs that each block learns to decorrelate, so that what one synapse is credited
    with is not what its neighbours did:

        x_l = R_l h_{l-1}        a_l^± = W_l x_l^± ± ξ_l        ΔW_l = (C⁺ - C⁻)/2σ² ξ_l ½(x_l^+ + x_l^-)ᵀ
        R_l ← R_l - α (⟨x_l x_lᵀ⟩ - diag⟨x_l²⟩) R_l

    Dalm et al. (2023); the decorrelation is Ahmad, Schrader & van Gerven's (2022). R_l is [seed, inputs,
    inputs], at first the identity, and learns at every step from the mean over the batch and each pair;
    inference goes through it as well.
    """

    name: ClassVar[str] = "decorrelated-node-perturbation"
    source: ClassVar[str] = "Dalm, van Gerven & Ahmad (2023). arXiv:2310.00965"
    search: ClassVar = {"activation": ("relu", "tanh"), "decorrelation_rate": (1e-4, 1e-3)}

    sigma: float = 0.01
    decorrelation_rate: float = 1e-3  # α

    def supports(self, network: Network, task: Task) -> str | None:
        if any(block.weight.dim() != 3 for block in network.blocks):
            return "it decorrelates the inputs of fully connected blocks; choose mlp"
        return mixes_samples(network) or drops_units(network)

    def init(self, network: Network, context: Context) -> State:
        carried = {}
        for block in network.blocks:
            inputs = block.weight.shape[-1]
            eye = torch.eye(inputs, dtype=block.weight.dtype, device=block.weight.device)
            carried[block.name] = eye.repeat(network.seeds, 1, 1)
        return State(carried=carried)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, h = batch.targets.shape[1], batch.inputs
        below, noise, carried = [], [], {}
        for block in network.blocks:
            matrix = state.carried[block.name]
            x = decorrelated(h, matrix)
            below.append(halfway(x, samples))
            noise.append(self.sigma * context.noise.normal(samples, *block.preactivation_shape))
            pair = with_and_against(block.preactivate(x.unflatten(2, block.input_shape)), noise[-1])
            h = block.activate(pair, context).output
            carried[block.name] = matrix - self.decorrelation_rate * self.overlap(below[-1], matrix)
        signal = rise(h, batch.targets, context) / (self.sigma**2 * samples)
        for block, pre, xi in zip(network.blocks, below, noise, strict=True):
            yield block, block.synaptic_update(pre, beside(signal, xi) * xi)
        return carried

    def overlap(self, x: Tensor, matrix: Tensor) -> Tensor:
        """(⟨x xᵀ⟩ - diag⟨x²⟩) R, through the samples: they are fewer than inputs."""
        return x.mT @ (x @ matrix) / x.shape[1] - x.square().mean(1).unsqueeze(-1) * matrix

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        h = inputs
        for block in network.blocks:
            x = decorrelated(h, state.carried[block.name])
            h = block.forward(x.unflatten(2, block.input_shape)).output
        return h


def decorrelated(h: Tensor, matrix: Tensor) -> Tensor:
    """R h: [seed, batch, inputs]."""
    return h.flatten(2) @ matrix.mT
