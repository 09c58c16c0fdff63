"""Kernels that hide their work from the dispatcher (LSTM, GRU, attention), off while someone counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_lock, _users, _restore = threading.Lock(), [0], ExitStack()


@contextmanager
def fused_kernels_off() -> Iterator[None]:
    """For as long as anyone counts, in whatever thread: the switches are the process's."""
    attention = torch.backends.mha
    with _lock:
        _users[0] += 1
        if _users[0] == 1:
            _restore.callback(attention.set_fastpath_enabled, attention.get_fastpath_enabled())
            _restore.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            _restore.enter_context(sdpa_kernel(SDPBackend.MATH))
            attention.set_fastpath_enabled(False)
            torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1
            if not _users[0]:
                _restore.close()
