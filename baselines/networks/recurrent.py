"""Recurrent networks for irregular series: one block with a cell's state along time, and a linear readout.

Both are temporal blocks (see `suite.types.TemporalBlock`): activities are [time, seed, batch, features]. A
moment's features are the time since the moment before (NaN behind a series' end) and what was observed (NaN
where nothing was). Behind its end, a sample's state stands still, so the last moment has every sample's last
state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ParamSpec

import torch
from torch import Tensor

from creditbench.baselines.networks import cells, flowing_cells
from creditbench.baselines.networks.blocks import AutogradBlock
from creditbench.baselines.networks.cells import Cell, Seen
from creditbench.baselines.networks.flowing_cells import Flowing
from creditbench.baselines.networks.synapses import Linear
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.series import Series
from creditbench.suite.types import Block, Context, Shape, TemporalBlock, Tensors, Trace


def moments_of(inputs: Tensor, cut: bool = False) -> Tensor:
    """Packed series [seed, batch, steps, 1 + features] -> moments [time, seed, batch, 1 + features]; `cut`
    leaves out the moments behind the longest series' end."""
    series = Series.unpack(inputs)
    elapsed = torch.where(series.present, series.elapsed, torch.nan)
    moments = torch.cat([elapsed.unsqueeze(-1), inputs[..., 1:]], -1).movedim(2, 0)
    return moments[: int(series.lengths.max())] if cut else moments


