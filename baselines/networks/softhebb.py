"""The convolutional network of SoftHebb: three convolutions with triangle units and a linear output layer.

Journé et al. (2023), Hebbian Deep Learning Without Feedback, ICLR, arXiv:2209.11883: 96, 384 and 1536
channels; 5 x 5, 3 x 3 and 3 x 3 kernels; triangle units to the powers 0.7, 1.4 and 1; pooling by the maximum
of 4 x 4 windows 2 apart, twice, then by the mean of 2 x 2. The authors' batch normalisation in front of each
convolution stands behind the pooling of the one before here, and in front of the output layer as well; the
task's own scaling stands for the first.
"""

from creditbench.baselines.networks.blocks import WeightedBlock, linear
from creditbench.baselines.networks.pooling import Pooling
from creditbench.baselines.networks.stages import Normalisation, Triangle
from creditbench.baselines.networks.synapses import Convolution
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Block, Shape

WIDER = 4  # each convolution has so many times the channels of the one before
LAYERS = (
    (5, Triangle(0.7), Pooling("max", 4, 2, 1)),
    (3, Triangle(1.4), Pooling("max", 4, 2, 1)),
    (3, Triangle(1.0), Pooling("mean", 2)),
)


def softhebb(input_shape: Shape, outputs: int, *, width: int = 96, depth: int = 3) -> tuple[Block, ...]:
    """The first `depth` convolutions, the first of them with `width` channels."""
    if len(input_shape) != 3 or not 1 <= depth <= len(LAYERS):
        raise CreditbenchError(
            f"softhebb has 1 to {len(LAYERS)} convolutions over images [channels, height, width], not"
            f" {depth} over {list(input_shape)}."
        )
    blocks: list[Block] = []
    for number, (kernel, triangle, pooling) in enumerate(LAYERS[:depth]):
        shape = blocks[-1].output_shape if blocks else input_shape
        synapses = Convolution(shape, width * WIDER**number, kernel, padding=kernel // 2)
        stages = (triangle, pooling, Normalisation("batch"))
        blocks.append(WeightedBlock(name=str(number), input_shape=shape, synapses=synapses, stages=stages))
    return (*blocks, linear(str(depth), blocks[-1].output_shape, outputs))
