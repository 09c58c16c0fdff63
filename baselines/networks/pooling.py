"""Pooling: the maximum or the mean of an image's windows, and the way back.

torch's CPU kernels for images in memory order [channels, height, width] go from window to window. Here a CPU
takes maxima and sums of strided slices, by rows and then by columns: 11 and 4 times faster. Where the places
of the maxima are wanted, it turns the memory order, for which torch's kernel is good: 3 times faster.
Ties, ragged edges and what is not a number are torch's; means add up in another order.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from creditbench.baselines.networks.stages import Plain, Pulled
from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Context, Shape, Tensors

aten = torch.ops.aten


@dataclass(frozen=True)
class Pooling(Plain):
    """Maximum or mean over size x size windows, `stride` apart (by default without overlap), with `padding`
    at the edges, which a mean leaves out of its count; a ragged edge is left out."""

    kind: str = "max"
    size: int = 2
    stride: int = 0  # 0: the size
    padding: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("max", "mean"):
            raise unknown_name("pooling", self.kind, ("max", "mean"))

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, *lengths = input_shape
        return (channels, *((n + 2 * self.padding - self.size) // self.step + 1 for n in lengths))

    @property
    def step(self) -> int:
        return self.stride or self.size

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Keeps the places of maxima while learning; otherwise `pullback` finds them again."""
        images = x.flatten(0, 1)
        if x.requires_grad and x.device.type == "cpu":
            y, where = _Pooled.apply(images, self)  # type: ignore[no-untyped-call]
        else:
            y, where = self.pool(images, context is not None)
        return y.unflatten(0, x.shape[:2]), (x, where)

    def pullback(self, saved: tuple[Tensor, Tensor | None], change: Tensor, parameters: Tensors) -> Pulled:
        x, where = saved
        return self.back(x.flatten(0, 1), change.flatten(0, 1), where).view_as(x), {}

    def pool(self, images: Tensor, places: bool) -> tuple[Tensor, Tensor | None]:
        """[images, channels, height, width] -> the same, smaller; and, of maxima, their places if wanted."""
        if images.device.type != "cpu" or self.size == 1:
            return self._kernel(images)
        if self.kind == "max" and places:
            return self._turned(images)
        if self.kind == "max" or self._apart:
            return self._slices(images), None
        return self._kernel(images)

    def back(self, images: Tensor, change: Tensor, where: Tensor | None) -> Tensor:
        """The derivative at the windows taken to the images."""
        window, step, edge = [self.size] * 2, [self.step] * 2, [self.padding] * 2
        if self.kind == "max":
            if where is None:
                _, where = self.pool(images, True)
                assert where is not None
            return aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
                change, images, window, step, edge, [1, 1], False, where.to(torch.int64)
            )
        if images.device.type != "cpu" or not self._apart:
            return aten.avg_pool2d_backward(  # type: ignore[no-any-return]
                change, images, window, step, edge, False, False, None
            )
        share, k = change / self.size**2, self.size
        rows = share.unsqueeze(-1).expand(*share.shape, k).flatten(3)
        spread = rows.unsqueeze(3).expand(*rows.shape[:3], k, rows.shape[3]).flatten(2, 3)
        ragged = [images.shape[3] - spread.shape[3], images.shape[2] - spread.shape[2]]
        return torch.nn.functional.pad(spread, [0, ragged[0], 0, ragged[1]]) if any(ragged) else spread

    @property
    def _apart(self) -> bool:
        """Windows side by side over the image alone."""
        return self.step == self.size and self.padding == 0

    def _slices(self, images: Tensor) -> Tensor:
        width = self.output_shape(images.shape[1:])[2]
        if self.padding:
            images = torch.nn.functional.pad(images, [self.padding] * 4, value=-torch.inf)
        combine = torch.maximum if self.kind == "max" else torch.add
        used = images[..., : (width - 1) * self.step + self.size]
        rows = functools.reduce(combine, used.unfold(2, self.size, self.step).unbind(-1))
        windows = functools.reduce(combine, rows.unfold(3, self.size, self.step).unbind(-1))
        return windows if self.kind == "max" else windows / self.size**2

    def _turned(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Some images at a time, so that little is held in the other memory order; places in 2 bytes
        where torch has 8."""
        y = images.new_empty(len(images), *self.output_shape(images.shape[1:]))
        where = torch.empty_like(y, dtype=torch.int16 if images[0, 0].numel() < 2**15 else torch.int32)
        for part, *found in zip(images.split(16), y.split(16), where.split(16), strict=True):
            turned = part.contiguous(memory_format=torch.channels_last)
            for to, values in zip(found, self._kernel(turned), strict=True):
                assert values is not None
                to.copy_(values)
        return y, where

    def _kernel(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        window, step, edge = [self.size] * 2, [self.step] * 2, [self.padding] * 2
        if self.kind == "max":
            return aten.max_pool2d_with_indices(images, window, step, edge)  # type: ignore[no-any-return]
        return torch.nn.functional.avg_pool2d(images, window, step, edge, count_include_pad=False), None


class _Pooled(torch.autograd.Function):
    """`pool` with `back` for its derivative: autograd through slices would fill an image for each."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor | None]:
        return pooling.pool(images, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Pooling], output: tuple[Tensor, Tensor | None]) -> None:
        images, ctx.pooling = inputs
        where = output[1]
        if where is not None:
            ctx.mark_non_differentiable(where)
        ctx.save_for_backward(images, where)

    @staticmethod
    def backward(ctx: Any, change: Tensor, _: None) -> tuple[Tensor, None]:
        images, where = ctx.saved_tensors
        return ctx.pooling.back(images, change, where), None
