"""Which write made what a tensor reads: the memory that dependence travels through.

Views share memory, writing in place makes a new version of the part that is written, and parts that do
not overlap do not depend on each other.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")  # what is remembered of a write


class Region(NamedTuple):
    """Where a tensor lies in its storage, in bytes: what of it, as far as one period tells."""

    first: int
    end: int
    gaps: tuple[tuple[int, int], ...] = ()  # stride and length of every axis; none where nothing is left out
    period: int = 0  # the shortest stride over a gap, if all longer ones are multiples of it
    width: int = 0  # what is touched within a period

    def meets(self, other: Region) -> bool:
        """Whether they may share memory. Columns side by side do not; other patterns with gaps are taken
        as solid."""
        if self.first >= other.end or other.first >= self.end:
            return False
        if not self.period or self.period != other.period:
            return True
        here, there = self.first % self.period, other.first % self.period
        if max(here + self.width, there + other.width) > self.period:
            return True
        return here < there + other.width and there < here + self.width

    def covers(self, other: Region) -> bool:
        return self == other or (not self.gaps and self.first <= other.first and other.end <= self.end)


def region(tensor: Tensor) -> Region:
    size = tensor.itemsize
    first, length = int(tensor.storage_offset()) * size, tensor.numel() * size
    if not length or tensor.is_contiguous():
        return Region(first, first + length)
    axes = sorted(
        (size * int(s), n) for n, s in zip(tensor.shape, tensor.stride(), strict=True) if n > 1 and s
    )
    extent = size + sum((n - 1) * stride for stride, n in axes)
    if extent <= size * math.prod(n for _, n in axes):
        return Region(first, first + extent)
    width = size
    for stride, n in axes:
        if stride > width:
            break
        width *= n
    period = stride if all(longer % stride == 0 for longer, _ in axes if longer > stride) else 0
    return Region(first, first + extent, tuple(axes), period, width)


def strided(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors with memory of their own that a tensor consists of."""
    if tensor.layout is torch.strided:
        yield tensor
    elif tensor.layout is torch.sparse_coo:
        yield tensor._values()
        yield tensor._indices()


class Versions(Generic[Made]):
    """What was said of the last write to every part of every storage."""

    def __init__(self) -> None:
        self._writes: dict[int, tuple[weakref.ref[torch.UntypedStorage], list[tuple[Region, Made]]]] = {}

    def read(self, tensor: Tensor) -> list[Made]:
        """Of all writes that the tensor's values come from; none for memory that nobody wrote to."""
        found: list[Made] = []
        for part in strided(tensor):
            writes = self._entry(part)
            if writes:
                own = region(part)
                found += [made for where, made in writes if where.meets(own)]
        return found

    def write(self, tensor: Tensor, made: Made) -> None:
        for part in strided(tensor):
            writes, own = self._entry(part), region(part)
            writes[:] = [(where, old) for where, old in writes if not own.covers(where)]
            writes.append((own, made))

    def _entry(self, tensor: Tensor) -> list[tuple[Region, Made]]:
        storage = tensor.untyped_storage()
        key = storage._cdata
        entry = self._writes.get(key)
        if entry is None or entry[0]() is None:  # or another one's address
            entry = self._writes[key] = (weakref.ref(storage), [])
        return entry[1]
