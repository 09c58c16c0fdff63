"""Truncated backpropagation through time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.along_time import Moment, add, cell_of, not_recurrent, walk
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Trace


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
        below, above = dict[str, Tensor](), dict[str, Tensor]()
        for number, piece in enumerate(_pieces(walk(network, batch, context), self.window)):
            for moment in piece:
                above = add(above, readout.update(moment.trace, moment.error.unsqueeze(0)))
            # A learned state before the first piece is led back to, the states before the others are not.
            before = (piece[0].before,) if number else ()
            seen = torch.stack([moment.seen for moment in piece])
            change = torch.cat([readout.transport(moment.error.unsqueeze(0)) for moment in piece])
            below = add(below, hidden.update(Trace(seen, change, before), change))
        yield readout, above
        yield hidden, below


def _pieces(moments: Iterator[Moment], window: int) -> Iterator[list[Moment]]:
    while piece := list(itertools.islice(moments, window)):
        yield piece
