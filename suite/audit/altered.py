"""Blocks that are tampered with: the same values forward, another derivative; or an output of a step ago."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from creditbench.suite.types import Block, Context, Shape, Tensors, Trace


@dataclass(frozen=True, kw_only=True)
class Altered(Block):
    """A block that does what `inner` does but for its derivative, or for what it hands up.

    slope: a factor of the derivative at the output, one per unit, [*output_shape]. outputs: where given,
    the n-th output of a step is `outputs[n]`; the derivative is that of the output in whose place it stands.
    """

    inner: Block
    slope: Tensor | None = None
    outputs: list[Tensor] | None = None
    seen: list[Tensor] = field(default_factory=list)  # the outputs as they would have been, call by call

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
        return self._hand_up(self.inner.activate(preactivation, context))

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        return self._hand_up(self.inner.forward(inputs, context))

    def _hand_up(self, trace: Trace) -> Trace:
        output = trace.output
        self.seen.append(output.detach().clone())
        if self.slope is not None:
            output = output + (self.slope - 1) * (output - output.detach())  # adds nothing but a derivative
        if self.outputs is not None:
            place = len(self.seen) - 1
            if place >= len(self.outputs) or self.outputs[place].shape != output.shape:
                raise OtherCalls(self.name)
            output = self.outputs[place] + (output - output.detach())
        return replace(trace, output=output)

    def _steeper(self, change: Tensor) -> Tensor:
        return change if self.slope is None else change * self.slope

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.inner.deactivate(trace, self._steeper(change))

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return self.inner.synaptic_update(inputs, delta)

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.inner.transport(delta, weight)

    def pullback(
        self, trace: Trace, change: Tensor, weight: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        return self.inner.pullback(trace, self._steeper(change), weight)

    def bind(self, parameters: Tensors) -> Block:
        return replace(self, inner=self.inner.bind(parameters), parameters=parameters)


class OtherCalls(Exception):
    """A block was called otherwise than in the step whose outputs it repeats."""


def altered(inner: Block, slope: Tensor | None = None, outputs: list[Tensor] | None = None) -> Altered:
    return Altered(
        name=inner.name,
        input_shape=inner.input_shape,
        parameters=inner.parameters,
        statistics=inner.statistics,
        inner=inner,
        slope=slope,
        outputs=outputs,
    )
