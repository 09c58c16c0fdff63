"""Recurrent cells for observations at uneven times.

A cell says how its state moves from one observation to the next; those whose state flows along a differential
equation in between are in `flowing_cells`. Weights are [seed, out, in], biases [seed,
out], what a cell sees [seed, batch, features], states [seed, batch, units]. Where nothing is observed the
block that holds a cell lets time add up and does not call it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.baselines.networks.synapses import uniform
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Tensors


@dataclass(frozen=True)
class Seen:
    """One observation of every sample."""

    values: Tensor  # [seed, batch, features]; 0 where not observed
    mask: Tensor  # [seed, batch, features]; 1 where observed
    elapsed: Tensor  # [seed, batch, 1], since the observation before

    @property
    def both(self) -> Tensor:
        """Values and mask: [seed, batch, 2 features]."""
        return torch.cat([self.values, self.mask], -1)

    @property
    def anything(self) -> Tensor:
        """Whether anything was observed: [seed, batch, 1]."""
        return (self.mask > 0).any(-1, keepdim=True)


def affine(parameters: Tensors, name: str, x: Tensor) -> Tensor:
    """W x + b: [seed, batch, in] -> [seed, batch, out]."""
    weight, bias = parameters[name], parameters.get(f"{name}_bias")
    return x @ weight.mT if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


@dataclass(frozen=True, kw_only=True)
class Cell(ABC):
    """Shapes leave out seed and batch."""

    features: int
    units: int

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters, [out, in] or [out]; drawn from U(-1/sqrt(units), 1/sqrt(units)) like torch's cells, but
        for those that `adjusted` sets."""

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Initial values that are not drawn like the others."""
        return parameters

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters of one seed."""
        drawn = {name: uniform(shape, self.units, generator) for name, shape in self.shapes().items()}
        return self.adjusted(drawn, generator)

    def resting(self, parameters: Tensors, batch: int) -> dict[str, Tensor]:
        """The state before the first observation: {name: [seed, batch, ...]}."""
        some = next(iter(parameters.values()))
        return {name: some.new_zeros(len(some), batch, size) for name, size in self.sizes().items()}

    @property
    def learns_rest(self) -> bool:
        """Whether the state before the first observation depends on parameters."""
        return False

    def sizes(self) -> dict[str, int]:
        """Names and sizes of the state; the first is what the next block sees."""
        return {"h": self.units}

    @abstractmethod
    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        """The state behind an observation."""


def gru(parameters: Tensors, x: Tensor, h: Tensor) -> Tensor:
    """r, z = sigmoid(W x + U h + b);  n = tanh(W x + b + r (U h + c));  h <- (1 - z) n + z h (Cho et al.
    2014, in the form of torch's cell)."""
    from_x, from_h = affine(parameters, "input", x), affine(parameters, "recurrent", h)
    units = h.shape[-1]
    gates = torch.sigmoid(from_x[..., : 2 * units] + from_h[..., : 2 * units])
    r, z = gates.split(units, -1)
    n = torch.tanh(from_x[..., 2 * units :] + r * from_h[..., 2 * units :])
    return torch.lerp(n, h, z)


