"""Blocks that are tampered with: another block inside, with one thing about it changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.seeds import SeededNoise
from creditbench.suite.types import Block, Context, Network, Shape, Tensors, Trace


@dataclass(frozen=True, kw_only=True)
class Wrapped(Block):
    """Does what the block inside does. A subclass changes one thing."""

    inner: Block

    @property
    def preactivation_shape(self) -> Shape:
        return self.inner.preactivation_shape

    @property
    def output_shape(self) -> Shape:
        return self.inner.output_shape

    @property
    def mixes_samples(self) -> bool:
        return self.inner.mixes_samples

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.inner.initial(generator)

    def preactivate(self, inputs: Tensor) -> Tensor:
        return self.inner.preactivate(inputs)

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        return self.inner.activate(preactivation, context)

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.inner.deactivate(trace, change)

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return self.inner.synaptic_update(inputs, delta)

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.inner.transport(delta, weight)

    def measure(self, inputs: Tensor) -> tuple[Block, Tensor]:
        inner, output = self.inner.measure(inputs)
        return replace(self, inner=inner), output

    def bind(self, parameters: Tensors) -> Block:
        return replace(self, inner=self.inner.bind(parameters), parameters=parameters)


def wrap(network: Network, kind: Callable[..., Wrapped], number: int, **change: Any) -> Network:
    """The network with its block of this number inside another."""
    inner = network.blocks[number]
    around = kind(
        name=inner.name,
        input_shape=inner.input_shape,
        parameters=inner.parameters,
        inner=inner,
        **change,
    )
    return replace(network, blocks=(*network.blocks[:number], around, *network.blocks[number + 1 :]))


# ----------------------------------------------------------------------------- a layer of values alone


class NoDerivativeError(Exception):
    """Somebody asked for the derivative of what has values alone."""


@dataclass(frozen=True, kw_only=True)
class BlackBoxed(Wrapped):
    """A fixed layer stands before the weights, h' = tanh(R h), and only its values can be had.

    R [channels, channels] is random and stays. The weights learn from h' as from any input. Who wants a
    derivative at h, by autograd or carried back through the block's own weights, gets NoDerivativeError.
    Feedback weights of a rule's own lead round the box to h: they ask it nothing."""

    mixing: Tensor

    def box(self, h: Tensor) -> Tensor:
        """[seed, batch, channels, ...] -> the same shape."""
        mixed: Tensor = _ValuesAlone.apply(h, self.mixing)  # type: ignore[no-untyped-call]
        return mixed

    def preactivate(self, inputs: Tensor) -> Tensor:
        return self.inner.preactivate(self.box(inputs))

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return self.inner.synaptic_update(self.box(inputs), delta)

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            raise NoDerivativeError
        return self.inner.transport(delta, weight)

    def measure(self, inputs: Tensor) -> tuple[Block, Tensor]:
        return super().measure(self.box(inputs))


class _ValuesAlone(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(h: Tensor, mixing: Tensor) -> Tensor:
        return torch.tanh(torch.tensordot(h, mixing, dims=([2], [0])).movedim(-1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *change: Any) -> Any:
        raise NoDerivativeError

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NoDerivativeError


def fixed_mixing(channels: int, generator: torch.Generator) -> Tensor:
    """Normal numbers that keep a signal's mean square, [channels, channels]."""
    return torch.randn(channels, channels, generator=generator) / math.sqrt(channels)


# ----------------------------------------------------------------------------- another way back


@dataclass(frozen=True, kw_only=True)
class Mismatched(Wrapped):
    """The way back leads through weights that are off by `level` times their root mean square.

    As on a chip: the deviation is drawn once and stays, whatever the weights become; it is that of whichever
    weights carry the signal, the block's own or a rule's feedback weights. Forward nothing is changed."""

    level: float
    noise: SeededNoise
    used: set[str]  # names of blocks through which something was carried back
    deviations: dict[Shape, Tensor] = field(default_factory=dict)  # drawn when first needed

    def off(self, weight: Tensor) -> Tensor:
        """[seed, ...] -> the weights as they are on the way back."""
        if weight.shape not in self.deviations:
            self.deviations[weight.shape] = self.noise.normal(*weight.shape[1:])
        scale = weight.flatten(1).square().mean(1).sqrt().view(-1, *(1,) * (weight.dim() - 1))
        return weight + self.level * scale * self.deviations[weight.shape]

    def preactivate(self, inputs: Tensor) -> Tensor:
        a = self.inner.preactivate(inputs.detach() if inputs.requires_grad else inputs)
        if not inputs.requires_grad:
            return a
        back: Tensor = _WayBack.apply(inputs, a.detach(), self)  # type: ignore[no-untyped-call]
        return a + back

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        self.used.add(self.name)
        return self.inner.transport(delta, self.off(self.weight if weight is None else weight))


class _WayBack(torch.autograd.Function):
    """Adds nothing forward; backward it is the block's transport."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, like: Tensor, block: Mismatched) -> Tensor:
        ctx.block = block
        return torch.zeros_like(like)

    @staticmethod
    def backward(ctx: Any, *change: Tensor) -> tuple[Tensor, None, None]:
        return ctx.block.transport(change[0]), None, None
