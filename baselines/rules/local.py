"""What rules with local losses share: the walk through the blocks, and classifiers on top of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock, linear
from creditbench.baselines.networks.pooling import Pooling
from creditbench.suite.types import Batch, Block, Context, Network, Shape, Step, Tensors, Trace

# The change that a local loss wants at a block's output, and updates of what it has learned for itself.
Credit = tuple[Tensor, dict[str, Tensor]]


def block_by_block(
    network: Network, batch: Batch, context: Context, credit: Callable[[Block, Tensor], Credit]
) -> Step:
    """Every hidden block learns from a loss at its own output as soon as that is there, and nothing is kept
    for later; the output layer learns from the task's loss."""
    inputs = batch.inputs
    *hidden, last = network.blocks
    for block in hidden:
        trace = block.forward(inputs, context)
        change, own = credit(block, trace.output)
        yield from own.items()
        yield block, block.update(trace, change)
        inputs = trace.output
        del trace, change, own  # before the next block's are made
    trace = last.forward(inputs, context)
    yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))


@dataclass(frozen=True)
class Head:
    """A classifier on top of a block: y = V_n f(... f(V_1 h + c_1)) + c_n.

    Images are averaged first, over the smallest windows that tile them and leave at most `features` numbers,
    or over all of them. The layers are blocks bound to learned tensors, called "<block>.head<n>.weight".
    """

    pooling: Pooling | None
    layers: tuple[WeightedBlock, ...]

    @staticmethod
    def on(block: Block, outputs: int, hidden: tuple[int, ...] = (), features: int = 2048) -> Head:
        """Its layers on `block`: rectified hidden ones, and a linear one of `outputs`."""
        pooling = pooled_to(block.output_shape, features)
        shape = pooling.output_shape(block.output_shape) if pooling else block.output_shape
        layers = []
        for number, units in enumerate((*hidden, outputs)):
            kind = "relu" if number < len(hidden) else "identity"
            layers.append(linear(f"{block.name}.head{number}", shape, units, kind))
            shape = (units,)
        return Head(pooling, tuple(layers))

    def initial(self, context: Context) -> dict[str, Tensor]:
        """Like fresh weights, biases at zero."""
        learned = {}
        for layer in self.layers:
            shape = (layer.output_size, math.prod(layer.input_shape))
            weight = shape[1] ** -0.5 * (2 * context.noise.uniform(*shape) - 1)
            learned[f"{layer.name}.weight"] = weight
            learned[f"{layer.name}.bias"] = weight.new_zeros(len(weight), layer.output_size)
        return learned

    def forward(self, h: Tensor, learned: Tensors) -> tuple[Tensor, tuple[Any, list[Trace]]]:
        """[seed, batch, *shape of h] -> [seed, batch, outputs], and what `pullback` needs."""
        pooled, kept = self.pooling.forward(h, {}, {}, None) if self.pooling else (h, None)
        traces: list[Trace] = []
        for layer in self.bound(learned):
            traces.append(layer.forward(traces[-1].output if traces else pooled))
        return traces[-1].output, (kept, traces)

    def pullback(
        self, saved: tuple[Any, list[Trace]], error: Tensor, learned: Tensors, feedback: Tensor | None = None
    ) -> Credit:
        """From an error at the outputs to the change at h; `feedback` may stand for the first layer's
        weights on the way."""
        kept, traces = saved
        own: dict[str, Tensor] = {}
        for layer, trace in reversed(list(zip(self.bound(learned), traces, strict=True))):
            instead = feedback if layer.name == self.layers[0].name else None
            update, error = layer.pullback(trace, error, instead)
            own |= {f"{layer.name}.{key}": value for key, value in update.items()}
        return (self.pooling.pullback(kept, error, {})[0] if self.pooling else error), own

    def bound(self, learned: Tensors) -> list[Block]:
        return [
            layer.bind({key: learned[f"{layer.name}.{key}"] for key in ("weight", "bias")})
            for layer in self.layers
        ]


def pooled_to(shape: Shape, features: int) -> Pooling | None:
    """The mean pooling that leaves at most `features` numbers of an image; None where none is needed."""
    if len(shape) < 3 or math.prod(shape) <= features:
        return None
    channels, *sides = shape
    even = [size for size in range(2, min(sides) + 1) if all(side % size == 0 for side in sides)]
    fits = (size for size in even if channels * math.prod(side // size for side in sides) <= features)
    return Pooling("mean", next(fits, min(sides)))
