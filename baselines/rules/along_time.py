"""What rules that learn moment by moment share: a walk along a series with the error at each moment's
output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.baselines.networks.recurrent import CellBlock, Readout, moments_of
from creditbench.suite.types import Batch, Context, Network, Tensors, Trace


@dataclass(frozen=True)
class Moment:
    """One moment of a walk."""

    seen: Tensor  # [seed, batch, 1 + features], what arrived
    before: Tensors  # the cell's state
    after: Tensors
    trace: Trace  # of the readout at this moment
    error: Tensor  # [seed, batch, outputs]: derivative of the batch's loss by this moment's output


def cell_of(network: Network) -> tuple[CellBlock, Readout]:
    """The two blocks of a recurrent network for series."""
    hidden, readout = network.blocks
    assert isinstance(hidden, CellBlock)
    assert isinstance(readout, Readout)
    return hidden, readout


def not_recurrent(name: str, network: Network) -> str | None:
    """A reason for a rule that is defined on a cell and its readout alone."""
    if len(network.blocks) == 2 and isinstance(network.blocks[0], CellBlock):
        return None
    return f"{name} follows the state of one recurrent cell: choose a network for series, such as rnn-dt."


def walk(network: Network, batch: Batch, context: Context) -> Iterator[Moment]:
    """Moment after moment; nothing but the state is kept. What is behind a series' end gives no error."""
    hidden, readout = cell_of(network)
    moments = moments_of(batch.inputs, hidden.cut)
    state = hidden.initial_state(moments)
    ends = moments[..., 0].isfinite()  # [time, seed, batch]
    for place, moment in enumerate(moments):
        after = hidden.advance(moment, state)
        trace, _ = readout.step(after["h"].unsqueeze(0), {})
        if readout.steps is not None:
            error = _share(context, trace.output[0], batch.targets, place)
        else:
            goes_on = ends[place + 1] if place + 1 < len(moments) else torch.zeros_like(ends[place])
            last = (ends[place] & ~goes_on).unsqueeze(-1)
            error = torch.where(last, context.loss.gradient(trace.output[0], batch.targets), 0.0)
        yield Moment(moment, state, after, trace, error)
        state = after


def _share(context: Context, output: Tensor, targets: Tensor, place: int) -> Tensor:
    """This moment's part of the derivative of the mean over all moments that have a target."""
    has = targets.isfinite() if targets.is_floating_point() else targets >= 0
    now = targets[:, :, place : place + 1]
    gradient = context.loss.gradient(output.unsqueeze(2), now).squeeze(2)  # of the mean over this moment
    counts = has[:, :, place].flatten(1).sum(1).to(gradient) / has.flatten(1).sum(1).clamp(min=1)
    return gradient * counts.view(-1, 1, 1)


def add(total: dict[str, Tensor], more: Tensors) -> dict[str, Tensor]:
    """Sums by name."""
    return {name: total[name] + tensor if name in total else tensor for name, tensor in more.items()}