@dataclass(frozen=True, kw_only=True)
class CellBlock(AutogradBlock, TemporalBlock):
    """A cell's state along time. Its output is the state's first part, [time, seed, batch, units].

    A moment at which nothing was observed only lets time pass: it adds to what the cell is told to have
    elapsed at the next one. Leading back is autograd's; `advance` is the map that online rules
    differentiate."""

    cell: Cell
    cut: bool = False  # leave out what is behind the longest series of a batch

    @property
    def output_shape(self) -> Shape:
        return (self.cell.units,)

    @property
    def weight(self) -> Tensor:
        return next(iter(self.parameters.values()))

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.cell.initial(generator)

    def arrivals(self, inputs: Tensor, context: Context | None = None) -> Iterator[Tensor]:
        for moment in moments_of(inputs, self.cut):
            yield moment.unsqueeze(0)

    def initial_state(self, inputs: Tensor) -> dict[str, Tensor]:
        """The cell's resting state, and no time passed since an observation."""
        state = self.cell.resting(self.parameters, inputs.shape[2])
        return {**state, "waited": inputs.new_zeros(*inputs.shape[1:3], 1)}

    def seen(self, moment: Tensor, state: Tensors) -> Seen:
        """What the cell is told of a moment [seed, batch, 1 + features]."""
        time, features = moment[..., :1], moment[..., 1:]
        mask = features.isfinite() & time.isfinite()
        waited = state["waited"] + time.nan_to_num()
        return Seen(torch.where(mask, features, 0.0), mask.to(waited.dtype), waited)

    def advance(self, moment: Tensor, state: Tensors) -> dict[str, Tensor]:
        """One moment [seed, batch, 1 + features] and the state before -> the state behind."""
        seen = self.seen(moment, state)
        observed, waited = seen.anything, seen.elapsed
        before = {name: part for name, part in state.items() if name != "waited"}
        after = self.cell.advance(self.parameters, seen, before)
        kept = {
            name: torch.where(observed.view(*observed.shape[:2], *(1,) * (part.dim() - 2)), after[name], part)
            for name, part in before.items()
        }
        return {**kept, "waited": torch.where(observed, 0.0, waited)}

    def _walk(self, moments: Tensor, state: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, now = [], dict(state)
        for moment in moments.unbind(0):
            now = self.advance(moment, now)
            outputs.append(now["h"])
        return torch.stack(outputs), now

    def preactivate(self, inputs: Tensor) -> Tensor:
        """Moments [time, seed, batch, 1 + features] from the initial state on."""
        return self._walk(inputs, self.initial_state(inputs))[0]

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        """Packed series [seed, batch, steps, 1 + features]."""
        moments = moments_of(inputs, self.cut)
        return replace(self.activate(self.preactivate(moments), context), inputs=moments)

    def step(self, inputs: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        outputs, after = self._walk(inputs, state)
        return Trace(inputs, outputs, (state,)), after

    def update(self, trace: Trace, change: Tensor) -> dict[str, Tensor]:
        """Of a piece that `step` took, the way back ends at the state before it."""
        assert trace.inputs is not None
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        own = replace(self, parameters=leaves)
        with torch.enable_grad():
            state = trace.saved[0] if trace.saved else own.initial_state(trace.inputs)
            outputs, _ = own._walk(trace.inputs, state)
            found = torch.autograd.grad(outputs, list(leaves.values()), change, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return self.update(Trace(inputs, delta), delta)


@dataclass(frozen=True, kw_only=True)
class Readout(TemporalBlock):
    """W h + b of the last moment, [seed, batch, outputs], or of every moment, [seed, batch, steps,
    outputs]."""

    synapses: Linear
    steps: int | None = None  # None: of the last moment alone

    @property
    def preactivation_shape(self) -> Shape:
        return self.synapses.output_shape

    @property
    def output_shape(self) -> Shape:
        own = self.synapses.output_shape
        return own if self.steps is None else (self.steps, *own)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.synapses.initial(generator)

    def arrivals(self, inputs: Tensor, context: Context | None = None) -> Iterator[Tensor]:
        raise CreditbenchError("A readout is the last block of a network and not the first.")

    def initial_state(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}

    def step(self, inputs: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        return Trace(inputs, self.preactivate(inputs), ("moments",)), {}

    def preactivate(self, inputs: Tensor) -> Tensor:
        """[time, seed, batch, units] -> [time, seed, batch, outputs]."""
        flat = inputs.movedim(0, 1).flatten(1, 2)  # [seed, time * batch, units]
        own = self.synapses.forward(flat, self.parameters["weight"], self.parameters["bias"])
        return own.view(len(own), len(inputs), -1, own.shape[-1]).movedim(1, 0)

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        if self.steps is None:
            return Trace(None, preactivation[-1], (len(preactivation),))
        return Trace(None, preactivation.movedim(0, 2), (len(preactivation),))

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        if self.steps is None:  # the other moments are no output
            last = self.preactivate(inputs[-1:])[0]
            return Trace(inputs, last, (len(inputs),))
        return replace(self.activate(self.preactivate(inputs), context), inputs=inputs)

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """From the output's shape to moments, [time, seed, batch, outputs], 0 where a moment is no output."""
        if trace.saved == ("moments",):
            return change, {}
        if self.steps is not None:
            return change.movedim(2, 0), {}
        (length,) = trace.saved
        return torch.cat([change.new_zeros(length - 1, *change.shape), change.unsqueeze(0)]), {}

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        if self.steps is None:
            return self.synapses.update(inputs[-1], delta[-1])
        return self.synapses.update(inputs.movedim(0, 1).flatten(1, 2), delta.movedim(0, 1).flatten(1, 2))

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        return delta @ (self.weight if weight is None else weight)


def network_of(cell: Cell, input_shape: Shape, outputs: int, every_step: bool) -> tuple[Block, ...]:
    """A cell and its readout."""
    hidden = CellBlock(name="0", input_shape=input_shape, cell=cell, cut=not every_step)
    steps = input_shape[0] if every_step else None
    readout = Readout(
        name="1", input_shape=(cell.units,), synapses=Linear((cell.units,), outputs), steps=steps
    )
    return hidden, readout


Options = ParamSpec("Options")
Builder = Callable[Options, tuple[Block, ...]]


def called(name: str) -> Callable[[Builder[Options]], Builder[Options]]:
    """The name that records bear, where it is no name that Python allows."""

    def call(builder: Builder[Options]) -> Builder[Options]:
        builder.__name__ = name
        return builder

    return call


def features_of(input_shape: Shape) -> int:
    if len(input_shape) != 2 or input_shape[1] < 2:
        raise CreditbenchError(
            f"A network for series needs inputs [steps, 1 + features] and got {list(input_shape)}."
        )
    return input_shape[1] - 1


def stepping(name: str, kind: type[Cell], *, summary: str) -> Builder[...]:
    """The network of a cell that has a size and nothing else to choose."""

    @called(name)
    def build(
        input_shape: Shape, outputs: int, *, width: int = 64, every_step: bool = False
    ) -> tuple[Block, ...]:
        cell = kind(features=features_of(input_shape), units=width)
        return network_of(cell, input_shape, outputs, every_step)

    build.__doc__ = summary
    return build


def flowing(name: str, kind: type[Flowing], *, summary: str) -> Builder[...]:
    """The network of a cell that flows, by a solver of `flows` with `unfolds` steps."""

    @called(name)
    def build(
        input_shape: Shape, outputs: int, *, width: int = 64, solver: str = "rk4", unfolds: int = 3,
        every_step: bool = False,
    ) -> tuple[Block, ...]:  # fmt: skip
        cell = kind(features=features_of(input_shape), units=width, solver=solver, unfolds=unfolds)
        return network_of(cell, input_shape, outputs, every_step)

    build.__doc__ = summary
    return build


rnn_dt = stepping(
    "rnn-dt", cells.TimedRNN, summary="Elman network that is told the elapsed time as one more feature."
)
rnn_decay = stepping(
    "rnn-decay",
    cells.DecayRNN,
    summary="GRU whose state decays between observations at rates that are learned (RNN-decay).",
)
gru_d = stepping("gru-d", cells.GRUD, summary="GRU-D: state and missing inputs decay between observations.")
ct_lstm = stepping("ct-lstm", cells.CTLSTM, summary="Continuous-time LSTM of the neural Hawkes process.")
phased_lstm = stepping(
    "phased-lstm", cells.PhasedLSTM, summary="LSTM whose units open and shut in periods of their own."
)
ct_rnn = flowing(
    "ct-rnn",
    flowing_cells.CTRNN,
    summary="Continuous-time recurrent network, integrated over the elapsed time.",
)
ode_rnn = flowing(
    "ode-rnn", flowing_cells.ODERNN, summary="A neural ODE between observations, a GRU at them."
)
ode_lstm = flowing(
    "ode-lstm",
    flowing_cells.ODELSTM,
    summary="An LSTM at observations whose output flows along a neural ODE.",
)
gru_ode = flowing("gru-ode", flowing_cells.GRUODE, summary="A GRU as a differential equation.")


@called("ct-gru")
def ct_gru(
    input_shape: Shape, outputs: int, *, width: int = 64, scales: int = 8, every_step: bool = False
) -> tuple[Block, ...]:
    """Continuous-time GRU: every unit at several time scales."""
    cell = cells.CTGRU(features=features_of(input_shape), units=width, scales=scales)
    return network_of(cell, input_shape, outputs, every_step)


def cfc(
    input_shape: Shape,
    outputs: int,
    *,
    width: int = 64,
    backbone: int = 64,
    mode: str = "gated",
    mixed: bool = False,
    every_step: bool = False,
) -> tuple[Block, ...]:
    """Closed-form continuous-time network.

    mode: gated, no-gate or minimal. mixed: an LSTM before it."""
    cell = cells.CfC(
        features=features_of(input_shape), units=width, backbone=backbone, mode=mode, mixed=mixed
    )
    return network_of(cell, input_shape, outputs, every_step)


def ltc(
    input_shape: Shape, outputs: int, *, width: int = 64, unfolds: int = 6, every_step: bool = False
) -> tuple[Block, ...]:
    """Liquid time-constant network, by its fused semi-implicit step."""
    cell = flowing_cells.LTC(features=features_of(input_shape), units=width, unfolds=unfolds)
    return network_of(cell, input_shape, outputs, every_step)
