"""Random-looking choices that no version of any library can change: they are read off SHA-256."""

from __future__ import annotations

import hashlib


def draw(label: str, below: int) -> int:
    """A whole number in [0, below) that depends on the label alone."""
    return _number(label) % below  # 256 bits: no value is favoured by more than `below` in 2**256


def order(label: str, count: int) -> list[int]:
    """0 ... count - 1 in an order that depends on the label alone; more of them never reorders fewer."""
    return sorted(range(count), key=lambda i: _number(f"{label}/{i}"))


def _number(label: str) -> int:
    return int.from_bytes(hashlib.sha256(label.encode()).digest())


def mersenne_words(seed: int, count: int) -> list[int]:
    """The first 32-bit words of numpy's legacy generator RandomState(seed), whose stream is frozen (NEP
    19)."""
    import numpy as np

    words: list[int] = np.random.RandomState(seed).randint(0, 2**32, size=count, dtype=np.uint32).tolist()
    return words
