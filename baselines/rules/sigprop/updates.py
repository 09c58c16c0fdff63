"""How a block's weights follow from its two streams: along the local loss's gradient, or Hebbian.

Hebbian: pre-synaptic the target below, post-synaptic the difference of target and input, and no derivative:

    ΔW_l = 1/batch Σ_i (t_l - h_l,i) t_{l-1}ᵀ        Δb_l = 1/batch Σ_i (t_l - h_l,i)

For linear units that is descent of 1/batch Σ_i (h_l,i·t_l - |t_l|²/2) by the weights as t_l meets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch

from creditbench.baselines.rules.sigprop.losses import Loss, Terms
from creditbench.baselines.rules.sigprop.targets import Stage, Streams
from creditbench.suite.types import Block, Trace, Update

Learn = Callable[[Block, Stage, Trace, Streams, Loss, Terms], Iterator[Update]]


def gradient(
    block: Block, below: Stage, trace: Trace, above: Streams, loss: Loss, terms: Terms
) -> Iterator[Update]:
    """The block's own weights, through both streams, and the generator's where it stands before them."""
    change = torch.cat(loss(above.h, above.t, terms), 1)
    return below.updates(block, trace, change.view_as(above.both))


def hebbian(
    block: Block, below: Stage, trace: Trace, above: Streams, loss: Loss, terms: Terms
) -> Iterator[Update]:
    """Weights and bias alone; a row stands for all its members."""
    rows = above.rows
    apart = rows.collect(above.h) - rows.members * above.t  # Σ h - t: [seed, rows, units]
    apart = apart.view(*apart.shape[:2], *block.output_shape)
    yield block, block.synaptic_update(below.pre, apart / above.h.shape[1])


UPDATES: Mapping[str, Learn] = {"gradient": gradient, "hebbian": hebbian}
