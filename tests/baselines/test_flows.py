"""Flows against closed forms, against torchdiffeq, and against themselves."""

import math

import pytest
import torch
from torch import Tensor

from creditbench.baselines.networks.flows import ADAPTIVE, TABLEAUS, adaptive, flow
from creditbench.suite.errors import CreditbenchError

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
A = torch.tensor([[-0.5, 1.0], [-1.0, -0.3]], dtype=torch.float64)


def linear(time: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (state[0] @ A.mT,)


def start() -> tuple[tuple[Tensor, ...], Tensor]:
    """Two seeds, three samples, each with an elapsed time of its own."""
    draw = torch.Generator().manual_seed(0)
    state = torch.randn(2, 3, 2, generator=draw, dtype=torch.float64)
    return (state,), torch.tensor([[0.0, 0.5, 1.0], [2.0, 0.1, 1.5]], dtype=torch.float64).unsqueeze(-1)


def exact(state: Tensor, elapsed: Tensor) -> Tensor:
    """exp(A t) h."""
    return (torch.matrix_exp(A * elapsed.unsqueeze(-1)) @ state.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("solver", TABLEAUS)
def test_the_error_falls_at_the_solvers_order(solver: str) -> None:
    (state,), elapsed = start()
    errors = [
        (flow(linear, (state,), elapsed, solver, unfolds)[0] - exact(state, elapsed)).norm().item()
        for unfolds in (16, 32)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[solver], abs=0.15)


@pytest.mark.parametrize("solver", TABLEAUS)
def test_a_derivative_that_depends_on_time_alone_is_integrated_from_the_flows_beginning(solver: str) -> None:
    """dh/dt = t has the solution t²/2; every method but Euler's is exact on it."""
    _, elapsed = start()
    (end,) = flow(lambda time, state: (time,), (torch.zeros_like(elapsed),), elapsed, solver, 4)
    short = 1 - 1 / 4 if solver == "euler" else 1.0  # Euler's left sums with n steps lack a share of 1/n
    torch.testing.assert_close(end, short * elapsed**2 / 2)


@pytest.mark.parametrize("solver", TABLEAUS)
def test_splitting_an_interval_in_two_leaves_the_flow_unchanged(solver: str) -> None:
    state, elapsed = start()
    whole = flow(linear, state, elapsed, solver, 6)
    half = flow(linear, flow(linear, state, elapsed / 2, solver, 3), elapsed / 2, solver, 3)
    torch.testing.assert_close(whole[0], half[0], rtol=1e-13, atol=1e-13)


def test_where_no_time_passes_nothing_moves() -> None:
    (state,), elapsed = start()
    for solver in TABLEAUS:
        assert torch.equal(flow(linear, (state,), elapsed, solver, 3)[0][0, 0], state[0, 0])


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_fixed_steps_are_torchdiffeqs(solver: str) -> None:
    odeint = pytest.importorskip("torchdiffeq").odeint
    (state,), elapsed = start()
    ours = flow(linear, (state,), elapsed, solver, 5)[0]
    grid = torch.linspace(0, 1, 6, dtype=torch.float64)
    theirs = odeint(lambda s, h: elapsed * (h @ A.mT), state, grid, method=solver)[-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", ADAPTIVE)
def test_adaptive_solvers_meet_the_closed_form(solver: str) -> None:
    pytest.importorskip("torchdiffeq")
    (state,), elapsed = start()
    (end,) = flow(linear, (state,), elapsed, solver)
    torch.testing.assert_close(end, exact(state, elapsed), rtol=1e-4, atol=1e-5)


def test_a_seeds_adaptive_flow_does_not_depend_on_who_rides_along() -> None:
    pytest.importorskip("torchdiffeq")
    (state,), elapsed = start()
    together = flow(linear, (state,), elapsed, "dopri5")[0]
    alone = flow(linear, (state[1:],), elapsed[1:], "dopri5")[0]
    assert torch.equal(together[1:], alone)


def test_a_misspelt_option_is_an_error() -> None:
    pytest.importorskip("torchdiffeq")
    state, elapsed = start()
    with pytest.raises(CreditbenchError, match="step_siez"):
        adaptive(linear, state, elapsed, "dopri5", options={"step_siez": 0.1})


def test_an_unknown_solver_and_no_step_are_errors() -> None:
    state, elapsed = start()
    with pytest.raises(CreditbenchError, match="rk4"):
        flow(linear, state, elapsed, "rk5")
    with pytest.raises(CreditbenchError, match="at least 1"):
        flow(linear, state, elapsed, "rk4", 0)
