"""What a handful of seeds says about a score: centre and interval.

The bootstrap draws n - 1 of n seeds with replacement, within each problem: the variance of a mean of these is
s²/n without bias, where n of n would give (n-1)/n of it, a fifth too little with 5 seeds (Rao & Wu 1988 for
strata, Hesterberg 2004). Its quantiles are taken further out than the level says, as Student's t asks for so
few seeds (expanded percentile interval, Hesterberg 2015).

No interval that stays within the range of n seeds can hold a median more often than 1 - 2**(1-n): 75 % with 3
seeds, 94 % with 5. `most_coverage` says so beside each interval; Student's interval of the mean reaches its
level with any number, if scores are normal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
# values [..., n] and weights [n] -> [...]
Statistic = Callable[[Array, Array], Array]

LEVEL = 0.95  # of intervals
DRAWS = 2000
FEW = 3  # seeds below which a result is marked


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds. Both bounds are None where a problem has a single seed."""

    estimate: float
    low: float | None
    high: float | None
    level: float  # what it is meant to hold
    seeds: int  # of the problem that has fewest
    most_coverage: float  # what it can hold at best, with so few seeds

    @property
    def few(self) -> bool:
        return self.seeds < FEW


@dataclass(frozen=True)
class Summary:
    """The scores of one method on one problem."""

    mean: Interval
    median: Interval
    iqm: Interval
    student: Interval  # of the mean, for normal scores
    std: float | None  # n - 1 in the denominator; None for one seed

    @property
    def few(self) -> bool:
        return self.mean.few


def generator(*names: object) -> np.random.Generator:
    """A generator that depends on names alone, so that a figure never depends on what stands beside it."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def mean(values: npt.ArrayLike, weights: Array | None = None) -> Array:
    """Weighted mean along the last axis."""
    array, own = _weighted(values, weights)
    return np.asarray(array @ own)


def iqm(values: npt.ArrayLike, weights: Array | None = None) -> Array:
    """Interquartile mean along the last axis: the mean of the middle half, with the two values at its ends
    counted by the share of them that lies inside. iqm([1, 2, 9]) is 3, where a truncated one says 4."""
    array, own = _weighted(values, weights)
    order = np.argsort(array, axis=-1, kind="stable")
    upper = np.cumsum(own[order], axis=-1)
    inside = np.clip(np.minimum(upper, 0.75) - np.maximum(upper - own[order], 0.25), 0.0, None)
    return np.asarray((np.take_along_axis(array, order, -1) * inside).sum(-1) / inside.sum(-1))


def median(values: npt.ArrayLike, weights: Array | None = None) -> Array:
    """Weighted median along the last axis; half way between two values that split the weight evenly."""
    array, own = _weighted(values, weights)
    order = np.argsort(array, axis=-1, kind="stable")
    upper = np.cumsum(own[order], axis=-1)
    ordered = np.take_along_axis(array, order, -1)
    tiny = 1e-9
    below = np.argmax(upper >= 0.5 - tiny, axis=-1)
    above = np.argmax(upper > 0.5 + tiny, axis=-1)
    pick = [np.take_along_axis(ordered, place[..., None], -1)[..., 0] for place in (below, above)]
    return np.asarray((pick[0] + pick[1]) / 2)


def summary(scores: npt.ArrayLike, random: np.random.Generator, level: float = LEVEL) -> Summary:
    """Centre and spread of one method on one problem. scores: [seeds], all finite, at least one."""
    own = _checked([scores])
    parts = [bootstrap(own, statistic, random, level=level) for statistic in (mean, median, iqm)]
    std = float(np.std(own[0], ddof=1)) if len(own[0]) > 1 else None
    return Summary(parts[0], parts[1], parts[2], student(own[0], level), std)


def bootstrap(
    strata: Sequence[npt.ArrayLike],
    statistic: Statistic,
    random: np.random.Generator,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Interval:
    """The interval of a statistic of all seeds together, each problem with the same weight.

    strata: per problem [seeds], all finite. Seeds are resampled within their problem."""
    own = _checked(strata)
    whole = statistic(np.concatenate(own), _stratum_weights([len(part) for part in own]))
    fewest = min(map(len, own))
    most = most_coverage(fewest) if len(own) == 1 else 1.0
    if fewest < 2:
        return Interval(float(whole), None, None, level, fewest, 0.0)
    resampled = resample(own, random, draws)
    values = statistic(np.concatenate(resampled, axis=-1), _stratum_weights([len(s) - 1 for s in own]))
    low, high = np.quantile(values, expanded(own, level))
    return Interval(float(whole), float(low), float(high), level, fewest, min(level, most))


def resample(strata: Sequence[Array], random: np.random.Generator, draws: int) -> list[Array]:
    """Per problem [draws, seeds - 1], drawn with replacement."""
    return [part[random.integers(len(part), size=(draws, len(part) - 1))] for part in strata]


def student(scores: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """Student's interval of a mean: exact for independent normal scores. scores: [seeds]"""
    (own,) = _checked([scores])
    centre = float(own.mean())
    if len(own) < 2:
        return Interval(centre, None, None, level, len(own), 0.0)
    reach = float(stats.t.ppf((1 + level) / 2, len(own) - 1) * own.std(ddof=1) / math.sqrt(len(own)))
    return Interval(centre, centre - reach, centre + reach, level, len(own), level)


def most_coverage(seeds: int) -> float:
    """How often the range of so many seeds holds their median: 1 - 2**(1 - n)."""
    return 1 - 2.0 ** (1 - seeds)


def expanded(strata: Sequence[Array], level: float) -> tuple[float, float]:
    """The two quantiles of the bootstrap to read: those of Student's t, on the normal's scale. The degrees of
    freedom are Satterthwaite's, since problems differ in their spread."""
    variances = np.array([part.var(ddof=1) / len(part) for part in strata])
    freedom = np.array([len(part) - 1 for part in strata])
    total = variances.sum()
    degrees = total**2 / (variances**2 / freedom).sum() if total > 0 else float(freedom.sum())
    tail = float(stats.norm.cdf(stats.t.ppf((1 - level) / 2, degrees)))
    return tail, 1 - tail


def _stratum_weights(sizes: Sequence[int]) -> Array:
    return np.concatenate([np.full(size, 1 / size / len(sizes)) for size in sizes])


def _weighted(values: npt.ArrayLike, weights: Array | None) -> tuple[Array, Array]:
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[-1]
    own = np.full(count, 1 / count) if weights is None else weights / weights.sum()
    return array, own


def _checked(strata: Sequence[npt.ArrayLike]) -> list[Array]:
    own = [np.asarray(part, dtype=np.float64) for part in strata]
    if not own or any(part.ndim != 1 or not len(part) or not np.isfinite(part).all() for part in own):
        raise ValueError("each problem needs a list of at least one finite score; leave out what has none")
    return own
