"""What rules with feedback weights of their own share: how they are drawn, and the way back through them."""

from collections.abc import Mapping

from torch import Tensor

from creditbench.suite.types import Block, Noise, Step, Trace


def like_weights(block: Block, noise: Noise, scale: float = 1.0) -> Tensor:
    """Entries from U(-s, s), s = scale / sqrt(fan-in), in the weights' shape [seed, out, in, ...]: the
    distribution of fresh weights when the scale is 1."""
    width = float(scale / block.weight[0, 0].numel() ** 0.5)
    return width * (2 * noise.uniform(*block.weight.shape[1:]) - 1)


def to_every_block(block: Block, classes: int, noise: Noise, scale: float = 1.0) -> Tensor:
    """From the output straight to a block's output: [seed, classes, units], entries from U(-s, s),
    s = scale / sqrt(units)."""
    return float(scale / block.output_size**0.5) * (2 * noise.uniform(classes, block.output_size) - 1)


def fed_back(
    blocks: tuple[Block, ...], traces: list[Trace], change: Tensor, feedback: Mapping[str, Tensor]
) -> Step:
    """From a change wanted at the output down to the first block, through `feedback` where backpropagation
    has the weights; yields each block's update as it becomes known."""
    for block, trace in reversed(list(zip(blocks[1:], traces[1:], strict=True))):
        update, change = block.pullback(trace, change, weight=feedback[block.name])
        yield block, update
    yield blocks[0], blocks[0].update(traces[0], change)
