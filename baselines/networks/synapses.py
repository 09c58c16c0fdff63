"""Weights in closed form: the linear map and the convolution, with the seed axis.

Both know three things: pre-activations a = W h + b, the weight update for a change delta at a, and how
a delta is transported back to h, through W or through any weights of the same shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite.types import Shape


def uniform(shape: Shape, fan_in: int, generator: torch.Generator) -> Tensor:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's default for its own layers: every rule starts here,
    whatever activation its recipe picks."""
    return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)


@dataclass(frozen=True)
class Linear:
    """a = W h + b. W [seed, out, in], b [seed, out], h [seed, batch, *input_shape], flattened."""

    input_shape: Shape
    outputs: int

    @property
    def output_shape(self) -> Shape:
        return (self.outputs,)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        inputs = math.prod(self.input_shape)
        weight = uniform((self.outputs, inputs), inputs, generator)
        return {"weight": weight, "bias": uniform((self.outputs,), inputs, generator)}

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = inputs.flatten(2)
        if len(weight) == 1:  # autograd returns this one's weight gradient without a transposed copy
            return torch.nn.functional.linear(flat[0], weight[0], bias[0]).unsqueeze(0)
        return torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)

    def update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return {"weight": delta.mT @ inputs.flatten(2), "bias": delta.sum(1)}

    def transport(self, delta: Tensor, weight: Tensor) -> Tensor:
        return (delta @ weight).view(*delta.shape[:2], *self.input_shape)


@dataclass(frozen=True)
class Convolution:
    """a = W * h + b. W [seed, out, in, k, k], b [seed, out], h [seed, batch, in, height, width].

    One convolution per seed: as one convolution with groups = seeds, CPU kernels are many times slower.
    """

    input_shape: Shape  # [channels, height, width]
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def output_shape(self) -> Shape:
        height, width = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1 for size in self.input_shape[1:]
        )
        return (self.channels, height, width)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        shape = (self.channels, self.input_shape[0], self.kernel, self.kernel)
        fan_in = math.prod(shape[1:])
        weight = uniform(shape, fan_in, generator)
        return {"weight": weight, "bias": uniform((self.channels,), fan_in, generator)}

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _stack(
            [
                torch.nn.functional.conv2d(h, w, b, self.stride, self.padding)
                for h, w, b in zip(inputs, weight, bias, strict=True)
            ]
        )

    def update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        like = delta.new_empty(()).expand(self.channels, inputs.shape[2], self.kernel, self.kernel)
        weight = _stack(
            [self._backward(d, h, like, (False, True, False))[1] for d, h in zip(delta, inputs, strict=True)]
        )
        return {"weight": weight, "bias": delta.sum((1, 3, 4))}

    def transport(self, delta: Tensor, weight: Tensor) -> Tensor:
        like = delta.new_empty(()).expand(delta.shape[1], *self.input_shape)
        return _stack(
            [self._backward(d, like, w, (True, False, False))[0] for d, w in zip(delta, weight, strict=True)]
        )

    def _backward(
        self, delta: Tensor, inputs: Tensor, weight: Tensor, mask: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The adjoint convolutions of one seed; what the mask leaves out is not computed."""
        stride, padding = (self.stride,) * 2, (self.padding,) * 2
        return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
            delta, inputs, weight, None, stride, padding, (1, 1), False, (0, 0), 1, mask
        )


def _stack(tensors: list[Tensor]) -> Tensor:
    """Seeds back on their axis; a single one without a copy."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)
