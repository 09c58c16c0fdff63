"""Two handwritten digits side by side; the target is their sum modulo 10. Embedded, no download.

Every sum can come from any first digit, so a single pixel tells nothing about the target and random
features with a trained readout stay near a quarter right, while backpropagation reaches nine in ten:
who does well here has assigned credit to hidden layers. Pairs are drawn within each split of digits,
so no handwriting of the test pairs was ever seen in training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks import digits

PAIRS = {"train": 20_000, "validation": 2_000, "test": 5_000}


def pairs(split: str, count: int, samples: int) -> Tensor:
    """Which digits stand left and right: [2, count], below `samples`, fixed for ever."""
    sides = [digits.fixed_numbers(f"digit-sums/{split}/{side}", count) for side in ("left", "right")]
    return torch.tensor([[number % samples for number in side] for side in sides])


def read_splits() -> Splits:
    """The three splits of pairs."""
    single = digits.read_splits()

    def made(name: str) -> Split:
        own: Split = getattr(single, name)
        left, right = pairs(name, PAIRS[name], len(own))
        inputs = torch.cat([own.inputs[left], own.inputs[right]], -1)
        return Split(inputs, (own.targets[left] + own.targets[right]) % 10)

    return Splits(made("train"), made("validation"), made("test"))


DIGIT_SUMS = Task(
    name="digit-sums",
    version=1,
    kind="image",
    summary="Two digits and the last digit of their sum, embedded: only hidden layers that learn solve it",
    licence="CC BY 4.0",
    source="Made from Alpaydin & Kaynak (1998), UCI: Optical Recognition of Handwritten Digits",
    input_shape=(1, 8, 16),
    classes=10,
    offset=(4.9,),
    scale=(6.0,),
    read=read_splits,
)
