"""Seeds by name: one generator per purpose, derived from the seed and the names it depends on.

Weights and data never depend on the rule's name, so every rule starts from the same weights and sees
the same batches; adding a rule, a network or a purpose moves nobody's numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def generator(purpose: str, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on these words and nothing else."""
    text = "\0".join(str(name) for name in ("creditbench", purpose, *names))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class SeededNoise:
    """Random numbers for several seeds at once, each seed's from its own generator (see types.Noise)."""

    generators: Sequence[torch.Generator]

    def normal(self, *shape: int) -> Tensor:
        return self._stack(lambda g: torch.randn(shape, generator=g, device=g.device))

    def uniform(self, *shape: int) -> Tensor:
        return self._stack(lambda g: torch.rand(shape, generator=g, device=g.device))

    def integers(self, high: int, *shape: int) -> Tensor:
        return self._stack(lambda g: torch.randint(high, shape, generator=g, device=g.device))

    def _stack(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self.generators])
