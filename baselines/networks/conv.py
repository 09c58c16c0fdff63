"""Small convolutional network: two 3 x 3 convolutions with 2 x 2 pooling and a linear output layer."""

from creditbench.baselines.networks.blocks import convolution, linear
from creditbench.suite.types import Block, Shape


def conv(
    input_shape: Shape,
    outputs: int,
    *,
    width: int = 8,
    depth: int = 2,
    activation: str = "relu",
    normalisation: str | None = None,
    pooling: str = "max",
    dropout: float = 0.0,
) -> tuple[Block, ...]:
    """`depth` convolutions, the first with `width` channels and each next with twice as many, so that
    a whole board stays affordable on a CPU; pooling is max or mean."""
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else input_shape
        channels = width * 2**number
        blocks.append(convolution(str(number), shape, channels, activation, normalisation, dropout, pooling))
    shape = blocks[-1].output_shape if blocks else input_shape
    return (*blocks, linear(str(depth), shape, outputs))
