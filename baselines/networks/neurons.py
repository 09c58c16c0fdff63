"""Spiking neurons in closed form: the scan along time, and the way back through it.

One family, all tensors [time, seed, batch, *neurons], I the current that the weights bring, b included:

    v_t = α v_{t-1} + I_t + R z_{t-1} - ϑ z_{t-1}        the membrane, soft reset
    a_t = ρ a_{t-1} + z_{t-1}                            adaptation
    z_t = H(u_t),  u_t = v_t - ϑ - β a_t                 the spike

Integrate-and-fire is α = 1, the leaky kind α < 1, without adaptation β = 0; R = 0 but in recurrent blocks,
and has no diagonal: a neuron reaches itself through reset and adaptation alone.

H has no derivative, so a surrogate ψ(u) stands for it; the reset is a constant on the way back, as it is in
snnTorch and in e-prop's eligibility traces. With c_t the derivative wanted at the spikes z_t:

    g_t = c_t + Rᵀ λ_{t+1} + μ_{t+1}        λ_t = ψ(u_t) g_t + α λ_{t+1}        μ_t = ρ μ_{t+1} - β ψ(u_t) g_t

and λ_t is the derivative by I_t: ΔW = Σ_t λ_t x_tᵀ, ΔR = Σ_t λ_t z_{t-1}ᵀ. One reverse scan, one matrix
product for each matrix, and no trace for every synapse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.errors import unknown_name
from creditbench.suite.spikes import declare_spikes
from creditbench.suite.types import Tensors


@dataclass(frozen=True)
class Surrogate:
    """What stands for H on the way back: its derivative ψ(u), and the f(u) that it is the derivative of."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


SURROGATES: Mapping[str, Surrogate] = {
    "arctan": Surrogate(
        lambda u: torch.atan(math.pi * u) / math.pi + 0.5, lambda u: 1 / (1 + (math.pi * u).square())
    ),
    "fast-sigmoid": Surrogate(lambda u: u / (1 + 10 * u.abs()), lambda u: 1 / (1 + 10 * u.abs()).square()),
    "sigmoid": Surrogate(
        lambda u: torch.sigmoid(4 * u), lambda u: 4 * torch.sigmoid(4 * u) * torch.sigmoid(-4 * u)
    ),
    "triangle": Surrogate(  # Bellec et al. (2020), γ = 0.3, for a threshold of 1
        lambda u: 0.3 * (u.clamp(-1, 1) - 0.5 * u.clamp(-1, 1) * u.clamp(-1, 1).abs()),
        lambda u: 0.3 * torch.relu(1 - u.abs()),
    ),
}


@dataclass(frozen=True)
class Membrane:
    """What a scan leaves behind, [time, seed, batch, *neurons], and the spikes before the first moment."""

    potential: Tensor  # v, as the threshold meets it, before the reset
    spikes: Tensor
    adaptation: Tensor | None  # a; None where β = 0
    before: Tensor | None  # [seed, batch, *neurons]; None: it began at rest


