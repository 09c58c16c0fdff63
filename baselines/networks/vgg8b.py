"""VGG8b of Nøkland & Eidnes (2019): six convolutions, one hidden layer of 1024, a linear output layer.

Training Neural Networks with Local Error Signals, ICML 2019, arXiv:1901.06656. Every hidden block is
weights, batch normalisation, activation, dropout (of whole channels behind a convolution), then 2 x 2
maximum pooling where the plan has an M. With three channels of 32 x 32 pixels and ten classes it has
8.9 million parameters, with one of 28 x 28 7.3 million, as the authors state.
"""

from creditbench.baselines.networks.blocks import convolution, linear
from creditbench.suite.types import Block, Shape

PLAN = (128, 256, "M", 256, 512, "M", 512, "M", 512, "M")


def vgg8b(
    input_shape: Shape,
    outputs: int,
    *,
    activation: str = "relu",
    normalisation: str | None = "batch",
    dropout: float = 0.0,
    hidden: int = 1024,
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for place, channels in enumerate(PLAN):
        if not isinstance(channels, int):
            continue
        pooling = "max" if PLAN[place + 1] == "M" else None
        shape = blocks[-1].output_shape if blocks else input_shape
        name = str(len(blocks))
        blocks.append(convolution(name, shape, channels, activation, normalisation, dropout, pooling))
    flat = "layer" if normalisation == "instance" else normalisation
    shape, name = blocks[-1].output_shape, str(len(blocks))
    blocks.append(linear(name, shape, hidden, activation, flat, dropout))
    return (*blocks, linear(str(len(blocks)), (hidden,), outputs))
