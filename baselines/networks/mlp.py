"""Fully connected network: hidden layers of equal width and a linear output layer."""

from creditbench.baselines.networks.blocks import linear
from creditbench.suite.types import Block, Shape


def mlp(
    input_shape: Shape,
    outputs: int,
    *,
    depth: int = 2,
    width: int = 256,
    activation: str = "relu",
    normalisation: str | None = None,
    dropout: float = 0.0,
) -> tuple[Block, ...]:
    """`depth` hidden layers of `width` units; normalisation is None, layer or batch."""
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else input_shape
        blocks.append(linear(str(number), shape, width, activation, normalisation, dropout))
    shape = blocks[-1].output_shape if blocks else input_shape
    return (*blocks, linear(str(depth), shape, outputs))
