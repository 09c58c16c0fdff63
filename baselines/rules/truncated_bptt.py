"""Truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.along_time import add, cell_of, not_recurrent, walk
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@dataclass(frozen=True)
class TruncatedBPTT(LearningRule):
    """A series is walked in pieces of `window` moments; the error of a piece goes back to the piece's
    beginning and no further, while the state goes on:

        ΔW = Σ_pieces Σ_{t in piece} ∂C/∂y_t ∂y_t/∂h_t  ∂h_t/∂W |_{state before the piece held fixed}

    Williams & Peng (1990). With a window as long as the series it is bp. No more than a piece's activity is
    held.
    """

    name: ClassVar[str] = "truncated-bptt"
    source: ClassVar[str] = "Williams & Peng (1990), Neural Computation 2(4), 490-501"
    temporal: ClassVar[bool] = True
    search: ClassVar = {"window": (2, 5, 10)}

    window: int = 5

    def supports(self, network: Network, task: Task) -> str | None:
        if self.window < 1:
            return f"a window holds at least one moment, not {self.window}"
        return not_recurrent(self.name, network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        hidden, readout = cell_of(network)
        totals: tuple[dict[str, Tensor], ...] = ({}, {})
        piece: list[Any] = []
        for moment in walk(network, batch, context):
            totals = totals[0], add(totals[1], readout.update(moment.trace, moment.error.unsqueeze(0)))
            below = readout.transport(moment.error.unsqueeze(0))
            piece.append((moment.before, moment.seen, below))
            if len(piece) == self.window:
                totals, piece = (add(totals[0], self._back(hidden, piece)), totals[1]), []
        if piece:
            totals = add(totals[0], self._back(hidden, piece)), totals[1]
        yield readout, totals[1]
        yield hidden, totals[0]

    def _back(self, hidden: Any, piece: Sequence[Any]) -> dict[str, Tensor]:
        """The piece's update: its moments walked once more from the state before the first of them."""
        with torch.no_grad():
            trace, _ = hidden.step(torch.stack([seen for _, seen, _ in piece]), piece[0][0])
        return hidden.update(trace, torch.cat([below for _, _, below in piece]))  # type: ignore[no-any-return]
