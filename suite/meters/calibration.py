"""A step's time on a scale that machines share: as a ratio to a fixed piece of work timed in turns with it.

A machine that is busy, throttled or merely another one moves both, so their ratio moves little. The work is
what steps are made of: matrix products that stay in the cache, pointwise functions over what comes out, and
the dispatch of a dozen small operators.
"""

from __future__ import annotations

import statistics
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

    kernel_seconds: float  # [s] median
    ratio: float  # median over turns of the call's time over the kernel's
    interval: tuple[float, float]  # 95 % for that median, by order statistics


def calibrated(run: Callable[[], object], device: torch.device, budget: float) -> Calibration:
    """Times a call and the kernel in turns, after one of each, for `budget` seconds."""
    work = kernel(device)
    _seconds(work, device)
    _seconds(run, device)
    turns: list[tuple[float, float]] = []
    while len(turns) < FEWEST or (sum(map(sum, turns)) < budget and len(turns) < MOST):
        turns.append((_seconds(work, device), _seconds(run, device)))
    ratios = sorted(own / fixed for fixed, own in turns)
    low = lowest_place(len(ratios))
    return Calibration(
        statistics.median(fixed for fixed, _ in turns),
        statistics.median(ratios),
        (ratios[low], ratios[-1 - low]),
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


def lowest_place(count: int, level: float = LEVEL) -> int:
    """Where, counted from 0, the interval of a median of so many sorted values begins, and from the other end
    where it ends: it holds the median with at least the level, whatever the values' distribution."""
    place, outside = 0, 1.0  # 2^n times the chance that at most `place` of the values lie below the median
    while 2 * (outside + comb(count, place + 1)) <= (1 - level) * 2.0**count:
        place += 1
        outside += comb(count, place)
    return place


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
