"""How the memory of one training step grows with depth, and with the length of a sequence.

Exact and the same on every machine: live bytes as `meters.memory` counts them, without what every rule has
in common and which grows by itself: parameters, optimizer state and the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from creditbench.suite import registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.seeds import generator
from creditbench.suite.specification import parse_label
from creditbench.suite.types import Batch, LearningRule, Splits, Task

DEPTHS = (4, 8, 16, 32)
WIDTH, SAMPLES = 256, 128  # inputs, as many as mlp has units in a layer; and how many at once
LENGTHS = (8, 16, 32, 64)
SHARED = ("parameters", "optimizer_state", "batch")  # kinds that are no rule's doing
FLAT = 0.1  # exponents below it mean that memory does not grow


@dataclass(frozen=True)
class Growth:
    """Peak live bytes of a step at several sizes, and the power law through them."""

    along: str  # depth, or sequence length
    sizes: tuple[int, ...]
    peak_bytes: tuple[int, ...]  # without parameters, optimizer state and batch [B]
    exponent: float  # slope of log bytes over log size: 0 is flat, 1 proportional
    residual: float  # root mean square distance of log bytes from that line

    @property
    def grows(self) -> bool:
        return self.exponent >= FLAT


def growth(along: str, sizes: Sequence[int], make: Callable[[int], tuple[Learner, Batch]]) -> Growth:
    """Measures one step of what `make` gives for each size; at least four, all different."""
    if len(set(sizes)) < 4 or min(sizes) < 1:
        raise CreditbenchError(f"Growth needs at least four different sizes from 1 up, not {list(sizes)}.")
    peaks = []
    for size in sizes:
        model, batch = make(size)
        model.step(batch)  # optimizer state exists from here on
        memory = step_memory(model, batch)
        peaks.append(memory.peak - sum(memory.at_peak[kind] for kind in SHARED))
    exponent, residual = power_law(sizes, peaks)
    return Growth(along, tuple(sizes), tuple(peaks), exponent, residual)


def power_law(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Exponent of the power law nearest to the values in logarithms (least squares), and how far they lie
    from it (root mean square of the natural logarithms' differences)."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    centre, level = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - centre) * (b - level) for a, b in zip(x, y, strict=True))
    slope /= sum((a - centre) ** 2 for a in x)
    off = [b - level - slope * (a - centre) for a, b in zip(x, y, strict=True)]
    return slope, math.sqrt(sum(one**2 for one in off) / len(off))


def depth_growth(rule: LearningRule, network: str = "mlp", depths: Sequence[int] = DEPTHS) -> Growth:
    """Growth with the number of hidden layers, all of one size.

    network: a name or path, with options. Raises CreditbenchError for a network whose depth cannot be set
    or whose layers differ in size, and for one that the rule does not support."""
    name, options = parse_label(network)
    if "depth" in options:
        raise CreditbenchError(f"Growth sets the depth itself; leave it out of '{network}'.")
    builder = registry.load("network", name)
    task = _task((1, 16, WIDTH // 16))
    for depth in depths:  # before any weights are made
        try:
            blocks = builder(task.input_shape, task.classes, **options, depth=depth)
        except TypeError as error:
            raise CreditbenchError(
                f"Network '{name}' cannot be built with a depth ({error}); growth with depth is measured on"
                " networks that take one, such as mlp."
            ) from error
        if len({block.preactivation_shape for block in blocks[:-1]}) > 1:
            raise CreditbenchError(
                f"The layers of network '{name}' differ in size; growth with depth is measured on networks"
                " whose hidden layers are alike, such as mlp."
            )

    def make(depth: int) -> tuple[Learner, Batch]:
        chosen = {**options, "depth": depth}
        made = build_network(task, name, builder, chosen, [0], torch.device("cpu"))
        return Learner(task, made, rule, [0], [1e-3], "constant", 10), random_batch(task)

    return growth("depth", depths, make)


def time_growth(make: Callable[[], Learner], task: Task, lengths: Sequence[int] = LENGTHS) -> Growth:
    """Growth with the length of a sequence. make: a fresh learner; its network must take sequences of any
    length, [seed, batch, time, features]. task: of that network, its input_shape [time, features]."""
    if len(task.input_shape) < 2:
        raise CreditbenchError(f"Task '{task.name}' has inputs {list(task.input_shape)} and no time axis.")

    def longer(length: int) -> tuple[Learner, Batch]:
        return make(), random_batch(replace(task, input_shape=(length, *task.input_shape[1:])))

    return growth("sequence length", lengths, longer)


def random_batch(task: Task, samples: int = SAMPLES) -> Batch:
    """Normal noise in the shape of a task's inputs, every class equally often."""
    inputs = torch.randn(1, samples, *task.input_shape, generator=generator("growth", *task.input_shape))
    return Batch(inputs, torch.arange(samples)[None] % task.classes)


def as_json(found: Growth) -> Mapping[str, Any]:
    """For records and the command line."""
    return {
        "along": found.along,
        "sizes": list(found.sizes),
        "peak_bytes": list(found.peak_bytes),
        "exponent": found.exponent,
        "residual": found.residual,
    }


def _task(input_shape: tuple[int, ...]) -> Task:
    def read() -> Splits:
        raise CreditbenchError("Growth is measured on noise; there is no data.")

    return Task("growth", 1, "image", input_shape, 10, read)
