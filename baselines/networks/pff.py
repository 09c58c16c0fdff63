"""The representation circuit of predictive forward-forward: two hidden layers, orthogonal weights.

Ororbia & Mali (2023), arXiv:2301.01452: 2000 rectified units each. What the rule adds (feedback, lateral
and generative weights) is the rule's own.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import linear
from creditbench.baselines.networks.synapses import Linear
from creditbench.suite.types import Block, Shape


def pff(input_shape: Shape, outputs: int, *, width: int = 2000, depth: int = 2) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else input_shape
        blocks.append(replace(linear(str(number), shape, width, "relu"), synapses=Orthogonal(shape, width)))
    shape = blocks[-1].output_shape if blocks else input_shape
    return (*blocks, replace(linear(str(depth), shape, outputs), synapses=Orthogonal(shape, outputs)))


@dataclass(frozen=True)
class Orthogonal(Linear):
    """Rows or columns, whichever are fewer, orthonormal; bias as in `Linear`."""

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = super().initial(generator)
        rows, columns = drawn["weight"].shape
        normal = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
        factor, triangle = torch.linalg.qr(normal)
        factor = factor * triangle.diagonal().sign()  # without it the draw is not uniform
        return drawn | {"weight": factor if rows >= columns else factor.T.contiguous()}
