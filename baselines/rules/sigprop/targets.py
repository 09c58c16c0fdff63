"""Target generators of signal propagation: where the second stream comes from, and what its source learns.

c is a sample's class, one-hot, so that S c is a row of S [seed, classes, ...]; S learns or stays as drawn.

    context-input   h_1 = f(W_1 x + b_1)    t_1 = f(S c)                     target-only, S beside W_1
    context         h_0 = x                 t_0 = S c                        target-only, S below W_1
    drawn           h_0 = x                 t_0 = the class's number, drawn on the image plane
    target-input    h_1 = f(W_1 x + b_1)    t_1 = h_1 ⊙ f(S c)               the label gates its own input
    joint           h_1 = f(W_1 x + b_1)    t_1 = f(W_1 x + S c + b_1)       the label joins its own input
    target-loop     h_0 = x                 t_0 = S e, e = softmax(y) - c    the output's error re-enters

The first three have a row per class. What goes into the first block is a `Streams` or one of its kind: it
passes through a block, and turns the derivatives behind the block into updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from creditbench.baselines.rules.sigprop.rows import ClassRows, Rows, SampleRows, one_hot
from creditbench.suite.types import Block, Context, Network, Shape, Trace, Update


@dataclass(frozen=True)
class Streams:
    """Both streams below a block in one tensor, so that one pass through the weights carries both."""

    both: Tensor  # [seed, batch + rows, *shape]
    rows: Rows

    @property
    def inputs(self) -> Tensor:
        return self.both[:, : self.rows.labels.shape[1]]

    @property
    def h(self) -> Tensor:
        return self.inputs.flatten(2)

    @property
    def t(self) -> Tensor:
        return self.both[:, self.rows.labels.shape[1] :].flatten(2)

    def incoming(self) -> Tensor:
        """The targets that came in, as nearness is judged by: [seed, rows, units]."""
        return self.t

    @property
    def pre(self) -> Tensor:
        """The targets as the block's weights see them: [seed, rows, *shape]."""
        return self.both[:, self.rows.labels.shape[1] :]

    def through(self, block: Block, context: Context | None) -> tuple[Trace, Streams]:
        trace = block.forward(self.both, context)
        return trace, Streams(trace.output, self.rows)

    def updates(self, block: Block, trace: Trace, change: Tensor) -> Iterator[Update]:
        """change: derivative by what `through` returned, [seed, batch + rows, *shape]."""
        yield block, block.update(trace, change)


@dataclass(frozen=True)
class Arrival:
    """What comes to the first block: inputs x, and the generator's source, not yet applied to the code."""

    x: Tensor  # [seed, batch, *input_shape]
    source: Tensor  # S, or fixed pictures: [seed, classes, *shape where it enters]
    rows: Rows
    learns: bool  # whether S does
    code: Tensor | None = None  # what S is applied to, [seed, rows, classes]; None: every class

    def incoming(self) -> Tensor:
        """As in Streams: the signal with which a row's targets start."""
        return self.signal.flatten(2)

    @cached_property
    def signal(self) -> Tensor:
        """S c: [seed, rows, *shape where it enters]."""
        return self.source if self.code is None else _mixed(self.code, self.source)

    def credit(self, change: Tensor) -> Iterator[Update]:
        """The generator's update for a derivative by the signal; nothing where it is fixed."""
        if self.learns:
            update = change if self.code is None else _mixed(self.code.mT, change)
            yield "generator", update.flatten().view_as(self.source)  # strides as the optimizer wants them


def _mixed(weights: Tensor, rows: Tensor) -> Tensor:
    """Sums of rows: [seed, m, n] with [seed, n, *shape] -> [seed, m, *shape]."""
    return (weights @ rows.flatten(2)).view(*weights.shape[:2], *rows.shape[2:])


@dataclass(frozen=True)
class Below(Arrival):
    """h_0 = x, t_0 = S c: both meet the first block's weights."""

    @cached_property
    def both(self) -> Tensor:
        return torch.cat([self.x, self.signal], 1)

    @property
    def pre(self) -> Tensor:
        return self.signal

    def through(self, block: Block, context: Context | None) -> tuple[Trace, Streams]:
        return Streams(self.both, self.rows).through(block, context)

    def updates(self, block: Block, trace: Trace, change: Tensor) -> Iterator[Update]:
        delta, tail = block.deactivate(trace, change)
        del change  # the update comes beside as little as can be
        credit = list(self.credit(block.transport(delta[:, self.x.shape[1] :]))) if self.learns else []
        yield block, block.synaptic_update(self.both, delta) | tail  # W_1 changes: the credit comes before
        yield from credit


