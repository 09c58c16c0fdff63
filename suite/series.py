"""Irregularly sampled series: how a sample of observations at uneven times is stored and handed on.

A `Series` is values, mask, times and lengths. Stored, batched and moved to a device it is one float tensor
[samples, steps, 1 + features], so that everything that handles samples handles series: column 0 is the time,
NaN behind the end; the others are the features, NaN where nothing was observed (the convention of
Kidger et al. 2020, Neural controlled differential equations).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError

NO_CLASS = -1  # target of a step that is not scored, like those behind a series' end


@dataclass(frozen=True)
class Series:
    """Observations at known times. Leading axes (seed, batch or samples) are whatever they are."""

    values: Tensor  # [..., steps, features]; 0 where not observed
    mask: Tensor  # [..., steps, features]; 1 where observed, else 0
    times: Tensor  # [..., steps]; rising from one step to the next; behind the end the last time again
    lengths: Tensor  # [...], int64: steps that there are

    @staticmethod
    def unpack(packed: Tensor) -> Series:
        """The series of a packed tensor [..., steps, 1 + features]."""
        time, features = packed[..., 0], packed[..., 1:]
        lengths = time.isfinite().sum(-1)
        observed = features.isfinite() & time.isfinite().unsqueeze(-1)
        # A network may walk on behind the end of a short series: no time passes there.
        times = torch.cummax(time.nan_to_num(nan=-torch.inf, neginf=-torch.inf), -1).values
        return Series(torch.where(observed, features, 0.0), observed.to(packed.dtype), times, lengths)

    def pack(self) -> Tensor:
        """[..., steps, 1 + features]: see the head of this file. Raises CreditbenchError where a series has
        no step or times do not rise."""
        steps = self.times.shape[-1]
        present = torch.arange(steps) < self.lengths.unsqueeze(-1)  # [..., steps]
        if int(self.lengths.min()) < 1:
            raise CreditbenchError("A series has no step; leave it out or give it one without observations.")
        if (self.times.diff(dim=-1)[present[..., 1:]] < 0).any():
            raise CreditbenchError("The times of a series fall from one step to the next; sort its steps.")
        time = torch.where(present, self.times, torch.nan)
        seen = (self.mask > 0) & present.unsqueeze(-1)
        return torch.cat([time.unsqueeze(-1), torch.where(seen, self.values, torch.nan)], -1)

    @property
    def present(self) -> Tensor:
        """Whether a step is before the end: [..., steps], bool."""
        steps = torch.arange(self.times.shape[-1], device=self.times.device)
        return steps < self.lengths.unsqueeze(-1)

    @property
    def observed(self) -> Tensor:
        """Whether anything was observed at a step: [..., steps], bool."""
        return (self.mask > 0).any(-1)

    @property
    def elapsed(self) -> Tensor:
        """Time since the step before, since 0 for the first: [..., steps]; 0 behind the end."""
        return self.times.diff(dim=-1, prepend=torch.zeros_like(self.times[..., :1]))

    def last(self, outputs: Tensor) -> Tensor:
        """What is at each series' last step: [..., steps, features] -> [..., features]."""
        index = (self.lengths - 1)[..., None, None].expand(*outputs.shape[:-2], 1, outputs.shape[-1])
        return outputs.gather(-2, index).squeeze(-2)
