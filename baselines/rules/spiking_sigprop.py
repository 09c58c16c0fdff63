"""Signal propagation on spikes: the local loss at the membrane, with and without a surrogate."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from creditbench.baselines.networks.neurons import SURROGATES, Membrane
from creditbench.baselines.networks.spiking import SpikingBlock
from creditbench.baselines.rules.sigprop.losses import LOSSES, SIMILARITIES, Terms
from creditbench.baselines.rules.sigprop.rows import ClassRows, one_hot
from creditbench.baselines.rules.through_time import (
    Sums,
    Traces,
    error_at_each_step,
    parts,
    refuse_other_than_spiking,
    refuse_recurrent,
)
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Tensors


@dataclass(frozen=True)
class _SpikingSignalPropagation(LearningRule):
    """Both streams through the same weights and neurons, step by step; see the two rules below."""

    temporal: ClassVar[bool] = True
    own_networks: ClassVar = ("snn",)
    search: ClassVar = {"similarity": ("dot", "cosine")}

    loss: Literal["top-k", "max-all", "input-label"] = "top-k"
    similarity: Literal["dot", "cosine", "distance"] = "cosine"
    temperature: float = 0.1  # of the cosine

    def __post_init__(self) -> None:
        known = ("top-k", "max-all", "input-label")
        if self.loss not in known:
            raise unknown_name(f"{self.name} loss", self.loss, known)
        if self.similarity not in SIMILARITIES:
            raise unknown_name(f"{self.name} similarity", self.similarity, SIMILARITIES)

    def supports(self, network: Network, task: Task) -> str | None:
        return refuse_other_than_spiking(self, network) or refuse_recurrent(self, network)

    def init(self, network: Network, context: Context) -> State:
        drawn = 2 * context.noise.uniform(context.classes, *network.blocks[0].preactivation_shape) - 1
        return State(learned={"generator": drawn})  # a class's own current, as wide as a unit input's

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = parts(network)
        generator = state.learned["generator"]  # [seed, classes, *preactivation_shape]
        rows = ClassRows(batch.targets, one_hot(batch.targets, context.classes, generator.dtype))
        samples, first = batch.targets.shape[1], hidden[0]
        states: dict[str, Tensors] = {}
        traces_in, sums, source = Traces(), Sums(), torch.zeros_like(generator)
        for x in first.arrivals(batch.inputs, context):
            sums.steps += 1
            for block in hidden:
                current = block.preactivate(x)
                if block is first:
                    current = torch.cat([current, generator.unsqueeze(0)], 2)
                before = states.get(block.name) or block.neuron.resting(current[0])
                trace, states[block.name] = block.fire(current, before)
                delta = self._delta(block, trace.saved[0], rows, context)  # [1, seed, batch + classes, ...]
                traces_in.see(block.name, x, block.leak)
                if block is first:  # W_1 meets the inputs, the generator a 1 at every step
                    source.add_(delta[0, :, samples:], alpha=traces_in.ones[block.name])
                    delta = delta[:, :, :samples].contiguous()
                sums.add(block.name, traces_in.update(block, delta))
                x = trace.output
            h = x[:, :, :samples]
            resting = states.get(readout.name) or readout.initial_state(h)
            trace, states[readout.name] = readout.step(h, resting)
            traces_in.see(readout.name, h, readout.leak)
            sums.add(
                readout.name, traces_in.update(readout, error_at_each_step(trace.output, batch, context))
            )
        yield from sums.means(network)
        yield "generator", source / sums.steps

    def _delta(self, block: SpikingBlock, membrane: Membrane, rows: ClassRows, context: Context) -> Tensor:
        """The local loss's derivative by the potentials of both streams."""
        value, slope = self.at_membrane(block, membrane)
        both = value[0].flatten(2)  # [seed, batch + classes, units]
        h, t = both[:, : rows.labels.shape[1]], both[:, rows.labels.shape[1] :]
        similarity = SIMILARITIES[self.similarity]
        terms = Terms(rows, lambda: t, similarity, self.temperature, 1, context.noise)
        change = torch.cat(LOSSES[self.loss](h, t, terms), 1).view_as(value)
        return change if slope is None else change * slope

    @abstractmethod
    def at_membrane(self, block: SpikingBlock, membrane: Membrane) -> tuple[Tensor, Tensor | None]:
        """What the local loss sees of a membrane, and its derivative by the potential (None: 1)."""


@dataclass(frozen=True)
class SignalPropagationAtVoltage(_SpikingSignalPropagation):
    """Learning by a forward pass alone, from the membrane's potential and no surrogate of the spike (Kohan,
    Rietman & Siegelmann 2022):

        v_l^t = α v_l^{t-1} + W_l s_{l-1}^t - reset    s: spikes, of the input's stream h or the targets' t
        ΔW_l = 1/T Σ_t ∂L(v_{h,l}^t, v_{t,l}^t)/∂v ⊗ s̄_{l-1}^t        s̄^t = α s̄^{t-1} + s^t

    The input's stream and one target stream for each class, which begins as the current S c, pass through the
    same weights and neurons, [seed, batch + classes, units]; at every step each hidden block has a local loss
    that compares the two on its membranes. The potential is linear in the weights, its past spikes given, so
    nothing about a spike is ever differentiated. One moment is held at a time, and no block waits for
    another. L, similarity and temperature are those of the rule sigprop; the readout learns from the task's
    loss.
    """

    name: ClassVar[str] = "sigprop-voltage"
    source: ClassVar[str] = "Kohan, Rietman & Siegelmann (2022), IEEE TNNLS. arXiv:2204.01723"

    def at_membrane(self, block: SpikingBlock, membrane: Membrane) -> tuple[Tensor, Tensor | None]:
        return membrane.potential, None


@dataclass(frozen=True)
class SignalPropagationAtSurrogate(_SpikingSignalPropagation):
    """As sigprop-voltage, with the loss at f(u), the smooth function that stands for the spike:

        ΔW_l = 1/T Σ_t ∂L(f(u_h), f(u_t))/∂f ⊙ f'(u) ⊗ s̄^t

    u is how far the potential is above its threshold. The loss stands before the spike, not behind it.
    """

    name: ClassVar[str] = "sigprop-surrogate"
    source: ClassVar[str] = "Kohan, Rietman & Siegelmann (2022), IEEE TNNLS. arXiv:2204.01723"

    def at_membrane(self, block: SpikingBlock, membrane: Membrane) -> tuple[Tensor, Tensor | None]:
        u, surrogate = block.neuron.above(membrane), SURROGATES[block.neuron.surrogate]
        return surrogate.value(u), surrogate.slope(u)
