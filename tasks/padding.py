"""Series of unequal length side by side in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor


def padded(series: Sequence[Any], steps: int) -> Tensor:
    """Each [length, columns] (an array, or a list of rows), cut off at `steps` -> [samples, steps, columns],
    float32, NaN behind the end."""
    cut = [rows[:steps] for rows in series]
    lengths = np.array([len(rows) for rows in cut])
    flat = np.concatenate(cut) if isinstance(cut[0], np.ndarray) else np.array(list(chain.from_iterable(cut)))
    inputs = torch.full((len(cut), steps, flat.shape[1]), torch.nan)
    inputs[torch.arange(steps) < torch.from_numpy(lengths)[:, None]] = torch.from_numpy(flat).float()
    return inputs
