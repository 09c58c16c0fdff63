"""Temporal Weights, a reconstruction: synapses with dynamics of their own, in a network of continuous time.

Kohan, Rietman & Siegelmann (2023), Temporal Weights (arXiv:2301.04126), give weights "interacting dynamics",
a model of synchronisation, inside neural ODEs. Their equations could not be had word for word: what follows
is ours, and figures of it are no figures of the paper. Every synapse of one recurrent matrix has a phase θ,
and all phases of a group are coupled by their mean field (Kuramoto 1975):

    W(t) = W_0 (1 + A cos θ(t))                              elementwise; W_0, A, ω, K and θ(0) are learned
    dθ/dt = ω + K r sin(ψ - θ),    r e^{iψ} = mean of e^{iθ} over the group

integrated together with the hidden state, over each sample's own elapsed time. The hosts:

    ct-rnn     dh/dt = -λ h + s tanh(V [x, mask] + W(t) h + b)
    ode-rnn    dh/dt = W_2 tanh(W(t) h + b_1) + b_2 between observations, then a GRU step
    ode-lstm   an LSTM step, then h flows as in ode-rnn

Ablations: static (A = 0: the host itself), uncoupled (K = 0: every weight a clock of its own), explicit-time
(in place of oscillators a function of time: W(t) = W_0 (1 + A m(t)), m = M tanh(u t + c) with 8 hidden
units).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.baselines.networks import flowing_cells
from creditbench.baselines.networks.cells import Cell, Seen, affine, gru, lstm
from creditbench.baselines.networks.flowing_cells import Flowing
from creditbench.baselines.networks.flows import flow
from creditbench.baselines.networks.recurrent import called, features_of, network_of
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Block, Shape, Tensors

HOSTS: dict[str, type[Flowing]] = {
    "ct-rnn": flowing_cells.CTRNN,
    "ode-rnn": flowing_cells.ODERNN,
    "ode-lstm": flowing_cells.ODELSTM,
}
MATRIX = {"ct-rnn": "recurrent", "ode-rnn": "flow_in", "ode-lstm": "flow_in"}  # the one with dynamics
GROUPS = ("layer", "row")  # whose phases are coupled: the whole matrix's, or those onto one unit
ABLATIONS = ("none", "static", "uncoupled", "explicit-time")
HIDDEN = 8  # units of the function of time


@dataclass(frozen=True, kw_only=True)
class TemporalWeights(Flowing):
    """A host whose recurrent matrix moves with time; see the head of this file."""

    host: str = "ct-rnn"
    group: str = "layer"
    ablation: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.host not in HOSTS:
            raise unknown_name("host", self.host, HOSTS)
        if self.group not in GROUPS:
            raise unknown_name("group", self.group, GROUPS)
        if self.ablation not in ABLATIONS:
            raise unknown_name("ablation", self.ablation, ABLATIONS)

    @property
    def static(self) -> Cell:
        """The host without dynamics of weights."""
        return HOSTS[self.host](
            features=self.features, units=self.units, solver=self.solver, unfolds=self.unfolds
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        units = self.units
        own: dict[str, tuple[int, ...]] = {"amplitude": (units, units)}
        if self.ablation == "explicit-time":
            own |= {"clock_in": (HIDDEN,), "clock_bias": (HIDDEN,), "clock_out": (units * units, HIDDEN)}
        else:
            own |= {"frequency": (units, units), "phase": (units, units)}
        if self.ablation == "none":
            own |= {"coupling": (1,) if self.group == "layer" else (units,)}
        return self.static.shapes() | ({} if self.ablation == "static" else own)

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """A = 0.1; ω in [0, 2π) per unit of prepared time; θ(0) anywhere; K = 1."""
        parameters = self.static.adjusted(parameters, generator)
        square = (self.units, self.units)
        if "amplitude" in parameters:
            parameters["amplitude"] = torch.full(square, 0.1)
        for name in ("frequency", "phase"):
            if name in parameters:
                parameters[name] = 2 * math.pi * torch.rand(square, generator=generator)
        if "coupling" in parameters:
            parameters["coupling"] = torch.ones_like(parameters["coupling"])
        return parameters

    def sizes(self) -> dict[str, int]:
        return self.static.sizes()

    @property
    def learns_rest(self) -> bool:
        return "phase" in self.shapes()

    def resting(self, parameters: Tensors, batch: int) -> dict[str, Tensor]:
        state = super().resting(parameters, batch)
        if "phase" in parameters:
            phase = parameters["phase"].unsqueeze(1)  # [seed, 1, units, units]
            state["phase"] = phase.repeat(1, batch, 1, 1)
        elif self.ablation == "explicit-time":
            state["time"] = state["h"].new_zeros(*state["h"].shape[:2], 1)
        return state

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        if self.ablation == "static":
            return self.static.advance(parameters, seen, state)
        h, memory = state["h"], {}
        if self.host == "ode-lstm":
            h, memory["c"] = lstm(parameters, seen.both, h, state["c"])
        explicit = self.ablation == "explicit-time"
        from_x = affine(parameters, "input", seen.both) if self.host == "ct-rnn" else None

        def derivative(time: Tensor, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            if explicit:
                swing = self._clock(parameters, state["time"] + time)
                return (self._host(parameters, from_x, own[0], swing),)
            h, phase = own
            return self._host(parameters, from_x, h, torch.cos(phase)), self._turn(parameters, phase)

        start = (h,) if explicit else (h, state["phase"])
        end = flow(derivative, start, seen.elapsed, self.solver, self.unfolds)
        h = gru(parameters, seen.both, end[0]) if self.host == "ode-rnn" else end[0]
        moved = {"time": state["time"] + seen.elapsed} if explicit else {"phase": end[1]}
        return {"h": h} | memory | moved

    def _host(self, parameters: Tensors, from_x: Tensor | None, h: Tensor, swing: Tensor) -> Tensor:
        """dh/dt with the weights W_0 (1 + A swing), swing [seed, batch, units, units]."""
        name = MATRIX[self.host]
        base, swung = parameters[name], parameters[name] * parameters["amplitude"]
        a = h @ base.mT + ((swung.unsqueeze(1) * swing) @ h.unsqueeze(-1)).squeeze(-1)
        if from_x is not None:
            rate, scale = parameters["log_rate"].exp().unsqueeze(1), parameters["scale"].unsqueeze(1)
            return scale * torch.tanh(from_x + a) - rate * h
        hidden = torch.tanh(a + parameters["flow_in_bias"].unsqueeze(1))
        return affine(parameters, "flow_out", hidden)

    def _turn(self, parameters: Tensors, phase: Tensor) -> Tensor:
        """dθ/dt: K r sin(ψ - θ) = K (mean sin · cos θ - mean cos · sin θ)."""
        turn = parameters["frequency"].unsqueeze(1)
        if self.ablation == "uncoupled":
            return turn.expand_as(phase)
        over = (-2, -1) if self.group == "layer" else (-1,)
        sine, cosine = torch.sin(phase), torch.cos(phase)
        pull = sine.mean(over, keepdim=True) * cosine - cosine.mean(over, keepdim=True) * sine
        coupling = parameters["coupling"]  # [seed, 1] or [seed, units]
        return turn + coupling.view(len(coupling), 1, -1, 1) * pull

    def _clock(self, parameters: Tensors, time: Tensor) -> Tensor:
        """m(t) of every weight: [seed, batch, 1] -> [seed, batch, units, units]."""
        hidden = torch.tanh(
            parameters["clock_in"].unsqueeze(1) * time + parameters["clock_bias"].unsqueeze(1)
        )
        told = hidden @ parameters["clock_out"].mT  # [seed, batch, units * units]
        return told.view(*told.shape[:2], self.units, self.units)


@called("temporal-weights")
def temporal_weights(
    input_shape: Shape,
    outputs: int,
    *,
    width: int = 32,
    host: str = "ct-rnn",
    group: str = "layer",
    ablation: str = "none",
    solver: str = "rk4",
    unfolds: int = 3,
    every_step: bool = False,
) -> tuple[Block, ...]:
    """Weights that are coupled oscillators, in a host of continuous time: a reconstruction, not the paper's
    equations."""
    cell = TemporalWeights(
        features=features_of(input_shape),
        units=width,
        host=host,
        group=group,
        ablation=ablation,
        solver=solver,
        unfolds=unfolds,
    )
    return network_of(cell, input_shape, outputs, every_step)
