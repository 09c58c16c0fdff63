"""CIFAR-10's binary version."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.cifar10 import CIFAR10, FILES, RECORD, parse_batch

SplitsOf = Callable[[str], Splits]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 255)), min_size=1, max_size=5))
def test_labels_and_images_come_out_of_a_batch_as_they_went_in(samples: list[tuple[int, int]]) -> None:
    images = np.stack([np.roll(np.arange(3072) % 256, shift) for _, shift in samples]).astype(np.uint8)
    content = b"".join(
        bytes([label]) + image.tobytes() for (label, _), image in zip(samples, images, strict=True)
    )
    inputs, targets = parse_batch(content, "batch")
    assert targets.tolist() == [label for label, _ in samples]
    assert (inputs.numpy() == images.reshape(-1, 3, 32, 32)).all()


@given(st.integers(0, 3 * RECORD).filter(lambda size: size == 0 or size % RECORD != 0))
def test_a_batch_that_was_cut_off_is_refused(size: int) -> None:
    with pytest.raises(CreditbenchError, match="not a CIFAR-10 batch"):
        parse_batch(bytes(size), "batch")


def test_a_label_that_no_class_has_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="label above 9"):
        parse_batch(bytes(RECORD) + b"\x0a" + bytes(RECORD - 1), "batch")


def test_a_missing_batch_is_named_with_the_archive_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path))
    with pytest.raises(CreditbenchError, match=r"data_batch_1\.bin is not in .*cifar-10-binary\.tar\.gz"):
        CIFAR10.read()


def test_classes_are_balanced_as_published(splits_of: SplitsOf) -> None:
    splits = splits_of("cifar10")
    assert (splits.train.targets.bincount() + splits.validation.targets.bincount()).tolist() == [5000] * 10
    assert splits.test.targets.bincount().tolist() == [1000] * 10


def test_the_samples_are_those_of_the_files_in_their_order(splits_of: SplitsOf) -> None:
    splits = splits_of("cifar10")
    folder = Path(os.environ["CREDITBENCH_DATA"])
    first, last, test = (np.fromfile(folder / FILES[i].name, np.uint8).reshape(-1, 3073) for i in (0, 4, 5))
    assert splits.train.targets[0] == 6, "the first image is a frog"
    assert (splits.train.inputs[:10_000].numpy().reshape(-1, 3072) == first[:, 1:]).all()
    assert (splits.validation.inputs.numpy().reshape(-1, 3072) == last[5_000:, 1:]).all()
    assert (splits.validation.targets.numpy() == last[5_000:, 0]).all()
    assert (splits.test.targets.numpy() == test[:, 0]).all()
