"""Batches: every sample once an epoch, an order that only task and seed decide."""

import pytest
import torch

from creditbench.suite.batches import Batches, crop_and_flip
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Split, Task
from tools import toy_task


def numbered(count: int) -> tuple[Task, Split]:
    """Sample i is the number i and its target."""
    task = Task("numbered", 1, "image", (1,), count, toy_task().read, offset=(2.0,), scale=(4.0,))
    return task, Split(torch.arange(count, dtype=torch.uint8).view(-1, 1), torch.arange(count))


def test_every_sample_comes_once_an_epoch_and_the_ragged_end_is_left_out() -> None:
    task, split = numbered(23)
    batches = Batches(task, split, [0, 1], batch_size=5)
    for _ in range(2):
        targets = torch.cat([batch.targets for batch in batches.epoch()], 1)
        assert targets.shape == (2, 20)
        assert all(len(own.unique()) == 20 for own in targets)


def test_inputs_belong_to_their_targets_and_are_scaled() -> None:
    task, split = numbered(16)
    for batch in Batches(task, split, [3, 4], batch_size=4).epoch():
        assert torch.equal(batch.inputs[..., 0], (batch.targets - 2) / 4)


def test_the_order_is_the_seeds_own_and_differs_between_epochs() -> None:
    task, split = numbered(40)

    def orders(seeds: list[int]) -> list[torch.Tensor]:
        batches = Batches(task, split, seeds, batch_size=40)
        return [next(batches.epoch()).targets for _ in range(2)]

    pair, alone = orders([5, 6]), orders([6])
    assert torch.equal(pair[0][1], alone[0][0])
    assert torch.equal(pair[1][1], alone[1][0])
    assert not torch.equal(pair[0][0], pair[0][1])
    assert not torch.equal(pair[0][0], pair[1][0])


def test_a_subset_is_the_first_samples() -> None:
    task, split = numbered(40)
    batches = Batches(task, split, [0], batch_size=10, samples=20)
    assert torch.cat([b.targets for b in batches.epoch()], 1).max() < 20


def test_more_samples_than_there_are_is_an_error() -> None:
    task, split = numbered(40)
    with pytest.raises(CreditbenchError, match="41 training samples were asked for"):
        Batches(task, split, [0], batch_size=10, samples=41)


def test_a_batch_is_never_larger_than_the_data() -> None:
    task, split = numbered(7)
    assert next(Batches(task, split, [0], batch_size=128).epoch()).targets.shape == (1, 7)


def test_an_unknown_augmentation_is_named_with_those_that_exist() -> None:
    task, split = numbered(7)
    with pytest.raises(CreditbenchError, match="crop-and-flip"):
        Batches(task, split, [0], batch_size=7, augmentation="crop-and-flop")


def test_crop_and_flip_moves_whole_images_by_up_to_four_pixels_and_mirrors_half() -> None:
    image = torch.zeros(1, 3, 12, 12)
    image[..., 6, 4] = 1.0
    many = image.expand(2, 400, 3, 12, 12)
    noise = SeededNoise([generator("a", 0), generator("a", 1)])
    moved = crop_and_flip(many, noise)
    assert moved.shape == many.shape
    assert torch.equal(moved.sum((2, 3, 4)), torch.full((2, 400), 3.0))  # the pixel stays inside
    assert torch.equal(moved[:, :, 0], moved[:, :, 1])  # all channels alike
    where = moved[:, :, 0].flatten(2).argmax(-1)
    rows, columns = where // 12, where % 12
    assert sorted(rows.unique().tolist()) == list(range(2, 11))
    straight, mirrored = set(range(9)), set(range(3, 12))  # 4 ± 4, and 11 minus that
    assert set(columns.unique().tolist()) == straight | mirrored
    assert not torch.equal(moved[0], moved[1])
