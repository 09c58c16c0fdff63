"""Sums of two digits."""

import hashlib
from collections.abc import Callable

import pytest
import torch

from creditbench.suite.types import Split, Splits
from creditbench.tasks.digit_sums import pairs

# Results depend on every one of these bytes: a change here is a new version of the task.
PINNED = {
    "train": (
        "091356ff3fb2029f22719b4f41fa5dc61e6878892447f1b0eaee3fd1e15737d5",
        "a8131a379c82d177f1ecacf8747af87088a6de40464aa2c60bbe9a0e15a747d1",
    ),
    "validation": (
        "7155bb61315077edd598d4c78f323f15e13903e9f1bc59f53caab7ea31a5f5b0",
        "ae9b36dcbe8bfec4dd7ca84ade770e26990cec78cbda6424c837cae17f0681b1",
    ),
    "test": (
        "66b80bb6d2d0f862983316d527d2175b4524f91d993403dc353262b4d5d74f38",
        "938c181d562b8cfba1feb289895190f776e689e44e29b15cdd49ce2cd7029c79",
    ),
}
every_split = pytest.mark.parametrize("part", PINNED)
SplitsOf = Callable[[str], Splits]


@every_split
def test_the_sums_are_the_ones_they_have_always_been(part: str, splits_of: SplitsOf) -> None:
    split: Split = getattr(splits_of("digit-sums"), part)
    tensors = split.inputs, split.targets
    assert tuple(hashlib.sha256(t.numpy().tobytes()).hexdigest() for t in tensors) == PINNED[part]


@every_split
def test_each_half_is_a_digit_of_the_same_split_and_the_labels_add_up(part: str, splits_of: SplitsOf) -> None:
    sums: Split = getattr(splits_of("digit-sums"), part)
    digits: Split = getattr(splits_of("digits"), part)
    label = {i.numpy().tobytes(): int(t) for i, t in zip(digits.inputs, digits.targets, strict=True)}
    assert len(label) == len(digits), "digits can be told apart by their pixels"
    for image, target in zip(sums.inputs, sums.targets, strict=True):
        left, right = (half.numpy().tobytes() for half in image.split(8, dim=-1))
        assert (label[left] + label[right]) % 10 == target


@every_split
def test_every_digit_of_the_split_is_used(part: str, splits_of: SplitsOf) -> None:
    digits = len(getattr(splits_of("digits"), part))
    count = len(getattr(splits_of("digit-sums"), part))
    left, right = torch.tensor(pairs(part, count, digits)).T
    assert len(left.unique()) == len(right.unique()) == digits


@pytest.mark.parametrize("side", [0, 1])
def test_one_digit_alone_hardly_helps_to_guess_the_sum(side: int, splits_of: SplitsOf) -> None:
    digits, sums = splits_of("digits").test, splits_of("digit-sums").test
    seen = digits.targets[torch.tensor(pairs("test", len(sums), len(digits)))[:, side]]
    together = torch.zeros(10, 10).index_put_((seen, sums.targets), torch.ones(len(sums)), accumulate=True)
    best = together.amax(dim=1).sum() / len(sums)  # whoever knows one digit guesses its commonest sum
    assert best < 0.2
