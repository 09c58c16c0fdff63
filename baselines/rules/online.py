"""Online learning in recurrent networks: influence traces that are carried forward, and nothing that goes
back in time.

With h_t = F(h_{t-1}, x_t, θ), the influence M_t = dh_t/dθ follows M_t = J_t M_{t-1} + I_t, J = ∂F/∂h, I =
∂F/∂θ (real-time recurrent learning, Williams & Zipser 1989); the gradient is Σ_t (∂C/∂h_t) M_t. What is
carried of M, and which ∂C/∂h, makes the rules. For cells whose parameters each act on one unit at once:

    snap-1   the influence of a parameter on its own unit:  m ← J_ii m + I        (Menick et al. 2021)
    rflo     without recurrence in J, the leak alone:       m ← (∂F_i/∂h_i)_leak m + I    (Murray 2019)

Traces are [seed, batch, units, inputs], whatever the length of a series.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.networks.cells import TimedRNN
from creditbench.baselines.networks.flowing_cells import CTRNN
from creditbench.baselines.networks.recurrent import CellBlock
from creditbench.baselines.rules.along_time import Moment, add, cell_of, not_recurrent, walk
from creditbench.baselines.rules.feedback import to_every_block
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class Local:
    """How one moment acts on single units, each [seed, batch, units]; F = leak h + gain f(a) + ..."""

    presynaptic: dict[
        str, Tensor
    ]  # parameter -> what it multiplies, [seed, batch, inputs], or a unit's own factor
    slope: Tensor  # ∂F_i/∂a_i
    leak: Tensor  # ∂F_i/∂h_i but for what goes through a
    direct: dict[str, Tensor]  # parameters of a unit's own (rates, scales): ∂F_i/∂θ_i


def local(hidden: CellBlock, moment: Moment) -> Local:
    """Of an Elman cell, h' = tanh(a), and of one Euler step of a CT-RNN, h' = h + Δt (s tanh(a) - λ h), with
    a = W x + U h + b. Where nothing was observed h' = h, and no parameter acts."""
    own, h, after = hidden.parameters, moment.before["h"], moment.after["h"]
    seen = hidden.seen(moment.seen, moment.before)
    acts, elapsed, x = seen.anything, seen.elapsed, seen.both
    ones = torch.ones_like(elapsed)
    if isinstance(hidden.cell, TimedRNN):
        x = torch.cat([x, elapsed], -1)
        slope, leak, direct = 1 - after**2, torch.zeros_like(h), {}
    else:
        a = torch.baddbmm(own["input_bias"].unsqueeze(1), x, own["input"].mT) + h @ own["recurrent"].mT
        f, rate, scale = torch.tanh(a), own["log_rate"].exp().unsqueeze(1), own["scale"].unsqueeze(1)
        slope, leak = elapsed * scale * (1 - f**2), 1 - elapsed * rate
        direct = {"log_rate": -elapsed * rate * h, "scale": elapsed * f}
    return Local(
        {"input": x, "recurrent": h, "input_bias": ones},
        torch.where(acts, slope, 0.0),
        torch.where(acts, leak, 1.0),
        {name: torch.where(acts, part, 0.0) for name, part in direct.items()},
    )


@dataclass(frozen=True)
class UnitTraces(LearningRule):
    """What snap-1 and rflo share: m ← decay m + I, and ΔW = Σ_t c_t m_t, c the credit of a unit at a
    moment."""

    temporal: ClassVar[bool] = True

    def supports(self, network: Network, task: Task) -> str | None:
        if reason := not_recurrent(self.name, network):
            return reason
        hidden, _ = cell_of(network)
        cell = hidden.cell
        if isinstance(cell, TimedRNN) or (
            isinstance(cell, CTRNN) and (cell.solver, cell.unfolds) == ("euler", 1)
        ):
            return None
        return (
            f"{self.name} is defined where a parameter acts on one unit at a time: choose rnn-dt, or"
            " ct-rnn:solver=euler,unfolds=1"
        )

    @abstractmethod
    def decay(self, hidden: CellBlock, at: Local) -> Tensor:
        """What of a unit's influence goes on: [seed, batch, units]."""

    def credit(self, error: Tensor, readout_weight: Tensor, state: State) -> Tensor:
        """∂C/∂h at a moment, or what stands for it: [seed, batch, outputs] -> [seed, batch, units]."""
        return error @ readout_weight

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = cell_of(network)
        traces: dict[str, Tensor] = {}
        updates: tuple[dict[str, Tensor], ...] = ({}, {})
        for moment in walk(network, batch, context):
            at = local(hidden, moment)
            decay = self.decay(hidden, at)
            now = {name: at.slope.unsqueeze(-1) * x.unsqueeze(-2) for name, x in at.presynaptic.items()}
            now |= {name: part.unsqueeze(-1) for name, part in at.direct.items()}
            traces = {
                name: decay.unsqueeze(-1) * traces[name] + part if traces else part
                for name, part in now.items()
            }  # [seed, batch, units, inputs]
            credit = self.credit(moment.error, readout.weight, state)
            change = {name: torch.einsum("sbu,sbui->sui", credit, trace) for name, trace in traces.items()}
            updates = (
                add(updates[0], change),
                add(updates[1], readout.update(moment.trace, moment.error.unsqueeze(0))),
            )
        yield readout, updates[1]
        own = hidden.parameters
        yield hidden, {name: update.view(own[name].shape) for name, update in updates[0].items()}


@dataclass(frozen=True)
class SnAp1(UnitTraces):
    """m ← J_ii m + I with J_ii = leak_i + slope_i U_ii, and the exact ∂C/∂h of each moment.

    Exact where recurrence is diagonal. Menick et al. (2021), Practical real time recurrent learning with a
    sparse approximation; traces m [seed, batch, units, inputs]."""

    name: ClassVar[str] = "snap-1"
    source: ClassVar[str] = "Menick et al. (2021), ICLR. arXiv:2006.07232"

    def decay(self, hidden: CellBlock, at: Local) -> Tensor:
        diagonal = hidden.parameters["recurrent"].diagonal(dim1=-2, dim2=-1).unsqueeze(1)
        return at.leak + at.slope * diagonal


@dataclass(frozen=True)
class RFLO(UnitTraces):
    """Random feedback local online learning: m ← leak m + I (recurrence left out of J), credit c = B e
    through fixed random weights B [outputs, units], or through the readout's own with feedback=symmetric,
    which for these units is e-prop (Bellec et al. 2020).

    Murray (2019), Local online learning in recurrent networks with random feedback."""

    name: ClassVar[str] = "rflo"
    source: ClassVar[str] = "Murray (2019), eLife 8:e43299"
    search: ClassVar = {"feedback": ("random", "symmetric")}

    feedback: str = "random"

    def __post_init__(self) -> None:
        if self.feedback not in ("random", "symmetric"):
            raise unknown_name("feedback", self.feedback, ("random", "symmetric"))

    def init(self, network: Network, context: Context) -> State:
        if self.feedback == "symmetric":
            return State()
        return State(carried={"feedback": to_every_block(network.blocks[0], context.classes, context.noise)})

    def decay(self, hidden: CellBlock, at: Local) -> Tensor:
        return at.leak

    def credit(self, error: Tensor, readout_weight: Tensor, state: State) -> Tensor:
        return error @ state.carried.get("feedback", readout_weight)
