"""Spiking networks: blocks of spiking neurons and a leaky readout.

Activities between blocks are [time, seed, batch, *neurons], indexed in this order; memory has the seeds
first, so that all moments of a seed go through its weights as one batch. See `suite.types.TemporalBlock`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from creditbench.baselines.networks.coding import Coding
from creditbench.baselines.networks.neurons import (
    Membrane,
    Neuron,
    Spiking,
    folded,
    recurrent_update,
    unfolded,
)
from creditbench.baselines.networks.pooling import Pooling
from creditbench.baselines.networks.synapses import Convolution, Linear, uniform
from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.phases import in_phase
from creditbench.suite.types import Block, Context, Shape, TemporalBlock, Tensors, Trace

# ----------------------------------------------------------------------------- blocks


@dataclass(frozen=True, kw_only=True)
class _Synaptic(TemporalBlock):
    """Weights along time: all moments at once, and a current that never changes once for all of them.

    coding: None but in the first block of a network for static inputs; `first` says whether it is first."""

    synapses: Linear | Convolution
    first: bool = False
    coding: Coding | None = None
    gain: float = 1.0  # initial weights are torch's default for linear layers, times this

    @property
    def preactivation_shape(self) -> Shape:
        return self.synapses.output_shape

    @property
    @abstractmethod
    def leak(self) -> float:
        """What is left of the potential a step later."""

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {name: self.gain * tensor for name, tensor in self.synapses.initial(generator).items()}

    def arrivals(self, inputs: Tensor, context: Context | None = None) -> Iterator[Tensor]:
        if self.coding is not None:
            yield from self.coding.moments(inputs, context)
        else:
            for moment in inputs.unbind(2):
                yield moment.unsqueeze(0)

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        """From the initial state on. inputs: [time, seed, batch, *shape]; in the first block as a batch holds
        them, [seed, batch, *input_shape]."""
        x = inputs
        if self.first:
            if self.coding is None:
                x = inputs.movedim(2, 1).contiguous().movedim(1, 0)
            else:
                x = self.coding.sequence(inputs, context)
        return replace(self.activate(self.preactivate(x), context), inputs=x)

    def preactivate(self, inputs: Tensor) -> Tensor:
        if _constant(inputs):
            return self._weighed(inputs[:1]).expand(len(inputs), *(-1,) * (2 + len(self.preactivation_shape)))
        return self._weighed(inputs)

    def _weighed(self, inputs: Tensor) -> Tensor:
        own = self.parameters
        return unfolded(self.synapses.forward(folded(inputs), own["weight"], own["bias"]), len(inputs))

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        if _constant(inputs):
            return self.synapses.update(inputs[0], delta.sum(0))
        return self.synapses.update(folded(inputs), folded(delta))

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        through = self.weight if weight is None else weight
        return unfolded(self.synapses.transport(folded(delta), through), len(delta))


B = TypeVar("B", bound=_Synaptic)


def _constant(sequence: Tensor) -> bool:
    """Whether one moment stands for all of them."""
    return sequence.stride(0) == 0 and len(sequence) > 1


@dataclass(frozen=True, kw_only=True)
class SpikingBlock(_Synaptic):
    """Weights, spiking neurons and, behind a convolution, pooling: spikes [time, seed, batch, *shape]."""

    neuron: Neuron
    recurrent: bool = False  # R: [seed, neurons, neurons], from the block's spikes a step before
    pooling: Pooling | None = None

    @cached_property
    def output_shape(self) -> Shape:
        shape = self.preactivation_shape
        return self.pooling.output_shape(shape) if self.pooling else shape

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        parameters = super().initial(generator)
        if self.recurrent:
            (neurons,) = self.preactivation_shape
            own = uniform((neurons, neurons), neurons, generator)
            parameters["recurrent"] = own.fill_diagonal_(0)
        return parameters

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        return self._spiking(preactivation, None)

    def initial_state(self, inputs: Tensor) -> dict[str, Tensor]:
        return self.neuron.resting(inputs.new_empty(*inputs.shape[1:3], *self.preactivation_shape))

    @property
    def leak(self) -> float:
        return self.neuron.decay

    def step(self, inputs: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        trace, after = self.fire(self._weighed(inputs), state)
        return replace(trace, inputs=inputs), after

    @in_phase("forward")
    def fire(self, current: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        """As `step`, from the current on, [time, seed, batch, *preactivation_shape]."""
        trace = self._spiking(current, state)
        membrane: Membrane = trace.saved[0]
        after = {"potential": membrane.potential[-1], "spikes": membrane.spikes[-1]}
        if membrane.adaptation is not None:
            after["adaptation"] = membrane.adaptation[-1]
        return trace, after

    def _spiking(self, current: Tensor, state: Tensors | None) -> Trace:
        before = None if state is None else state["spikes"]
        own = self.parameters.get("recurrent")
        z, *kept = Spiking.apply(current, own, self.neuron, state)  # type: ignore[no-untyped-call]
        membrane = Membrane(kept[0], z.detach(), kept[1] if len(kept) > 1 else None, before)
        if self.pooling is None:
            return Trace(None, z, (membrane, None))
        pooled, where = self.pooling.forward(folded(z), {}, {}, None)
        return Trace(None, unfolded(pooled, len(z)), (membrane, where))

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Back through pooling, spikes, time and recurrent weights: backpropagation through time."""
        return self._back(trace, change, self.parameters.get("recurrent"))

    @in_phase("credit")
    def eligible(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `deactivate`, but for what a neuron does to others through recurrent weights: what a synapse's
        eligibility trace knows, which goes forward in time and needs nothing of other neurons."""
        return self._back(trace, change, None)

    def _back(
        self, trace: Trace, change: Tensor, recurrent: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        membrane, where = trace.saved
        if self.pooling is not None:
            change = unfolded(self.pooling.pullback(where, folded(change), {})[0], len(change))
        delta = self.neuron.back(change, membrane, recurrent)
        own = {"recurrent": recurrent_update(membrane, delta)} if self.recurrent else {}
        return delta, own


@dataclass(frozen=True, kw_only=True)
class LeakyReadout(_Synaptic):
    """Neurons that integrate and never spike: y_t = κ y_{t-1} + W z_t + b.

    The network's output is the mean of y_t over time, [seed, batch, classes]; a trace's `saved` holds all
    y_t, [time, seed, batch, classes]."""

    decay: float = 0.9  # κ, per step

    @property
    def leak(self) -> float:
        return self.decay

    @property
    def output_shape(self) -> Shape:
        return self.preactivation_shape

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        y = self._integrated(preactivation, None)
        return Trace(None, y.mean(0), (y,))

    def initial_state(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"potential": inputs.new_zeros(*inputs.shape[1:3], *self.preactivation_shape)}

    def step(self, inputs: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        y = self._integrated(self._weighed(inputs), state["potential"])
        return Trace(inputs, y, (y,)), {"potential": y[-1]}

    def _integrated(self, current: Tensor, y: Tensor | None) -> Tensor:
        potentials: list[Tensor] = []
        for drive in current.unbind():
            y = drive if y is None else torch.add(drive, y, alpha=self.decay)
            potentials.append(y)
        return torch.stack(potentials)

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """change: at the mean, [seed, batch, classes], or at every step, [time, seed, batch, classes]. Back:
        its sum over what is still to come, less by κ with every step."""
        (y,) = trace.saved
        at_each = (change / len(y)).expand_as(y) if change.dim() < y.dim() else change
        later: Tensor | None = None
        deltas: list[Tensor] = []
        for own in reversed(at_each.unbind()):
            later = own if later is None else torch.add(own, later, alpha=self.decay)
            deltas.append(later)
        return torch.stack(deltas[::-1]), {}


# ----------------------------------------------------------------------------- networks

NEURONS: Mapping[str, Mapping[str, float]] = {
    "lif": {},
    "if": {"decay": 1.0},
    "alif": {"adaptation": 0.2},
}


def snn(
    input_shape: Shape,
    outputs: int,
    *,
    depth: int = 1,
    width: int = 256,
    neuron: str = "lif",
    decay: float = 0.9,
    recurrent: bool = False,
    surrogate: str = "arctan",
    gain: float = 3.0,
    readout: float = 0.9,
    coding: str | None = None,
    steps: int | None = None,
) -> tuple[Block, ...]:
    """`depth` fully connected layers of `width` spiking neurons and a leaky readout.

    neuron: lif, alif (adaptive) or if (no leak). decay: α of the membrane. gain: initial weights of layers
    that spikes go into, in units of torch's default; spikes are few, so they need more. readout: κ. coding
    and steps are for images alone: constant (current, the default), rate or latency; 10 steps."""
    kind, arrival = _neuron(neuron, decay, surrogate), _coding(input_shape, coding, steps)
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else _moment_shape(input_shape)
        block = _hidden(str(number), Linear(shape, width), kind, gain, recurrent=recurrent)
        blocks.append(block if blocks else _as_first(block, input_shape, arrival))
    return (*blocks, _output(str(depth), blocks, input_shape, outputs, arrival, gain, readout))


def csnn(
    input_shape: Shape,
    outputs: int,
    *,
    depth: int = 2,
    width: int = 20,
    units: int = 128,
    neuron: str = "if",
    decay: float = 0.9,
    surrogate: str = "arctan",
    gain: float = 3.0,
    pooling: str = "max",
    readout: float = 0.0,
    coding: str | None = None,
    steps: int | None = None,
) -> tuple[Block, ...]:
    """Convolutions of spiking neurons with 2 x 2 pooling, a fully connected layer and a leaky readout.

    The first of `depth` convolutions has `width` channels and each next twice as many; the layer has `units`.
    Other options as of snn.

    The shape of the network of signal propagation's spiking experiment, without its normalisation."""
    kind, arrival = _neuron(neuron, decay, surrogate), _coding(input_shape, coding, steps)
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else _moment_shape(input_shape)
        if len(shape) != 3:
            raise CreditbenchError(
                f"A convolution needs images [channels, height, width] and got inputs of shape {list(shape)};"
                " use the network snn."
            )
        synapses = Convolution(shape, width * 2**number)
        block = _hidden(str(number), synapses, kind, gain, pooling=Pooling(pooling))
        blocks.append(block if blocks else _as_first(block, input_shape, arrival))
    shape = blocks[-1].output_shape if blocks else _moment_shape(input_shape)
    block = _hidden(str(depth), Linear(shape, units), kind, gain)
    blocks.append(block if blocks else _as_first(block, input_shape, arrival))
    return (*blocks, _output(str(depth + 1), blocks, input_shape, outputs, arrival, gain, readout))


def _hidden(
    name: str,
    synapses: Linear | Convolution,
    neuron: Neuron,
    gain: float,
    recurrent: bool = False,
    pooling: Pooling | None = None,
) -> SpikingBlock:
    return SpikingBlock(
        name=name,
        input_shape=synapses.input_shape,
        synapses=synapses,
        neuron=neuron,
        gain=gain,
        recurrent=recurrent,
        pooling=pooling,
    )


def _output(
    name: str,
    below: list[Block],
    input_shape: Shape,
    outputs: int,
    arrival: Coding | None,
    gain: float,
    decay: float,
) -> LeakyReadout:
    shape = below[-1].output_shape if below else _moment_shape(input_shape)
    block = LeakyReadout(
        name=name, input_shape=shape, synapses=Linear(shape, outputs), gain=gain, decay=decay
    )
    return block if below else _as_first(block, input_shape, arrival)


def _as_first(block: B, input_shape: Shape, arrival: Coding | None) -> B:
    """A constant current is dense, so that torch's default weights suit it."""
    gain = 1.0 if arrival is not None and arrival.name == "constant" else block.gain
    return replace(block, input_shape=input_shape, first=True, coding=arrival, gain=gain)


def _neuron(kind: str, decay: float, surrogate: str) -> Neuron:
    if kind not in NEURONS:
        raise unknown_name("neuron", kind, NEURONS)
    return Neuron(**{"decay": decay, **NEURONS[kind]}, surrogate=surrogate)


def _coding(input_shape: Shape, coding: str | None, steps: int | None) -> Coding | None:
    if len(input_shape) != 4:
        return Coding(coding or "constant", steps or 10)
    if coding is not None or steps is not None:
        raise CreditbenchError(
            "coding and steps say how static images become spikes; this task's inputs are events with"
            f" {input_shape[0]} steps of their own, so leave them out."
        )
    return None


def _moment_shape(input_shape: Shape) -> Shape:
    return input_shape[1:] if len(input_shape) == 4 else input_shape
