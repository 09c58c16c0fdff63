"""Two handwritten digits side by side, to be added modulo 10: small, yet not for random features.

Why this task exists: on most small image tasks a trained last layer over fixed random features does so well
(about 97 % on `digits`) that a high score says little about credit assignment. Modulo 10, one of the digits
alone tells next to nothing: whatever it is, all ten sums are about equally likely. The answer lies in the
combination, so hidden units must come to stand for which digit is seen where, and that takes credit for
hidden weights. In a perceptron with two hidden layers of 256 (10 epochs of Adam) training the last layer
alone reaches about 27 to 33 %, depending on the initial weights, and backpropagation about 90 %.

Pairs are drawn within each split of `digits`: no digit of a test image was ever seen in training.
"""

from __future__ import annotations

import torch

from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks import digits
from creditbench.tasks.draws import draw

TRAIN, VALIDATION, TEST = 20_000, 2_000, 5_000


def pairs(split: str, count: int, choice: int) -> list[tuple[int, int]]:
    """Which two of a split's `choice` digits make each of its `count` sums: (left, right)."""
    return [divmod(draw(f"digit-sums/{split}/{i}", choice**2), choice) for i in range(count)]


def read() -> Splits:
    """The splits, each a fixed choice of pairs."""
    single = digits.read()
    return Splits(
        train=_sums(single.train, "train", TRAIN),
        validation=_sums(single.validation, "validation", VALIDATION),
        test=_sums(single.test, "test", TEST),
    )


def _sums(single: Split, split: str, count: int) -> Split:
    left, right = torch.tensor(pairs(split, count, len(single))).T
    images = torch.cat([single.inputs[left], single.inputs[right]], dim=-1)  # [count, 1, 8, 16]
    return Split(images, (single.targets[left] + single.targets[right]) % 10)


DIGIT_SUMS = Task(
    name="digit-sums",
    version=1,
    kind="image",
    input_shape=(1, 8, 16),
    classes=10,
    read=read,
    offset=(4.882,),  # of the training split; pixels are 0 ... 16
    scale=(6.0109,),
    target_score=0.80,
    summary="Two handwritten digits to be added modulo 10: random features cannot solve it.",
    licence="CC BY 4.0",
    source="Pairs of: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine"
    " Learning Repository. doi:10.24432/C50P49; the copy in scikit-learn",
)
