"""Counting multiply-accumulates at torch's operator dispatch, so that any rule is counted alike.

Whatever runs is seen: forward, credit assignment, local losses, relaxation, autograd's backward. A
contraction costs its inner length per output, in products of which the padding of a convolution is
part. Elementwise work is not MACs and is not counted here yet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
Formula = Callable[..., int]


def _dot(a: Any, b: Any, *_: Any, **__: Any) -> int:
    return math.prod(a.shape)


def _addmv(_: Any, a: Any, *__: Any, **___: Any) -> int:
    return math.prod(a.shape)


def _outer(_: Any, a: Any, b: Any, *__: Any, **___: Any) -> int:
    return len(a) * len(b)


# What torch's own registry (in floating-point operations, two per MAC) leaves at zero.
CONTRACTIONS: Mapping[Any, Formula] = {
    aten.mv: _dot, aten.dot: _dot, aten.vdot: _dot, aten.addmv: _addmv, aten.addmv_: _addmv,
    aten.addr: _outer,
}  # fmt: skip

# Fused operators that contract inside and have no formula here: counted as unknown, never as nothing.
OPAQUE = (
    "mkldnn_rnn_layer", "_native_multi_head_attention", "_transformer_encoder_layer_fwd", "_sparse_mm",
    "_sparse_addmm", "_trilinear", "_cdist_forward", "_cdist_backward", "linalg_lu_solve",
    "linalg_solve_ex", "_linalg_solve_ex", "linalg_inv_ex", "linalg_cholesky_ex", "_linalg_svd",
    "_linalg_eigh", "linalg_qr", "_cudnn_rnn", "_embedding_bag", "histc",
)  # fmt: skip


class Operations(TorchDispatchMode):
    """The counts of what ran inside `count_operations`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs_by_operator: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()  # operators that may contract: name -> calls

    @property
    def macs(self) -> int:
        """Multiply-accumulates of everything that has a formula."""
        return sum(self.macs_by_operator.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func.overloadpacket
        name = packet.__name__
        if packet in CONTRACTIONS:
            self.macs_by_operator[name] += CONTRACTIONS[packet](*args, **kwargs)
        elif packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=out)
            self.macs_by_operator[name] += flops // 2
        elif name in OPAQUE:
            self.unknown[name] += 1
        return out


@contextmanager
def count_operations() -> Iterator[Operations]:
    """Counts the MACs of the torch code inside: `with count_operations() as ops: step(); ops.macs`."""
    with Operations() as operations:
        yield operations
