"""Prices of contractions: products summed over an inner axis, counted in multiply-accumulates.

Dense counts follow from shapes. Effective ones, with both operands non-zero, follow from the zeros of
either operand: per inner index, non-zeros on the left times non-zeros on the right. Bias is additions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.spikes import are_spikes

Values = Mapping[str, Any]  # an operator's arguments by name
Work = dict[str, int]  # what a call costs, by the names of `Counts`
Price = Callable[[Values], Work | None]  # None: not priced for these arguments


def products(dense: int, effective: int, *operands: Tensor) -> Work:
    """MACs, or accumulates where an operand is spikes."""
    if any(are_spikes(operand) for operand in operands):
        return {"acs": effective, "dense_acs": dense}
    return {"macs": dense, "effective_macs": effective}


def _pairs(left: Tensor, right: Tensor) -> int:
    """[..., m, k] and [..., k, n]: products of two non-zeros, dense or COO."""
    return int((torch.count_nonzero(left, -2) * torch.count_nonzero(right, -1)).sum())


def _matrix(v: Values, left: str = "self", right: str = "mat2") -> Work | None:
    a, b = v[left], v[right]
    if a.layout is not torch.strided:
        return _sparse(a, b)
    if b.layout is not torch.strided:
        return None
    return products(a.numel() * b.shape[-1], _pairs(a, b), a, b)


def _sparse(a: Tensor, b: Tensor) -> Work | None:
    """COO matrix times dense matrix: only the stored entries are multiplied."""
    if a.layout is not torch.sparse_coo or b.layout is not torch.strided or a.sparse_dim() != 2:
        return None
    columns, stored = a._indices()[1], a._values()
    effective = (torch.count_nonzero(b, 1)[columns] * (stored != 0)).sum()
    return products(len(stored) * b.shape[1], int(effective))


def _vectors(a: Tensor, b: Tensor) -> Work:
    """[..., k] with [k]."""
    return products(a.numel(), int(torch.count_nonzero((a != 0) & (b != 0))), a, b)


def _scaled_sum(work: Work | None, outputs: int, v: Values) -> Work | None:
    """beta * bias + alpha * product."""
    if work is None:
        return None
    beta, alpha = v.get("beta", 1), v.get("alpha", 1)
    scalings = (beta not in (0, 1)) + (alpha != 1)
    return work | {"adds": outputs * (beta != 0), "multiplies": outputs * scalings}


def _addmm(v: Values) -> Work | None:
    a, b = v["mat1"], v["mat2"]
    return _scaled_sum(_matrix(v, "mat1"), a.shape[0] * b.shape[1], v)


def _baddbmm(v: Values) -> Work | None:
    a, b = v["batch1"], v["batch2"]
    work = _matrix(v, "batch1", "batch2")
    return _scaled_sum(work, a.shape[0] * a.shape[1] * b.shape[2], v)


def _addbmm(v: Values) -> Work | None:
    a, b = v["batch1"], v["batch2"]
    return _scaled_sum(_matrix(v, "batch1", "batch2"), a.shape[1] * b.shape[2], v)


def _addmv(v: Values) -> Work | None:
    return _scaled_sum(_vectors(v["mat"], v["vec"]), len(v["mat"]), v)


def _addr(v: Values) -> Work | None:
    """An inner length of 1."""
    a, b = v["vec1"], v["vec2"]
    effective = int(torch.count_nonzero(a)) * int(torch.count_nonzero(b))
    outputs = len(a) * len(b)
    return _scaled_sum(products(outputs, effective, a, b), outputs, v)


# ------------------------------------------------------------------------------ convolution
#
# Three tensors: `big` [n, C, *L] (a convolution's input), `small` [n, D, *P] (its output) and the kernels
# [D, C / groups, *k]. Tap t joins small position p with big position p * stride + t * dilation - padding.
# The forward pass joins big and kernels, the way back small and kernels, the kernels' gradient small and
# big; a transposed convolution is the way back of one whose output is its input.

Joint = tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]  # tap, where in big, where in small


def _taps(v: Values, big: Sequence[int], small: Sequence[int], kernel: Sequence[int]) -> Iterator[Joint]:
    """The taps with the positions that they join inside both tensors."""
    axes = []
    for axis, (length, positions, size) in enumerate(zip(big, small, kernel, strict=True)):
        stride, padding, dilation = (_at(v[key], axis) for key in ("stride", "padding", "dilation"))
        inside = []
        for tap in range(size):
            offset = tap * dilation - padding
            first = max(0, -(offset // stride))
            last = min(positions - 1, (length - 1 - offset) // stride)
            if first <= last:
                start, stop = first * stride + offset, last * stride + offset + 1
                inside.append((tap, slice(start, stop, stride), slice(first, last + 1)))
        axes.append(inside)
    for joint in itertools.product(*axes):
        tap, in_big, in_small = zip(*joint, strict=True)
        yield tap, in_big, in_small


def _at(value: Any, axis: int) -> int:
    return int(value if isinstance(value, int) else value[axis if len(value) > 1 else 0])


def _joins(v: Values, big: Any, small: Any, weight: Any, sizes: tuple[Sequence[int], ...]) -> int:
    """Products of two non-zeros; the one of the three tensors that takes no part is None."""
    inputs, outputs, kernel = sizes
    groups, total = v["groups"], torch.zeros((), dtype=torch.int64)
    everywhere = tuple(range(-len(kernel), 0))
    if small is None:  # per big channel: non-zeros met by a tap, times kernels that are not zero there
        there, each = (big != 0).sum(0), (weight != 0).unflatten(0, (groups, -1)).sum(1).flatten(0, 1)
    elif big is None:
        there, each = (small != 0).sum(0), (weight != 0).sum(1)
    else:
        there = (big != 0).unflatten(1, (groups, -1)).sum(2)
        each = (small != 0).unflatten(1, (groups, -1)).sum(2)
    for tap, in_big, in_small in _taps(v, inputs, outputs, kernel):
        if small is None or big is None:
            met = there[(..., *(in_big if small is None else in_small))].sum(everywhere)
            total = total + (met * each[(..., *tap)]).sum()
        else:
            total = total + (there[(..., *in_big)] * each[(..., *in_small)]).sum()
    return int(total)


def _output_size(v: Values, inputs: Sequence[int], kernel: Sequence[int]) -> list[int]:
    sizes = []
    for axis, (length, size) in enumerate(zip(inputs, kernel, strict=True)):
        stride, padding, dilation = (_at(v[key], axis) for key in ("stride", "padding", "dilation"))
        if v["transposed"]:
            extra = _at(v["output_padding"], axis)
            sizes.append((length - 1) * stride - 2 * padding + dilation * (size - 1) + 1 + extra)
        else:
            sizes.append((length + 2 * padding - dilation * (size - 1) - 1) // stride + 1)
    return sizes


def _convolution(v: Values) -> Work:
    x, weight = v["input"], v["weight"]
    outputs, kernel = _output_size(v, x.shape[2:], weight.shape[2:]), weight.shape[2:]
    positions = len(x) * math.prod(outputs)
    if v["transposed"]:
        dense = len(x) * math.prod(x.shape[2:]) * weight.numel()
        work = products(dense, _joins(v, None, x, weight, (outputs, x.shape[2:], kernel)), x, weight)
    else:
        dense = positions * weight.numel()
        work = products(dense, _joins(v, x, None, weight, (x.shape[2:], outputs, kernel)), x, weight)
    channels = weight.shape[1] * v["groups"] if v["transposed"] else weight.shape[0]
    return work if v.get("bias") is None else work | {"adds": positions * channels}


def _convolution_backward(v: Values) -> Work:
    x, change, weight, mask = v["input"], v["grad_output"], v["weight"], v["output_mask"]
    big, small = (change, x) if v["transposed"] else (x, change)
    sizes = (big.shape[2:], small.shape[2:], weight.shape[2:])
    dense = len(small) * math.prod(small.shape[2:]) * weight.numel()
    work: Work = {}
    if mask[0]:
        given = (big, None) if v["transposed"] else (None, small)
        _add(work, products(dense, _joins(v, given[0], given[1], weight, sizes), change, weight))
    if mask[1]:
        _add(work, products(dense, _joins(v, big, small, None, sizes), big, small))
    if mask[2]:
        _add(work, {"adds": change.numel() - change.shape[1]})
    return work


def _add(work: Work, more: Work) -> None:
    for key, count in more.items():
        work[key] = work.get(key, 0) + count


CONTRACTIONS: Mapping[str, Price] = {
    "mm": _matrix, "bmm": _matrix, "addmm": _addmm, "baddbmm": _baddbmm, "addbmm": _addbmm,
    "dot": lambda v: _vectors(v["self"], v["tensor"]), "vdot": lambda v: _vectors(v["self"], v["other"]),
    "mv": lambda v: _vectors(v["self"], v["vec"]), "addmv": _addmv, "addr": _addr,
    "_sparse_addmm": _addmm, "convolution": _convolution, "convolution_overrideable": _convolution,
    "convolution_backward": _convolution_backward,
}  # fmt: skip
