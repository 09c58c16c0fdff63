"""CaFo's cascade: 3 x 3 convolutions, each with four times the channels of the one before.

Zhao et al. (2023), arXiv:2303.09728: convolution, relu, 2 x 2 maximum pooling, then batch normalisation.
`width` is the first block's channels, 32 in the paper, so that the others have 128 and 512.
"""

from dataclasses import replace

from creditbench.baselines.networks.blocks import convolution, linear
from creditbench.baselines.networks.stages import Normalisation
from creditbench.suite.types import Block, Shape


def cafo(
    input_shape: Shape, outputs: int, *, width: int = 32, depth: int = 3, activation: str = "relu"
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for number in range(depth):
        shape = blocks[-1].output_shape if blocks else input_shape
        block = convolution(str(number), shape, width * 4**number, activation, pooling="max")
        blocks.append(replace(block, stages=(*block.stages, Normalisation("batch"))))
    return (*blocks, linear(str(depth), blocks[-1].output_shape, outputs))
