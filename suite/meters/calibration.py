"""A step's time on a scale that machines share: as a ratio to a fixed piece of work timed in turns with it.

A machine that is busy, throttled or merely another one moves both, so their ratio moves little. The work is
what steps are made of: matrix products that stay in the cache, pointwise functions over what comes out, and
the dispatch of a dozen small operators.

Other work on the machine only ever adds to a time, and on a busy one to more than half of all calls. So what
is compared is the lower quartile of each, which stands still until three calls in four are interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

FEWEST, MOST = 30, 500  # turns, whatever the budget
LEVEL = 0.95


@dataclass(frozen=True)
class Calibration:
    """Of a call beside the kernel."""

    kernel_seconds: float  # [s] lower quartile
    ratio: float  # lower quartile of the call's time over that of the kernel's
    interval: tuple[float, float]  # that holds it with at least 90 %: both quartiles within their 95 %


def calibrated(run: Callable[[], object], device: torch.device, budget: float) -> Calibration:
    """Times a call and the kernel in turns, after one of each, for `budget` seconds."""
    work = kernel(device)
    _seconds(work, device)
    _seconds(run, device)
    own: list[float] = []
    fixed: list[float] = []
    while len(own) < FEWEST or (sum(own) + sum(fixed) < budget and len(own) < MOST):
        fixed.append(_seconds(work, device))
        own.append(_seconds(run, device))
    own.sort()
    fixed.sort()
    low, high = places(len(own))
    middle = len(own) // 4
    return Calibration(
        fixed[middle], own[middle] / fixed[middle], (own[low] / fixed[high], own[high] / fixed[low])
    )


def kernel(device: torch.device) -> Callable[[], Tensor]:
    """The fixed work. It draws nothing, and may never be changed: stored ratios are to it."""
    weights = torch.linspace(-1, 1, 256 * 256, device=device).view(256, 256) / 16
    start = torch.linspace(-1, 1, 128 * 256, device=device).view(128, 256)

    @torch.no_grad()
    def work() -> Tensor:
        signal = start
        for _ in range(4):
            signal = torch.tanh(signal @ weights)
            signal = signal * 0.5 + start
        return signal.T @ start

    return work


def places(count: int, level: float = LEVEL) -> tuple[int, int]:
    """Where among so many sorted values, counted from 0, the interval of their lower quartile begins and ends:
    it holds the quartile with the level, whatever the values' distribution (order statistics)."""
    tail = (1 - level) / 2
    low, below = 0, 0.0  # the chance that at most `place` values lie below the quartile
    for place in range(count):
        below += comb(count, place) * 0.25**place * 0.75 ** (count - place)
        if below <= tail:
            low = place
        if below >= 1 - tail:
            return low, place
    return low, count - 1


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
