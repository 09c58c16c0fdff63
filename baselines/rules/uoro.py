"""Unbiased online recurrent optimisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.networks.flows import ADAPTIVE
from creditbench.baselines.rules.along_time import Moment, add, cell_of, not_recurrent, walk
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Tensors


@dataclass(frozen=True)
class UORO(LearningRule):
    """The influence M_t = dh_t/dθ of real-time recurrent learning as one product of two vectors, s̃ θ̃ᵀ,
    whose mean over random signs ν is M_t:

        s̃ ← ρ_0 J s̃ + ρ_1 ν          θ̃ ← θ̃ / ρ_0 + νᵀ I / ρ_1
        ρ_0 = sqrt(|θ̃| / |J s̃|)       ρ_1 = sqrt(|νᵀ I| / |ν|)         ΔW = Σ_t (∂C/∂h_t · s̃) θ̃

    Tallec & Ollivier (2018). J = ∂F/∂h and I = ∂F/∂θ of a moment; only products with them are taken (jvp,
    vjp). s̃ has the shape of the state, [seed, batch, ...]: the states of a batch count as one, so that θ̃
    has the shape of the parameters, [seed, ...], and the noise grows with the batch.
    """

    name: ClassVar[str] = "uoro"
    source: ClassVar[str] = "Tallec & Ollivier (2018), ICLR. arXiv:1702.05043"
    temporal: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, float]] = (2e-5, 5e-3)

    def supports(self, network: Network, task: Task) -> str | None:
        if reason := not_recurrent(self.name, network):
            return reason
        cell = cell_of(network)[0].cell
        if cell.learns_rest:
            return (
                f"{self.name} begins with no influence, and in {network.label} the state at rest is learned"
            )
        if getattr(cell, "solver", None) in ADAPTIVE:
            return (
                f"{self.name} takes products with the Jacobian, for which torchdiffeq's solvers have no rule"
            )
        return None

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = cell_of(network)
        tangents: dict[str, Tensor] = {}
        influence = {name: torch.zeros_like(p) for name, p in hidden.parameters.items()}
        updates: tuple[dict[str, Tensor], ...] = ({}, {})
        for moment in walk(network, batch, context):
            before = {name: part for name, part in moment.before.items() if name != "waited"}
            waited = moment.before["waited"]

            def state_from(
                parts: Tensors, waited: Tensor = waited, seen: Tensor = moment.seen
            ) -> dict[str, Tensor]:
                after = hidden.advance(seen, {**parts, "waited": waited})
                return {name: part for name, part in after.items() if name != "waited"}

            tangents = tangents or {name: torch.zeros_like(part) for name, part in before.items()}
            carried = torch.func.jvp(state_from, (before,), (tangents,))[1]
            signs = {
                name: 2.0 * context.noise.integers(2, *part.shape[1:]).to(part) - 1
                for name, part in before.items()
            }

            def state_of(own: Tensors, before: Tensors = before, at: Moment = moment) -> dict[str, Tensor]:
                after = replace(hidden, parameters=own).advance(at.seen, at.before)
                return {name: after[name] for name in before}

            pull = torch.func.vjp(state_of, dict(hidden.parameters))[1]
            (immediate,) = pull(signs)
            first = _ratio(_norm(influence), _norm(carried))
            second = _ratio(_norm(immediate), _norm(signs))
            tangents = {n: _by(first, carried[n]) + _by(second, signs[n]) for n in carried}
            influence = {n: _by(1 / first, influence[n]) + _by(1 / second, immediate[n]) for n in influence}
            along = ((moment.error @ readout.weight) * tangents["h"]).flatten(1).sum(1)  # [seed]
            updates = (
                add(updates[0], {name: _by(along, part) for name, part in influence.items()}),
                add(updates[1], readout.update(moment.trace, moment.error.unsqueeze(0))),
            )
        yield readout, updates[1]
        yield hidden, updates[0]


def _norm(tensors: Tensors) -> Tensor:
    """Over all of a seed's numbers: [seed]."""
    return torch.stack([part.flatten(1).square().sum(1) for part in tensors.values()]).sum(0).sqrt()


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    """sqrt(over / under); 1 where either is nothing, where any factor leaves the estimate unbiased."""
    nothing = (over <= 0) | (under <= 0)
    return torch.where(nothing, 1.0, over / under.clamp(min=1e-30)).sqrt()


def _by(factor: Tensor, tensor: Tensor) -> Tensor:
    return factor.view(-1, *(1,) * (tensor.dim() - 1)) * tensor
