"""When blocks learn: one after the other from the same batch, or all of them at the same time.

As no block waits for one above it, block l can learn from batch n - l + 1 in step n, every block from a
batch of its own. It then meets exactly what it would have met one after the other, l - 1 steps later: under
a constant learning rate its weights are the same, bit for bit. What lies between blocks is carried.

A schedule yields updates; it returns the streams that have come to the output layer (None where none have
yet) and what is carried on (None: what was).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import torch

from creditbench.baselines.rules.sigprop.rows import ClassRows, SampleRows, one_hot
from creditbench.baselines.rules.sigprop.targets import Stage, Streams
from creditbench.suite.types import Block, Tensors, Update

Learn = Callable[[Block, Stage], Generator[Update, None, Streams]]
Scheduled = Generator[Update, None, tuple[Streams | None, Tensors | None]]


@dataclass(frozen=True)
class Between:
    """What lies between hidden blocks from one step to the next."""

    rows: type[ClassRows | SampleRows]
    classes: int

    def empty(self, hidden: Sequence[Block]) -> dict[str, torch.Tensor]:
        """Before the first batch: no samples."""
        kept = {}
        for block in hidden:
            seeds, weight = len(block.weight), block.weight
            kept[f"{block.name}.both"] = weight.new_empty(seeds, 0, *block.output_shape)
            kept[f"{block.name}.labels"] = torch.empty(seeds, 0, dtype=torch.int64, device=weight.device)
        return kept

    def pack(self, block: Block, above: Streams) -> dict[str, torch.Tensor]:
        return {f"{block.name}.both": above.both, f"{block.name}.labels": above.rows.labels}

    def unpack(self, block: Block, carried: Tensors) -> Streams | None:
        both, labels = carried[f"{block.name}.both"], carried[f"{block.name}.labels"]
        if not labels.shape[1]:
            return None
        return Streams(both, self.rows(labels, one_hot(labels, self.classes, both.dtype)))


def at_once(
    hidden: Sequence[Block], stage: Stage, learn: Learn, between: Between, carried: Tensors
) -> Scheduled:
    """Each block as soon as the streams reach it; no more than one block's activity is held."""
    for block in hidden:
        stage = yield from learn(block, stage)
    assert isinstance(stage, Streams)
    return stage, None


def in_parallel(
    hidden: Sequence[Block], stage: Stage, learn: Learn, between: Between, carried: Tensors
) -> Scheduled:
    """Every block from what the one below it gave in the last step, so that their order does not matter."""
    given = [between.unpack(block, carried) for block in hidden]
    left = dict(carried)
    for block, below in zip(hidden, [stage, *given[:-1]], strict=True):
        if below is not None:
            left |= between.pack(block, (yield from learn(block, below)))
    return given[-1], left


SCHEDULES: Mapping[str, Callable[[Sequence[Block], Stage, Learn, Between, Tensors], Scheduled]] = {
    "at-once": at_once,
    "in-parallel": in_parallel,
}