@dataclass(frozen=True)
class Beside(Arrival):
    """h_1 = f(W_1 x + b_1), t_1 = f(S c): the generator is a first block of its own."""

    @property
    def pre(self) -> Tensor:
        raise NotImplementedError  # the first block's weights see no target

    def through(self, block: Block, context: Context | None) -> tuple[Trace, Streams]:
        trace = block.activate(torch.cat([block.preactivate(self.x), self.signal], 1), context)
        return trace, Streams(trace.output, self.rows)

    def updates(self, block: Block, trace: Trace, change: Tensor) -> Iterator[Update]:
        delta, tail = block.deactivate(trace, change)
        del change  # the update comes beside as little as can be
        samples = self.x.shape[1]
        yield block, block.synaptic_update(self.x, delta[:, :samples]) | tail
        yield from self.credit(delta[:, samples:])


@dataclass(frozen=True)
class Gating(Beside):
    """t_1 = h_1 ⊙ g, g = f(S c): the label picks from what the own input evokes."""

    def incoming(self) -> Tensor:
        return self.rows.one_hot.mT @ self.source.flatten(2)

    def through(self, block: Block, context: Context | None) -> tuple[Trace, Streams]:
        trace, above = Beside.through(self, block, context)
        h, gate = self._parts(trace.output)
        return trace, Streams(torch.cat([h, h * gate], 1), above.rows)

    def updates(self, block: Block, trace: Trace, change: Tensor) -> Iterator[Update]:
        h, gate = self._parts(trace.output)
        by_h, by_t = change.split(h.shape[1], 1)
        by_gate = _mixed(self.rows.one_hot, by_t * h)
        yield from Beside.updates(self, block, trace, torch.cat([by_h + by_t * gate, by_gate], 1))

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        h, gates = output[:, : self.x.shape[1]], output[:, self.x.shape[1] :]
        return h, _mixed(self.rows.one_hot.mT, gates)


@dataclass(frozen=True)
class Joining(Arrival):
    """t_1 = f(W_1 x + S c + b_1): one input of two parts, the second of them zero for h."""

    @property
    def pre(self) -> Tensor:
        return self.x  # the part of t_0 that W_1 sees

    def through(self, block: Block, context: Context | None) -> tuple[Trace, Streams]:
        a = block.preactivate(self.x)
        trace = block.activate(torch.cat([a, a + self.signal], 1), context)
        return trace, Streams(trace.output, self.rows)

    def updates(self, block: Block, trace: Trace, change: Tensor) -> Iterator[Update]:
        delta, tail = block.deactivate(trace, change)
        del change  # the update comes beside as little as can be
        by_a, by_t = delta.split(self.x.shape[1], 1)
        yield block, block.synaptic_update(self.x, by_a + by_t) | tail
        yield from self.credit(by_t)


Stage = Streams | Below | Beside | Joining  # whatever can pass through a block


# ----------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class TargetGenerator:
    """How targets arrive, what their rows are, and what S is applied to."""

    arrival: type[Beside | Below | Joining]
    rows: type[ClassRows | SampleRows]
    code: Literal["class", "label", "error"]  # all classes, each sample's own, or the output's error
    drawn: bool = False

    @property
    def per_class(self) -> bool:
        return self.rows is ClassRows

    @property
    def meets_first_weights(self) -> bool:
        """Whether W_1 has a t_0 of its own, which the Hebbian form needs."""
        return self.arrival in (Below, Joining)

    def shape(self, first: Block) -> Shape:
        """Of one class's signal."""
        return first.input_shape if self.arrival is Below else first.preactivation_shape


TARGETS: Mapping[str, TargetGenerator] = {
    "context-input": TargetGenerator(Beside, ClassRows, "class"),
    "context": TargetGenerator(Below, ClassRows, "class"),
    "drawn": TargetGenerator(Below, ClassRows, "class", drawn=True),
    "target-input": TargetGenerator(Gating, SampleRows, "class"),
    "joint": TargetGenerator(Joining, SampleRows, "label"),
    "target-loop": TargetGenerator(Below, SampleRows, "error"),
}


def arrival(
    generator: TargetGenerator, x: Tensor, labels: Tensor, source: Tensor, learns: bool, error: Tensor | None
) -> Stage:
    """Inputs [seed, batch, *shape] and labels [seed, batch], ready for the first block."""
    label = one_hot(labels, source.shape[1], x.dtype)
    code = {"class": None, "label": label.mT, "error": error}[generator.code]
    return generator.arrival(x, source, generator.rows(labels, label), learns, code)


def class_targets(generator: TargetGenerator, network: Network, source: Tensor) -> Tensor:
    """t_N of every class, without any sample: [seed, classes, units]."""
    first, *hidden = network.blocks[:-1]
    nobody = source.new_empty(len(source), 0, *first.input_shape)
    nowhere = torch.empty(len(source), 0, dtype=torch.int64, device=source.device)
    stage: Stage = arrival(generator, nobody, nowhere, source, False, None)
    for block in (first, *hidden):
        _, stage = stage.through(block, None)
    assert isinstance(stage, Streams)
    return stage.t
