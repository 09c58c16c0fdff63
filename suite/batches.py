"""Batches by index: data stays on the device as it is stored, no per-item Python, no copies in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Batch, Split, Task


class Batches:
    """The training batches of several seeds, each in that seed's own order.

    The order depends on task and seed alone, so every rule sees the same batches. Every epoch is a
    fresh permutation; the last, ragged batch is left out.
    """

    def __init__(
        self,
        task: Task,
        split: Split,
        seeds: Sequence[int],
        batch_size: int,
        samples: int | None = None,
        augmentation: str | None = None,
    ) -> None:
        if augmentation is not None and augmentation not in AUGMENTATIONS:
            raise unknown_name("augmentation", augmentation, AUGMENTATIONS)
        if samples is not None and samples > len(split):
            raise CreditbenchError(
                f"{samples} training samples were asked for and task '{task.name}' has {len(split)};"
                " ask for fewer or leave train_samples out."
            )
        self.task, self.split = task, split
        self.samples = samples or len(split)
        self.size = min(batch_size, self.samples)
        self.per_epoch = self.samples // self.size
        self.generators = [generator("data", task.name, seed) for seed in seeds]
        device = split.inputs.device
        self.noise = SeededNoise(
            [generator("augmentation", task.name, seed, device=device) for seed in seeds]
        )
        self.augment = AUGMENTATIONS[augmentation] if augmentation else None

    def epoch(self) -> Iterator[Batch]:
        """One pass over the training data."""
        orders = [torch.randperm(self.samples, generator=g) for g in self.generators]
        order = torch.stack(orders).to(self.split.inputs.device)  # [seed, samples]
        for start in range(0, self.per_epoch * self.size, self.size):
            yield self.gather(order[:, start : start + self.size])

    def gather(self, index: Tensor) -> Batch:
        """The samples of an index [seed, batch], as a network wants them."""
        shape, flat = index.shape, index.flatten()
        stored = self.split.inputs.index_select(0, flat).unflatten(0, shape)
        if self.augment is not None:
            stored = self.augment(stored, self.noise)
        targets = self.split.targets.index_select(0, flat).unflatten(0, shape)
        return Batch(self.task.prepare(stored), targets)


def crop_and_flip(images: Tensor, noise: SeededNoise) -> Tensor:
    """Images [seed, batch, channels, height, width], shifted by up to 4 pixels with zeros moving in and
    mirrored half of the time: the usual augmentation of CIFAR-10."""
    _seeds, batch, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    shift = noise.integers(9, batch, 2).to(images.device)  # [seed, batch, 2]
    rows = shift[..., :1] + torch.arange(height, device=images.device)  # [seed, batch, height]
    columns = shift[..., 1:] + torch.arange(width, device=images.device)
    mirrored = (noise.integers(2, batch, 1).to(images.device) == 1).expand_as(columns)
    columns = torch.where(mirrored, columns.flip(-1), columns)
    padded = padded.gather(3, rows[:, :, None, :, None].expand(-1, -1, channels, -1, width + 8))
    return padded.gather(4, columns[:, :, None, None, :].expand(-1, -1, channels, height, -1))


AUGMENTATIONS: Mapping[str, Callable[[Tensor, SeededNoise], Tensor]] = {
    "crop-and-flip": crop_and_flip,
}
