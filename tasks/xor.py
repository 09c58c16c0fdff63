"""Parity of a stream of bits, dense or as events: memory without anything for random features to hold on to.

As the code of Lechner & Hasani (2020) generates it: 2 to 31 fair bits from numpy's MT19937, the label their
sum modulo 2. Dense: one step for each bit. Events: one step where the bit changes, and one at the end if the
last run is longer than one bit; the lengths of the runs are in the elapsed times alone. Times in 1/32 of 32
bits. The training stream's last 10,000 samples are for validation.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch

from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.draws import mersenne_words
from creditbench.tasks.padding import padded

PAD = 32
TRAIN, VALIDATION, TEST = 90_000, 10_000, 10_000
TRAIN_SEED, TEST_SEED = 1234984, 48736


def streams(count: int, seed: int) -> list[list[int]]:
    """`count` streams of bits, as scalar calls of RandomState(seed).randint(2, 32) for the length and
    .randint(0, 2) for each bit draw them (a word of the generator each; a length above 31 is drawn again)."""
    words = iter(mersenne_words(seed, 40 * count))
    drawn = []
    for _ in range(count):
        while (length := next(words) & 31) > PAD - 3:
            pass
        drawn.append([next(words) & 1 for _ in range(length + 2)])
    return drawn


def dense(bits: list[int]) -> list[tuple[int, int]]:
    """(time, bit) of every bit; the first comes at time 1."""
    return list(enumerate(bits, 1))


def events(bits: list[int]) -> list[tuple[int, int]]:
    """(time, bit) of every change and of the end."""
    found = [(1, bits[0])]
    found += [(place + 2, new) for place, (old, new) in enumerate(pairwise(bits)) if old != new]
    return found if found[-1][0] == len(bits) else [*found, (len(bits), bits[-1])]


def read(event_based: bool) -> Splits:
    """The splits, in the order in which they are drawn."""
    train = _split(streams(TRAIN + VALIDATION, TRAIN_SEED), event_based)
    return Splits(
        train=Split(train.inputs[:TRAIN], train.targets[:TRAIN]),
        validation=Split(train.inputs[TRAIN:], train.targets[TRAIN:]),
        test=_split(streams(TEST, TEST_SEED), event_based),
    )


def _split(drawn: list[list[int]], event_based: bool) -> Split:
    steps = [events(bits) if event_based else dense(bits) for bits in drawn]
    return Split(padded(steps, PAD), torch.tensor([sum(bits) % 2 for bits in drawn]))


XOR_EVENTS = Task(
    name="xor-events",
    version=1,
    kind="series",
    input_shape=(32, 2),
    classes=2,
    read=partial(read, True),
    offset=(0.0, 0.0),
    scale=(32.0, 1.0),
    target_score=0.95,
    summary="Parity of up to 31 bits, told by the times of their changes alone.",
    licence="CC0 (generated)",
    source="Lechner and Hasani (2020), Learning long-term dependencies in irregularly-sampled time series."
    " arXiv:2006.04418",
)

XOR_DENSE = Task(
    name="xor-dense",
    version=1,
    kind="series",
    input_shape=(32, 2),
    classes=2,
    read=partial(read, False),
    offset=(0.0, 0.0),
    scale=(32.0, 1.0),
    target_score=0.95,
    summary="Parity of up to 31 bits, one step for each.",
    licence="CC0 (generated)",
    source="Lechner and Hasani (2020), Learning long-term dependencies in irregularly-sampled time series."
    " arXiv:2006.04418",
)