@dataclass(frozen=True)
class Neuron:
    """Constants of one kind of neuron; time is in steps, potential in units in which weights are."""

    decay: float = 0.9  # α, per step
    threshold: float = 1.0  # ϑ
    adaptation: float = 0.0  # β
    adaptation_decay: float = 0.97  # ρ, per step
    surrogate: str = "arctan"

    def __post_init__(self) -> None:
        if self.surrogate not in SURROGATES:
            raise unknown_name("surrogate", self.surrogate, SURROGATES)

    def resting(self, like: Tensor) -> dict[str, Tensor]:
        """v, z and, where there is adaptation, a, all zero; like: [seed, batch, *neurons]."""
        names = ("potential", "spikes", "adaptation")[: 3 if self.adaptation else 2]
        return {name: torch.zeros_like(like, memory_format=torch.contiguous_format) for name in names}

    def scan(self, current: Tensor, recurrent: Tensor | None, state: Tensors | None) -> Membrane:
        """current: [time, seed, batch, *neurons]; recurrent: R [seed, neurons, neurons] or None; state: as
        `resting`, or None for that."""
        v, z = torch.empty_like(current), torch.empty_like(current)  # memory in the current's order
        a = torch.empty_like(current) if self.adaptation else None
        before = dict(state or {})
        last_v, last_z, last_a = before.get("potential"), before.get("spikes"), before.get("adaptation")
        for t, drive in enumerate(current.unbind()):
            now = (
                v[t].copy_(drive) if last_v is None else torch.add(drive, last_v, alpha=self.decay, out=v[t])
            )
            if last_z is not None:
                if recurrent is not None:
                    now.add_(last_z @ recurrent.mT)
                now.sub_(last_z, alpha=self.threshold)
            limit: Tensor | float = self.threshold
            if a is not None:
                if last_a is None or last_z is None:
                    last_a = a[t].zero_()
                else:
                    last_a = torch.add(last_z, last_a, alpha=self.adaptation_decay, out=a[t])
                limit = self.threshold + self.adaptation * last_a
            last_v, last_z = now, z[t].copy_(now > limit)
            if recurrent is not None:
                last_z = declare_spikes(last_z.clone())  # a mark on part of z would end with the next write
        declare_spikes(z)
        return Membrane(v, z, a, before.get("spikes"))

    def above(self, membrane: Membrane) -> Tensor:
        """u, how far above its threshold the membrane is: [time, seed, batch, *neurons]."""
        u = membrane.potential - self.threshold
        return u if membrane.adaptation is None else u.sub_(membrane.adaptation, alpha=self.adaptation)

    def back(self, change: Tensor, membrane: Membrane, recurrent: Tensor | None) -> Tensor:
        """λ: from a derivative at the spikes to the derivative at the current, both [time, seed, batch,
        *neurons]. With recurrent=None nothing goes from a neuron to others: what is left is e-prop's
        Σ_t c_t e_t, the eligibility traces summed up."""
        psi = SURROGATES[self.surrogate].slope(self.above(membrane))
        delta = torch.empty_like(psi)
        later: Tensor | None = None  # λ_{t+1}
        mu: Tensor | None = None  # μ_{t+1}
        for t in range(len(psi) - 1, -1, -1):
            g = change[t]
            if later is not None and recurrent is not None:
                g = g + later @ recurrent
            if mu is not None:
                g = g + mu
            own = torch.mul(psi[t], g, out=delta[t])
            if self.adaptation:
                mu = (
                    -self.adaptation * own
                    if mu is None
                    else mu * self.adaptation_decay - self.adaptation * own
                )
            if later is not None:
                own.add_(later, alpha=self.decay)
            later = own
        return delta


class Spiking(torch.autograd.Function):
    """`Neuron.scan` for autograd, with `Neuron.back` for its derivative."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, recurrent: Tensor | None, neuron: Neuron, state: Tensors | None
    ) -> tuple[Tensor, ...]:
        membrane = neuron.scan(current, recurrent, state)
        ctx.neuron = neuron
        ctx.save_for_backward(
            recurrent, membrane.potential, membrane.spikes, membrane.adaptation, membrane.before
        )
        kept = [tensor for tensor in (membrane.potential, membrane.adaptation) if tensor is not None]
        ctx.mark_non_differentiable(*kept)
        return membrane.spikes, *kept

    @staticmethod
    def backward(ctx: Any, *change: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, *kept = ctx.saved_tensors
        membrane = Membrane(*kept)
        delta = ctx.neuron.back(change[0], membrane, recurrent)
        own = None if recurrent is None else recurrent_update(membrane, delta)
        return delta, own, None, None


def recurrent_update(membrane: Membrane, delta: Tensor) -> Tensor:
    """ΔR = Σ_t λ_t z_{t-1}ᵀ over time and batch, no diagonal: [seed, neurons, neurons]."""
    update = folded(delta[1:]).mT @ folded(membrane.spikes[:-1])
    if membrane.before is not None:
        update += delta[0].mT @ membrane.before
    update.diagonal(dim1=-2, dim2=-1).zero_()
    return update


def folded(sequence: Tensor) -> Tensor:
    """[time, seed, batch, ...] -> [seed, time x batch, ...]: one batch, a view where memory allows."""
    return sequence.movedim(0, 1).flatten(1, 2)


def unfolded(batch: Tensor, times: int) -> Tensor:
    """[seed, time x batch, ...] -> [time, seed, batch, ...], a view."""
    return batch.unflatten(1, (times, -1)).movedim(1, 0)
