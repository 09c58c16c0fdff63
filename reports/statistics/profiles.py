"""Whole distributions where a mean would hide them: performance profiles and probability of improvement.

Both are of Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice"; the
code is not theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creditbench.reports.statistics.grid import CEILING, Grid
from creditbench.reports.statistics.intervals import (
    DRAWS,
    LEVEL,
    Array,
    Interval,
    expanded,
    generator,
    most_coverage,
    resample,
)
from creditbench.reports.statistics.standings import Normalised, normalise


@dataclass(frozen=True)
class Profile:
    """Which share of a method's runs scores more than each threshold, every problem with the same weight."""

    method: str
    thresholds: Array  # [thresholds], normalised scores
    share: Array  # [thresholds], what is unknown counted as below
    share_high: Array  # [thresholds], what is unknown counted as above up to BEST
    low: Array | None  # [thresholds], pointwise interval over seeds; None where it cannot be had
    high: Array | None


def profile(
    grid: Grid, method: str, thresholds: npt.ArrayLike, level: float = LEVEL, draws: int = DRAWS
) -> Profile:
    """Run-score distribution of one method over all problems that have a scale."""
    tau = np.asarray(thresholds, dtype=np.float64)
    found = [own for own in (normalise(grid, method, p) for p in grid.problems) if own is not None]
    if not found:
        raise ValueError("no problem has both references, so there is no scale: see the notes of the grid")
    share = np.mean([_above(own, tau, own.low) for own in found], axis=0)
    high_share = np.mean([_above(own, tau, own.high) for own in found], axis=0)
    known = [own.values for own in found]
    if min(map(len, known)) < 2:
        return Profile(method, tau, share, high_share, None, None)
    random = generator("profile", method)
    parts = resample(known, random, draws)
    shares = np.mean([(part[..., None] > tau).mean(1) for part in parts], axis=0)  # [draws, thresholds]
    low, high = np.quantile(shares, expanded(known, level), axis=0)
    return Profile(method, tau, share, high_share, low, high)


def _above(own: Normalised, tau: Array, unknown: float) -> Array:
    values = own.values if len(own.values) else np.array([unknown])
    return np.asarray((values[:, None] > tau).mean(0))


def probability_of_improvement(
    grid: Grid, a: str, b: str = CEILING, level: float = LEVEL, draws: int = DRAWS
) -> Interval | None:
    """How often a run of a scores more than one of b on the same problem, ties counted half, averaged over
    problems. Failed seeds score less than all others. None where something is unknown."""
    pairs = []
    for problem in grid.problems:
        entries = [grid.entry(name, problem) for name in (a, b)]
        own = [
            np.concatenate([problem.sign * entry.values, np.full(len(entry.failed), -np.inf)])
            for entry in entries
        ]
        if not all(map(len, own)):
            return None
        pairs.append((own[0], own[1]))
    if not pairs:
        return None
    return improvement(pairs, generator("improvement", a, b), level, draws)


def improvement(
    pairs: Sequence[tuple[Array, Array]],
    random: np.random.Generator,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> Interval:
    """Of scores [seeds] of two methods on each problem: Mann and Whitney's U over n m, and its mean. The
    bootstrap draws the seeds of both methods apart; where one wins every pair, its interval has no width."""
    estimate = float(np.mean([_wins(a, b) for a, b in pairs]))
    fewest = min(min(len(a), len(b)) for a, b in pairs)
    if fewest < 2:
        return Interval(estimate, None, None, level, fewest, 0.0)
    values = np.zeros(draws)
    for a, b in pairs:
        first, second = resample([a], random, draws)[0], resample([b], random, draws)[0]
        values += _wins(first, second) / len(pairs)
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    most = min(level, most_coverage(fewest)) if len(pairs) == 1 else level
    return Interval(estimate, float(low), float(high), level, fewest, most)


def _wins(a: Array, b: Array) -> Array:
    """[..., n] and [..., m] -> [...]: the share of pairs that a wins."""
    first, second = a[..., :, None], b[..., None, :]
    return np.asarray(((first > second) + 0.5 * (first == second)).mean((-2, -1)))
