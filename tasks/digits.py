"""Handwritten digits of scikit-learn: 1,797 images of 8 x 8, embedded, no download.

An easy task: random features with a trained readout reach 90 % and more, so it tells whether a rule
learns at all and not whether it assigns credit. For that there is digit-sums.
"""

from __future__ import annotations

import hashlib

import torch

from creditbench.suite.types import Split, Splits, Task

TRAIN, VALIDATION = 1197, 300  # and 300 for test


def fixed_numbers(words: str, count: int) -> list[int]:
    """`count` numbers of 64 bits that depend on these words alone: no library's generator, whose stream
    may change with its version, decides on a split."""
    texts = (f"{words}/{i}".encode() for i in range(count))
    return [int.from_bytes(hashlib.sha256(text).digest()[:8], "big") for text in texts]


def read_splits() -> Splits:
    """The three splits, in an order fixed for ever."""
    from sklearn.datasets import load_digits  # late: it takes most of a second

    data = load_digits()
    numbers = fixed_numbers("digits", len(data.target))
    order = torch.tensor(sorted(range(len(numbers)), key=numbers.__getitem__))
    x = torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1)[order]
    y = torch.from_numpy(data.target).long()[order]
    rest = TRAIN + VALIDATION
    return Splits(
        train=Split(x[:TRAIN], y[:TRAIN]),
        validation=Split(x[TRAIN:rest], y[TRAIN:rest]),
        test=Split(x[rest:], y[rest:]),
    )


DIGITS = Task(
    name="digits",
    version=1,
    kind="image",
    summary="Handwritten digits, embedded: 1,197 / 300 / 300 images of 8 x 8",
    licence="CC BY 4.0",
    source="Alpaydin & Kaynak (1998), UCI: Optical Recognition of Handwritten Digits; by scikit-learn",
    input_shape=(1, 8, 8),
    classes=10,
    offset=(4.9,),
    scale=(6.0,),
    read=read_splits,
)
