"""Whose targets the rows of a target stream are: one per class, or one per sample.

Targets that depend on the class alone are alike for all its samples, so they are carried, compared and
learned from once per class; the losses count them as often as the batch has them. Tables of rows against
samples are [seed, rows, batch], because CPU kernels reduce over rows of a batch many times faster than over
a last axis as short as the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from creditbench.suite.types import Noise


@dataclass(frozen=True)
class ClassRows:
    """One row per class, standing for as many equal ones as the class has samples in the batch."""

    labels: Tensor  # [seed, batch]
    one_hot: Tensor  # [seed, classes, batch]

    @cached_property
    def members(self) -> Tensor:
        """How many equal targets each row stands for: [seed, rows, 1]."""
        return self.one_hot.sum(-1, keepdim=True)

    @cached_property
    def weight(self) -> Tensor | float:
        """Logarithm of that, to stand beside logits."""
        return self.members.log()

    @property
    def positives(self) -> Tensor:
        """1 where a row is a target of the sample's own class: [seed, rows, batch]."""
        return self.one_hot

    @property
    def mine(self) -> Tensor:
        """1 at a sample's own row: [seed, rows, batch]."""
        return self.one_hot

    @property
    def kin(self) -> Tensor:
        """1 where two rows are targets of one class: [(seed,) rows, rows]."""
        return _identity(self.one_hot.shape[1], self.one_hot)

    def own(self, t: Tensor) -> Tensor:
        """Each sample's own target: [seed, rows, units] -> [seed, batch, units]."""
        return self.one_hot.mT @ t

    def collect(self, change: Tensor) -> Tensor:
        """The adjoint of `own`: [seed, batch, units] -> [seed, rows, units]."""
        return self.one_hot @ change

    def drawn(self, noise: Noise) -> Tensor:
        """One positive of each sample, drawn at random: [seed, rows, batch]."""
        return self.one_hot  # whichever is drawn, its target is this row


@dataclass(frozen=True)
class SampleRows:
    """One row per sample: targets that depend on more than the class. Members as in ClassRows."""

    labels: Tensor
    one_hot: Tensor

    @property
    def members(self) -> Tensor:
        return self.one_hot.new_ones(len(self.labels), self.labels.shape[1], 1)

    @property
    def weight(self) -> Tensor | float:
        return 0.0

    @cached_property
    def positives(self) -> Tensor:
        return self.one_hot.mT @ self.one_hot

    @property
    def mine(self) -> Tensor:
        return _identity(self.labels.shape[1], self.one_hot).expand_as(self.positives)

    @property
    def kin(self) -> Tensor:
        return self.positives

    def own(self, t: Tensor) -> Tensor:
        return t

    def collect(self, change: Tensor) -> Tensor:
        return change

    def drawn(self, noise: Noise) -> Tensor:
        lot = self.positives * (1 - noise.uniform(*self.positives.shape[1:]))  # above 0 for positives
        return torch.zeros_like(lot).scatter_(1, lot.argmax(1, keepdim=True), 1.0)


Rows = ClassRows | SampleRows


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """[seed, batch] -> [seed, classes, batch]."""
    zeros = torch.zeros(len(labels), classes, labels.shape[1], dtype=dtype, device=labels.device)
    return zeros.scatter_(1, labels.unsqueeze(1), 1.0)


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)
