"""Flows of ordinary differential equations over an elapsed time that differs from sample to sample.

Seeds and samples ride together: every sample takes the same number of steps, each of its own length. A state
is a tuple of tensors [seed, batch, ...]; `elapsed` is [seed, batch, 1].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name

State = tuple[Tensor, ...]
# (time since the flow began [seed, batch, 1], state) -> its derivative by time, of the state's shapes
Derivative = Callable[[Tensor, State], State]

# Explicit Runge-Kutta methods by their Butcher tableaus: nodes c, rows of a, weights b.
Tableau = tuple[tuple[float, ...], tuple[tuple[float, ...], ...], tuple[float, ...]]
TABLEAUS: Mapping[str, Tableau] = {
    "euler": ((0.0,), ((),), (1.0,)),
    "midpoint": ((0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "heun": ((0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": ((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
ADAPTIVE = ("dopri5", "bosh3")  # torchdiffeq's


def check_solver(solver: str, unfolds: int) -> None:
    """Raises CreditbenchError for a solver that there is not, and for less than one step."""
    if solver not in TABLEAUS and solver not in ADAPTIVE:
        raise unknown_name("solver", solver, (*TABLEAUS, *ADAPTIVE))
    if unfolds < 1:
        raise CreditbenchError(f"A flow takes at least 1 step (unfolds), not {unfolds}.")


def flow(
    derivative: Derivative, state: State, elapsed: Tensor, solver: str = "rk4", unfolds: int = 3
) -> State:
    """The state after `elapsed`. Fixed-step solvers take `unfolds` equal steps; torchdiffeq's adaptive ones
    as many as they need, one seed after the other, so that a seed's steps do not depend on who rides
    along."""
    check_solver(solver, unfolds)
    if solver in ADAPTIVE:
        return adaptive(derivative, state, elapsed, solver)
    nodes, rows, weights = TABLEAUS[solver]
    length = elapsed / unfolds
    for step in range(unfolds):
        slopes: list[State] = []
        for node, row in zip(nodes, rows, strict=True):
            slopes.append(derivative((step + node) * length, _moved(state, length, row, slopes)))
        state = _moved(state, length, weights, slopes)
    return state


def _moved(state: State, length: Tensor, weights: tuple[float, ...], slopes: list[State]) -> State:
    """state + length * (sum of the slopes times their weights)."""
    pairs = [(weight, slope) for weight, slope in zip(weights, slopes, strict=False) if weight]
    if not pairs:
        return state
    moved = []
    for place, part in enumerate(state):
        total = pairs[0][1][place] * pairs[0][0]
        for weight, slope in pairs[1:]:
            total = total + weight * slope[place]
        moved.append(part + length.view(*length.shape[:2], *(1,) * (part.dim() - 2)) * total)
    return tuple(moved)


def adaptive(
    derivative: Derivative, state: State, elapsed: Tensor, solver: str = "dopri5", **options: Any
) -> State:
    """The same by torchdiffeq: time runs from 0 to 1 and the derivative is scaled by each sample's elapsed
    time.

    options: rtol, atol and torchdiffeq's others; one that it does not know is an error here, not a
    warning."""
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise CreditbenchError(
            f"The solver {solver} is torchdiffeq's; install creditbench[series], or choose one of"
            f" {', '.join(TABLEAUS)}."
        ) from error
    ends: list[State] = []
    grid = torch.linspace(0, 1, 2, dtype=elapsed.dtype, device=elapsed.device)
    for seed in range(len(elapsed)):
        own, length = tuple(part[seed : seed + 1] for part in state), elapsed[seed : seed + 1]

        def scaled(share: Tensor, parts: State, seed: int = seed, length: Tensor = length) -> State:
            whole = tuple(part.expand(len(elapsed), *part.shape[1:]) for part in parts)
            slopes = derivative((share * elapsed).expand_as(elapsed), whole)
            return tuple(
                length.view(*length.shape[:2], *(1,) * (slope.dim() - 2)) * slope[seed : seed + 1]
                for slope in slopes
            )

        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*[Uu]nexpected arguments.*")
            try:
                ends.append(tuple(part[-1] for part in odeint(scaled, own, grid, method=solver, **options)))
            except UserWarning as warning:
                raise CreditbenchError(f"torchdiffeq's {solver} has no such option: {warning}.") from warning
    return tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
