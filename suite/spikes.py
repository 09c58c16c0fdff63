"""Which tensors hold spikes: those that were declared, and never those whose values look like it.

A mark lies on a piece of memory, so views have it too. Writing there ends it. Counters carry it over
the copies named in `CARRIERS`.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError

# Copies and pooling (by maxima of slices, too) whose output is marked where every tensor they take values
# from is.
CARRIERS = frozenset(
    """cat stack index index_select gather repeat repeat_interleave clone _to_copy contiguous
    max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d
    adaptive_max_pool2d maximum""".split()
)

# storage -> (the storage, its version, first and last element that are spikes)
_marks: dict[int, tuple[weakref.ref[torch.UntypedStorage], int, int, int]] = {}


def declare_spikes(tensor: Tensor) -> Tensor:
    """Marks a tensor as spikes and returns it: MACs with it are counted as accumulates (ACs).

    Raises CreditbenchError for a tensor with gaps in memory, whose neighbours would be marked too.
    """
    inner = _unwrapped(tensor)
    first, last = _extent(inner)
    if last - first + 1 > inner.numel():
        raise CreditbenchError(
            f"declare_spikes got a tensor of shape {list(inner.shape)} with gaps in memory (strides"
            f" {list(inner.stride())}); declare what the spiking operation returned, or a .contiguous() copy."
        )
    if inner.numel():
        storage = inner.untyped_storage()
        key = storage._cdata
        _marks[key] = (weakref.ref(storage, lambda _: _forget(key)), _version(inner), first, last)
    return tensor


def are_spikes(tensor: Tensor) -> bool:
    """Whether a tensor, or what it is a view of, was declared and not written to since."""
    if not _marks or tensor.layout is not torch.strided:
        return False
    storage = tensor.untyped_storage()
    mark = _marks.get(storage._cdata)
    if mark is None or mark[0]() is None or not tensor.numel():
        return False
    first, last = _extent(tensor)
    return mark[1] == _version(tensor) and mark[2] <= first and last <= mark[3]


def _forget(key: int) -> None:
    mark = _marks.get(key)
    if mark is not None and mark[0]() is None:
        del _marks[key]


def _unwrapped(tensor: Tensor) -> Tensor:
    """The tensor below vmap, grad and jvp."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def _version(tensor: Tensor) -> int:
    """How often it was written to; inference mode does not say."""
    return 0 if tensor.is_inference() else tensor._version


def _extent(tensor: Tensor) -> tuple[int, int]:
    """First and last element in the storage."""
    first = int(tensor.storage_offset())
    return first, first + sum(
        (n - 1) * int(stride) for n, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
