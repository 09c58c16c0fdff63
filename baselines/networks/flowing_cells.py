"""Cells whose state flows along a differential equation over the elapsed time, by the solvers of `flows`.

Shapes as in `cells`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from creditbench.baselines.networks.cells import Cell, Seen, affine, gates_of, gru, lstm
from creditbench.baselines.networks.flows import Derivative, check_solver, flow
from creditbench.suite.types import Tensors


@dataclass(frozen=True, kw_only=True)
class Flowing(Cell):
    """A cell whose state flows along a differential equation, by a solver of `flows`."""

    solver: str = "rk4"
    unfolds: int = 3

    def __post_init__(self) -> None:
        check_solver(self.solver, self.unfolds)

    def stepped(self, solver: str, unfolds: int) -> Flowing:
        """The same cell by another solver."""
        return replace(self, solver=solver, unfolds=unfolds)


@dataclass(frozen=True, kw_only=True)
class CTRNN(Flowing):
    """dh/dt = -λ h + s tanh(W [x, mask] + U h + b) over the elapsed time, with the new x (Funahashi &
    Nakamura 1993; scale s and the use of x as in Lechner & Hasani 2020). λ = exp(.) is a unit's rate and
    starts at 1, as s."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        own: dict[str, tuple[int, ...]] = {"log_rate": (self.units,), "scale": (self.units,)}
        return gates_of(1, 2 * self.features, self.units, both_biases=False) | own

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return parameters | {"log_rate": torch.zeros(self.units), "scale": torch.ones(self.units)}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        from_x = affine(parameters, "input", seen.both)
        rate, scale = parameters["log_rate"].exp().unsqueeze(1), parameters["scale"].unsqueeze(1)

        def derivative(time: Tensor, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (h,) = own
            return (scale * torch.tanh(from_x + affine(parameters, "recurrent", h)) - rate * h,)

        (h,) = flow(derivative, (state["h"],), seen.elapsed, self.solver, self.unfolds)
        return {"h": h}


def _two_layers(units: int) -> dict[str, tuple[int, ...]]:
    return {
        "flow_in": (units, units),
        "flow_in_bias": (units,),
        "flow_out": (units, units),
        "flow_out_bias": (units,),
    }


@dataclass(frozen=True, kw_only=True)
class ODERNN(Flowing):
    """dh/dt = W_2 tanh(W_1 h + b_1) + b_2 between observations, then a GRU step on [x, mask] (Rubanova et al.
    2019)."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(3, 2 * self.features, self.units) | _two_layers(self.units)

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        (h,) = flow(_perceptron(parameters), (state["h"],), seen.elapsed, self.solver, self.unfolds)
        return {"h": gru(parameters, seen.both, h)}


@dataclass(frozen=True, kw_only=True)
class ODELSTM(Flowing):
    """An LSTM step on [x, mask], then h (not the memory c) flows by dh/dt = W_2 tanh(W_1 h + b_1) + b_2 over
    the elapsed time (Lechner & Hasani 2020). Forget gates start with a bias of 3."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(4, 2 * self.features, self.units) | _two_layers(self.units)

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        parameters["input_bias"][self.units : 2 * self.units] += 3
        return parameters

    def sizes(self) -> dict[str, int]:
        return {"h": self.units, "c": self.units}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        h, c = lstm(parameters, seen.both, state["h"], state["c"])
        (h,) = flow(_perceptron(parameters), (h,), seen.elapsed, self.solver, self.unfolds)
        return {"h": h, "c": c}


def _perceptron(parameters: Tensors) -> Derivative:
    def derivative(time: Tensor, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (affine(parameters, "flow_out", torch.tanh(affine(parameters, "flow_in", own[0]))),)

    return derivative


@dataclass(frozen=True, kw_only=True)
class GRUODE(Flowing):
    """dh/dt = (1 - z) (n - h) with a GRU's gates r, z and candidate n of [x, mask] and h, over the elapsed
    time (De Brouwer et al. 2019; with x in the flow as in Lechner & Hasani 2020)."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(3, 2 * self.features, self.units)

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        def derivative(time: Tensor, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (gru(parameters, seen.both, own[0]) - own[0],)  # gru = n + z (h - n)

        (h,) = flow(derivative, (state["h"],), seen.elapsed, self.solver, self.unfolds)
        return {"h": h}


@dataclass(frozen=True, kw_only=True)
class LTC(Cell):
    """Liquid time-constant network (Hasani et al. 2021), f = sigmoid(W [x, mask] + U h + b):

        dh/dt = -(λ + f) h + f A,     by the fused step  h <- (h + δ f A) / (1 + δ (λ + f)),  δ = Δt / unfolds

    λ = exp(.) starts at 1, A is drawn from U(-1, 1). This is the paper's equation with one nonlinearity per
    neuron, not the form with one per synapse that the authors' code has."""

    unfolds: int = 6

    def __post_init__(self) -> None:
        check_solver("euler", self.unfolds)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        own: dict[str, tuple[int, ...]] = {"log_rate": (self.units,), "attractor": (self.units,)}
        return gates_of(1, 2 * self.features, self.units, both_biases=False) | own

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        attractor = 2 * torch.rand(self.units, generator=generator) - 1
        return parameters | {"log_rate": torch.zeros(self.units), "attractor": attractor}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        from_x, length, h = affine(parameters, "input", seen.both), seen.elapsed / self.unfolds, state["h"]
        rate, attractor = parameters["log_rate"].exp().unsqueeze(1), parameters["attractor"].unsqueeze(1)
        for _ in range(self.unfolds):
            f = torch.sigmoid(from_x + affine(parameters, "recurrent", h))
            h = (h + length * f * attractor) / (1 + length * (rate + f))
        return {"h": h}
