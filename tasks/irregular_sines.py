"""Sines seen at a few irregular moments, to be told a tenth of a time unit ahead at each of them.

A(t) = sin(2 pi (f t + p)): frequency f uniform in [1, 4), phase p uniform in [0, 1), 10 to 30 moments uniform
in [0, 1), in order. The target at each moment t is A(t + 0.1), which only who knows the time between
observations can tell. Drawn by numpy's legacy generator, whose stream is frozen (NEP 19).
"""

from __future__ import annotations

import itertools
import math

import torch

from creditbench.suite.types import Split, Splits, Task

TRAIN, VALIDATION, TEST = 4_000, 1_000, 1_000
STEPS, FEWEST, AHEAD, SEED = 30, 10, 0.1, 20230104


def read() -> Splits:
    """The splits, in the order in which they are drawn."""
    import numpy as np

    rng, count = np.random.RandomState(SEED), TRAIN + VALIDATION + TEST
    frequency, phase, share = (torch.from_numpy(rng.random_sample(count)) for _ in range(3))
    lengths = FEWEST + (share * (STEPS - FEWEST + 1)).long()  # [samples]
    times = torch.from_numpy(rng.random_sample((count, STEPS)))  # [samples, steps]
    present = torch.arange(STEPS) < lengths[:, None]
    times = torch.where(present, times, 2.0).sort(-1).values

    def wave(at: torch.Tensor) -> torch.Tensor:
        values = torch.sin(2 * math.pi * ((1 + 3 * frequency)[:, None] * at + phase[:, None]))
        return torch.where(present, values, torch.nan).float().unsqueeze(-1)  # [samples, steps, 1]

    moments = torch.where(present, times, torch.nan).float().unsqueeze(-1)
    inputs, targets = torch.cat([moments, wave(times)], -1), wave(times + AHEAD)
    bounds = (0, TRAIN, TRAIN + VALIDATION, count)
    return Splits(*(Split(inputs[a:b], targets[a:b]) for a, b in itertools.pairwise(bounds)))


IRREGULAR_SINES = Task(
    name="irregular-sines",
    version=1,
    kind="series",
    input_shape=(30, 2),
    classes=1,
    read=read,
    every_step=True,
    loss="mse",
    metric="mse",
    higher_is_better=False,
    offset=(0.0, 0.0),
    scale=(1.0, 1.0),
    target_score=0.05,
    summary="Sines seen at 10 to 30 irregular moments, to be told ahead; the mean gives an MSE of 0.5.",
    licence="CC0 (generated)",
    source="creditbench; in the manner of Rubanova, Chen and Duvenaud (2019). arXiv:1907.03907",
)
