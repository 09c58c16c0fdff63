"""The digits of scikit-learn."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import sklearn.datasets
import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits
from creditbench.tasks.digits import DIGITS
from creditbench.tasks.draws import order

# Results depend on every one of these bytes: a change here is a new version of the task.
PINNED = {
    "train": "9f298b2560bfdbe9563173307d41487ebebfe4fb8aedf4b0246a1664c1551b5a",
    "validation": "363403c4661717fc6bd8f41c3093a60334692c6d4310ad668554701e22387b3e",
    "test": "ace18d70380a8ab687f7ecd23247a9f2a37e3bea0dfd81a15872c36f3365da3f",
}
SplitsOf = Callable[[str], Splits]


@pytest.mark.parametrize("part", PINNED)
def test_the_images_are_the_ones_they_have_always_been(part: str, splits_of: SplitsOf) -> None:
    split: Split = getattr(splits_of("digits"), part)
    assert hashlib.sha256(split.inputs.numpy().tobytes()).hexdigest() == PINNED[part]


def test_the_splits_are_scikit_learns_digits_in_the_fixed_order(splits_of: SplitsOf) -> None:
    splits, published = splits_of("digits"), sklearn.datasets.load_digits()
    numbers = order("digits", 1797)
    inputs = torch.cat([splits.train.inputs, splits.validation.inputs, splits.test.inputs])
    targets = torch.cat([splits.train.targets, splits.validation.targets, splits.test.targets])
    assert (inputs[:, 0].numpy() == published.images[numbers]).all()
    assert (targets.numpy() == published.target[numbers]).all()


def test_pixels_are_counts_up_to_sixteen(splits_of: SplitsOf) -> None:
    assert int(splits_of("digits").train.inputs.max()) == 16


def test_other_digits_than_the_known_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    images[0, 0] += 1

    def load_digits(**_: Any) -> Any:
        return images, labels

    monkeypatch.setattr(sklearn.datasets, "load_digits", load_digits)
    with pytest.raises(CreditbenchError, match="another version of scikit-learn"):
        DIGITS.read()
