"""One hidden layer of powers of rectified units and a linear output layer, after Krotov & Hopfield (2019).

Unsupervised learning by competing hidden units, PNAS 116, arXiv:1806.10181: 2000 hidden units,
h = max(0, W x)^n with n = 4.5. The power is homogeneous and spans many orders of magnitude; layer
normalisation behind it takes the input's length out, for which the authors have a small factor inside their
output's tanh.
"""

from creditbench.baselines.networks.blocks import WeightedBlock, linear
from creditbench.baselines.networks.stages import Normalisation, RectifiedPower
from creditbench.baselines.networks.synapses import Linear
from creditbench.suite.types import Block, Shape


def krotov(
    input_shape: Shape, outputs: int, *, width: int = 2000, exponent: float = 4.5
) -> tuple[Block, ...]:
    hidden = WeightedBlock(
        name="0",
        input_shape=input_shape,
        synapses=Linear(input_shape, width),
        stages=(RectifiedPower(exponent), Normalisation("layer")),
    )
    return (hidden, linear("1", (width,), outputs))
