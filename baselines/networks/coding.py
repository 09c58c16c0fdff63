"""How static images become spikes along time: by rate, latency or a constant current.

Inputs are [seed, batch, *shape], as a task prepares them; a moment of them has the same shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.spikes import declare_spikes
from creditbench.suite.types import Context, Shape

Moment = Callable[[Tensor, int, int, Context | None], Tensor]  # (inputs, t, steps, context) -> at t


def constant_current(inputs: Tensor, t: int, steps: int, context: Context | None) -> Tensor:
    """The image itself, as the task prepares it, as a current at every step."""
    return inputs


def rate(inputs: Tensor, t: int, steps: int, context: Context | None) -> Tensor:
    """A spike with the intensity as its probability, at every step anew (Bernoulli). Learning draws for every
    sample; where the network is used and must repeat itself, one fixed draw for each step and pixel holds."""
    shape = inputs.shape[2:]
    if context is None:
        lot = _fixed_lots(steps, tuple(shape))[t].to(inputs.device)
    else:
        lot = context.noise.uniform(inputs.shape[1], *shape).to(inputs)
    return declare_spikes((lot < intensity(inputs)).to(inputs.dtype))


def latency(inputs: Tensor, t: int, steps: int, context: Context | None) -> Tensor:
    """One spike a pixel, the earlier the brighter: at step (1 - p) (T - 1), rounded; none where p = 0."""
    p = intensity(inputs)
    return declare_spikes((((1 - p) * (steps - 1)).round().eq(t) & (p > 0)).to(inputs.dtype))


def intensity(inputs: Tensor) -> Tensor:
    """p in [0, 1]: an image between its darkest and its brightest value, [seed, batch, *shape]."""
    flat = inputs.flatten(2)
    low, high = (bound.view(*bound.shape, *(1,) * (inputs.dim() - 2)) for bound in flat.aminmax(dim=-1))
    return (inputs - low) / (high - low).clamp_min(1e-12)


@lru_cache(maxsize=4)
def _fixed_lots(steps: int, shape: Shape) -> Tensor:
    return torch.rand(steps, *shape, generator=torch.Generator().manual_seed(0))


CODINGS: Mapping[str, Moment] = {"constant": constant_current, "rate": rate, "latency": latency}


@dataclass(frozen=True)
class Coding:
    """Static inputs as a sequence of so many steps."""

    name: str
    steps: int

    def __post_init__(self) -> None:
        if self.name not in CODINGS:
            raise unknown_name("coding", self.name, CODINGS)
        if self.steps < 1:
            raise CreditbenchError(f"A spiking network takes at least 1 step, not {self.steps}.")

    def moments(self, inputs: Tensor, context: Context | None) -> Iterator[Tensor]:
        for t in range(self.steps):
            yield CODINGS[self.name](inputs, t, self.steps, context).unsqueeze(0)

    def sequence(self, inputs: Tensor, context: Context | None) -> Tensor:
        if self.name == "constant":
            return inputs.expand(self.steps, *inputs.shape)
        return torch.cat(list(self.moments(inputs, context)))
