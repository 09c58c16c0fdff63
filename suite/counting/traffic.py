"""Bytes that operators read and write, and how many of them no machine could avoid."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor


def size(tensor: Tensor) -> int:
    """Bytes of the distinct elements: what `expand` repeats is there once."""
    if tensor.layout is not torch.strided:
        if tensor.layout is not torch.sparse_coo:
            return 0
        return size(tensor._values()) + size(tensor._indices())
    if tensor.is_contiguous():
        return tensor.numel() * tensor.itemsize
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride or not length:
            elements *= length
    return elements * tensor.itemsize


class Origins:
    """Which memory was there before counting, and how much of it was read and written.

    Of every outside storage the largest piece touched counts, once for reading and once for writing:
    what a machine that keeps all its intermediate results at hand still has to move. A lower bound.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[weakref.ref[torch.UntypedStorage], bool, list[int]]] = {}

    def made(self, tensors: Iterable[Tensor]) -> None:
        """These came to be while counting, unless they are memory seen before."""
        for tensor in tensors:
            if tensor.layout is torch.strided:
                self._entry(tensor, True)

    def touch(self, tensor: Tensor, written: bool) -> int:
        """Bytes of outside memory that had not been touched like this before."""
        if tensor.layout is not torch.strided:
            return 0
        _, inside, most = self._entry(tensor, False)
        fresh = 0 if inside else max(0, size(tensor) - most[written])
        most[written] += fresh
        return fresh

    def _entry(self, tensor: Tensor, inside: bool) -> tuple[object, bool, list[int]]:
        storage = tensor.untyped_storage()
        key = storage._cdata
        entry = self._seen.get(key)
        if entry is None or entry[0]() is None:  # or another one's address
            entry = self._seen[key] = (weakref.ref(storage), inside, [0, 0])
        return entry