def lstm(parameters: Tensors, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """i, f, o = sigmoid(.), g = tanh(.) of W x + U h + b;  c <- f c + i g;  h <- o tanh(c) (Hochreiter &
    Schmidhuber 1997, with forget gates, gates in torch's order i, f, g, o)."""
    gates = affine(parameters, "input", x) + affine(parameters, "recurrent", h)
    i, f, g, o = gates.split(h.shape[-1], -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gates_of(number: int, inputs: int, units: int, both_biases: bool = True) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "input": (number * units, inputs),
        "input_bias": (number * units,),
        "recurrent": (number * units, units),
    }
    return shapes | ({"recurrent_bias": (number * units,)} if both_biases else {})


@dataclass(frozen=True, kw_only=True)
class TimedRNN(Cell):
    """h <- tanh(W [x, mask, Δt] + U h + b): elapsed time as one more feature (Elman 1990)."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(1, 2 * self.features + 1, self.units, both_biases=False)

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        x = torch.cat([seen.both, seen.elapsed], -1)
        return {"h": torch.tanh(affine(parameters, "input", x) + affine(parameters, "recurrent", state["h"]))}


@dataclass(frozen=True, kw_only=True)
class DecayRNN(Cell):
    """h <- h exp(-max(0, w) Δt), then a GRU step on [x, mask] (Mozer et al. 2017; RNN-decay of Rubanova et
    al. 2019).

    w is a rate per unit and starts at 0.1."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(3, 2 * self.features, self.units) | {"rate": (self.units,)}

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return parameters | {"rate": torch.full((self.units,), 0.1)}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        rate = torch.relu(parameters["rate"]).unsqueeze(1)  # [seed, 1, units]
        return {"h": gru(parameters, seen.both, state["h"] * torch.exp(-rate * seen.elapsed))}


@dataclass(frozen=True, kw_only=True)
class GRUD(Cell):
    """GRU-D (Che et al. 2018), with δ the time since a feature was last observed, per feature:

    γ_x = exp(-max(0, w δ + b))       x̂ = m x + (1 - m) γ_x x_last     (the mean is 0 in prepared units)
    γ_h = exp(-max(0, W δ + b))       h <- GRU([x̂, m], γ_h h)
    """

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(3, 2 * self.features, self.units) | {
            "input_decay": (self.features,),
            "input_decay_bias": (self.features,),
            "decay": (self.units, self.features),
            "decay_bias": (self.units,),
        }

    def sizes(self) -> dict[str, int]:
        return {"h": self.units, "last": self.features, "since": self.features}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        since = state["since"] + seen.elapsed
        own = parameters["input_decay"].unsqueeze(1) * since + parameters["input_decay_bias"].unsqueeze(1)
        imputed = torch.where(seen.mask > 0, seen.values, torch.exp(-torch.relu(own)) * state["last"])
        kept = state["h"] * torch.exp(-torch.relu(affine(parameters, "decay", since)))
        h = gru(parameters, torch.cat([imputed, seen.mask], -1), kept)
        last = torch.where(seen.mask > 0, seen.values, state["last"])
        return {"h": h, "last": last, "since": since * (1 - seen.mask)}


@dataclass(frozen=True, kw_only=True)
class CTLSTM(Cell):
    """Continuous-time LSTM of the neural Hawkes process (Mei & Eisner 2017): between observations the memory
    decays towards a target c̄ of its own, c(t) = c̄ + (c - c̄) exp(-δ Δt), and h = o tanh(c(t)).

    Seven gates of [x, mask] and h(t): i, f, ī, f̄, z, o and δ = softplus(.)."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(7, 2 * self.features, self.units, both_biases=False)

    def sizes(self) -> dict[str, int]:
        return dict.fromkeys(("h", "c", "target", "rate", "gate"), self.units)

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        decayed = state["target"] + (state["c"] - state["target"]) * torch.exp(-state["rate"] * seen.elapsed)
        before = state["gate"] * torch.tanh(decayed)
        gates = affine(parameters, "input", seen.both) + affine(parameters, "recurrent", before)
        i, f, i_target, f_target, z, o, rate = gates.split(self.units, -1)
        z = torch.tanh(z)
        c = torch.sigmoid(f) * decayed + torch.sigmoid(i) * z
        target = torch.sigmoid(f_target) * state["target"] + torch.sigmoid(i_target) * z
        gate = torch.sigmoid(o)
        h = gate * torch.tanh(c)
        return {"h": h, "c": c, "target": target, "rate": torch.nn.functional.softplus(rate), "gate": gate}


@dataclass(frozen=True, kw_only=True)
class CTGRU(Cell):
    """Continuous-time GRU (Mozer, Kazakov & Lindsey 2017): every unit is held at M time scales τ_k =
    10^(k/2), which all decay with elapsed time; what is read from and written to which scale depends on input
    and state.

        r = softmax_k(-(ln τ_R - ln τ_k)²)     q = tanh(W [x, Σ r h_k] + b)
        s = softmax_k(-(ln τ_S - ln τ_k)²)     h_k <- ((1 - s) h_k + s q) exp(-Δt / τ_k)      h = Σ h_k
    """

    scales: int = 8

    def shapes(self) -> dict[str, tuple[int, ...]]:
        inputs, wide = 2 * self.features + self.units, self.units * self.scales
        return {
            "read": (wide, inputs),
            "read_bias": (wide,),
            "write": (wide, inputs),
            "write_bias": (wide,),
            "detect": (self.units, inputs),
            "detect_bias": (self.units,),
        }

    def sizes(self) -> dict[str, int]:
        return {"h": self.units, "held": self.units * self.scales}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        held = state["held"].unflatten(-1, (self.units, self.scales))  # [seed, batch, units, scales]
        log_scale = torch.arange(self.scales, dtype=held.dtype, device=held.device) / 2 * 2.302585092994046

        def over_scales(name: str) -> Tensor:
            wanted = affine(parameters, name, torch.cat([seen.both, state["h"]], -1))
            return torch.softmax(-((wanted.unflatten(-1, held.shape[-2:]) - log_scale) ** 2), -1)

        read = (over_scales("read") * held).sum(-1)
        signal = torch.tanh(affine(parameters, "detect", torch.cat([seen.both, read], -1))).unsqueeze(-1)
        write = over_scales("write")
        held = ((1 - write) * held + write * signal) * torch.exp(
            -seen.elapsed.unsqueeze(-1) / log_scale.exp()
        )
        return {"h": held.sum(-1), "held": held.flatten(2)}


@dataclass(frozen=True, kw_only=True)
class PhasedLSTM(Cell):
    """Phased LSTM (Neil, Pfeiffer & Liu 2016): each unit is open for a share r_on of a period τ of its own,
    and what an LSTM step would change is let through by its time gate k:

        φ = ((t - s) mod τ) / τ       k = 2 φ / r_on for φ < r_on / 2,  2 - 2 φ / r_on for φ < r_on,  else α φ
        c <- k ĉ + (1 - k) c          h <- k ĥ + (1 - k) h

    τ starts as exp(U(-2, 1)) in units of prepared time and s within it; r_on = 0.05 and the leak α =
    0.001."""

    open_share: float = 0.05
    leak: float = 0.001

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return gates_of(4, 2 * self.features, self.units) | {
            "log_period": (self.units,),
            "shift": (self.units,),
        }

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        period = -2 + 3 * torch.rand(self.units, generator=generator)
        return parameters | {
            "log_period": period,
            "shift": period.exp() * torch.rand(self.units, generator=generator),
        }

    def sizes(self) -> dict[str, int]:
        return {"h": self.units, "c": self.units, "time": 1}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        time = state["time"] + seen.elapsed
        period = parameters["log_period"].exp().unsqueeze(1)
        phase = torch.remainder(time - parameters["shift"].unsqueeze(1), period) / period
        rising, falling = 2 * phase / self.open_share, 2 - 2 * phase / self.open_share
        shut = torch.where(phase < self.open_share, falling, self.leak * phase)
        gate = torch.where(phase < self.open_share / 2, rising, shut)
        h, c = lstm(parameters, seen.both, state["h"], state["c"])
        return {
            "h": gate * h + (1 - gate) * state["h"],
            "c": gate * c + (1 - gate) * state["c"],
            "time": time,
        }


CFC_MODES = ("gated", "no-gate", "minimal")


@dataclass(frozen=True, kw_only=True)
class CfC(Cell):
    """Closed-form continuous-time network (Hasani et al. 2022), b = silu(W [x, mask, h] + c) the backbone:

        gated     s = sigmoid(t_a(b) Δt + t_b(b))     h <- (1 - s) tanh(f(b)) + s tanh(g(b))
        no-gate                                       h <- tanh(f(b)) + s tanh(g(b))
        minimal   h <- A - A exp(-Δt (|w| + |f(b)|)) f(b)        (the closed form itself)

    mixed: an LSTM step on [x, mask] comes first and keeps the memory."""

    backbone: int = 64
    mode: str = "gated"
    mixed: bool = False

    def __post_init__(self) -> None:
        if self.mode not in CFC_MODES:
            raise unknown_name("mode", self.mode, CFC_MODES)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        units, wide = self.units, self.backbone
        heads = ("f",) if self.mode == "minimal" else ("f", "g", "time_a", "time_b")
        shapes: dict[str, tuple[int, ...]] = {
            "backbone": (wide, 2 * self.features + units),
            "backbone_bias": (wide,),
        }
        for head in heads:
            shapes |= {head: (units, wide), f"{head}_bias": (units,)}
        if self.mode == "minimal":
            shapes |= {"rate": (units,), "ceiling": (units,)}
        return shapes | (gates_of(4, 2 * self.features, units) if self.mixed else {})

    def adjusted(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if self.mode != "minimal":
            return parameters
        return parameters | {"rate": torch.zeros(self.units), "ceiling": torch.ones(self.units)}

    def sizes(self) -> dict[str, int]:
        return {"h": self.units, "c": self.units} if self.mixed else {"h": self.units}

    def advance(self, parameters: Tensors, seen: Seen, state: Tensors) -> dict[str, Tensor]:
        h, memory = state["h"], {}
        if self.mixed:
            h, memory["c"] = lstm(parameters, seen.both, h, state["c"])
        b = torch.nn.functional.silu(affine(parameters, "backbone", torch.cat([seen.both, h], -1)))
        f = affine(parameters, "f", b)
        if self.mode == "minimal":
            rate, ceiling = (parameters[name].unsqueeze(1) for name in ("rate", "ceiling"))
            return {"h": ceiling - ceiling * torch.exp(-seen.elapsed * (rate.abs() + f.abs())) * f} | memory
        f, g = torch.tanh(f), torch.tanh(affine(parameters, "g", b))
        s = torch.sigmoid(affine(parameters, "time_a", b) * seen.elapsed + affine(parameters, "time_b", b))
        return {"h": (f if self.mode == "no-gate" else (1 - s) * f) + s * g} | memory
