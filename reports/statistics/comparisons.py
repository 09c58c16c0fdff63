"""Two methods, the same seeds: is there a difference, and could so few seeds have shown one?

Tests are permutation tests of the difference of means: exact for any distribution of scores.

- *paired* (6 seeds and more): the signs of the n differences between runs of one seed are swapped in all 2**n
  ways. Seeds share initial weights and batches, so pairs are alike in more than chance.
- *unpaired* (fewer): the 2n scores are dealt anew in all ways, since sign swaps of 5 pairs cannot go below
  p = 0.0625. Runs of one seed are at most more alike than others, which makes it err towards no difference.

Which of them is used depends on the number of seeds alone, never on scores. Over several problems the swaps
are done within each, and the statistic is the mean difference on the problems' normalised scales.

With every p comes the least that the number of seeds can give (3 against 3: 0.10) and the smallest difference
that they could have shown with a power of 80 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import combinations, product
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from creditbench.reports.statistics.grid import CEILING, Grid, Problem
from creditbench.reports.statistics.intervals import FEW, Array, generator

SIGNIFICANCE = 0.05
POWER = 0.8
PAIRED_FROM = 6  # seeds from which swapping signs can go below 0.05
EXACT = 20_000  # arrangements up to which all are looked at
DRAWS = 9_999  # beyond that, drawn ones
Pair = TypeVar("Pair", bound=Hashable)


@dataclass(frozen=True)
class Comparison:
    """Method a beside method b on one problem, or over several.

    Differences are a - b, positive where a is the better one; in the task's metric on one problem, normalised
    over several."""

    a: str
    b: str
    problems: int
    seeds: int  # of each, on the problem that has fewest
    paired: bool
    difference: float | None  # None: there is nothing to compare
    low: float | None  # Student's interval of the difference, for normal scores; None with fewer than 2 seeds
    high: float | None
    p: float | None  # two-sided
    least_p: float  # the smallest that so many seeds can reach
    detectable: float | None  # the smallest difference that would be found with POWER; None: none would be
    level: float  # of significance, 0.05
    holm_p: float | None = None  # after `holm`, for as many comparisons as were made together
    words: str = ""  # what is missing, if anything

    @property
    def few(self) -> bool:
        return self.seeds < FEW

    @property
    def significant(self) -> bool:
        p = self.p if self.holm_p is None else self.holm_p
        return p is not None and p <= self.level

    @property
    def caution(self) -> str:
        """What must stand beside the p; "" if nothing has to."""
        if self.words:
            return self.words
        if self.least_p > self.level:
            return f"{self.seeds} seeds against {self.seeds} cannot go below p = {self.least_p:.2g}"
        return ""


def compare(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    random: np.random.Generator,
    names: tuple[str, str] = ("a", "b"),
    paired: bool | None = None,
    level: float = SIGNIFICANCE,
) -> Comparison:
    """Scores [seeds] of two methods under the same seeds in the same order, better is more.

    paired: None chooses by the number of seeds, as above."""
    return compare_over([(np.asarray(a, float), np.asarray(b, float))], random, names, paired, level)


def compare_over(
    pairs: Sequence[tuple[Array, Array]],
    random: np.random.Generator,
    names: tuple[str, str] = ("a", "b"),
    paired: bool | None = None,
    level: float = SIGNIFICANCE,
) -> Comparison:
    """The same over several problems, of each a pair of scores [seeds] on comparable scales.

    The statistic is the mean over problems of the mean difference. Raises ValueError where a pair has no
    seeds or differs in number."""
    if not pairs or any(len(a) != len(b) or not len(a) for a, b in pairs):
        raise ValueError("each problem needs the same seeds of both methods, at least one")
    fewest = min(len(a) for a, _ in pairs)
    if paired is None:
        paired = fewest >= PAIRED_FROM
    differences = [np.asarray(a - b, dtype=np.float64) for a, b in pairs]
    difference = float(np.mean([own.mean() for own in differences]))
    p = _permutation_p(pairs, paired, random)
    least = least_p([len(own) for own in differences], paired)
    low, high, error, degrees = _interval(differences, level)
    detectable = None
    if error is not None and degrees is not None and least <= level:
        detectable = error * detectable_effect(degrees, level)
    return Comparison(
        names[0], names[1], len(pairs), fewest, paired, difference, low, high, p, least, detectable, level
    )


def compare_methods(
    grid: Grid, a: str, b: str = CEILING, problem: Problem | None = None, level: float = SIGNIFICANCE
) -> Comparison:
    """Two methods of a grid on one problem, by the seeds that both have; without a problem, over all that can
    be normalised. Where something is missing or failed there is no p: `words` says what."""
    random = generator("compare", *sorted((a, b)), problem.name if problem else "all")
    chosen = [problem] if problem else [p for p in grid.problems if not grid.anchors[p].words]
    pairs, missing = [], []
    for own in chosen:
        first, second = grid.entry(a, own), grid.entry(b, own)
        shared = sorted(first.scores.keys() & second.scores.keys())
        for name, entry in ((a, first), (b, second)):
            if entry.state != "ok":
                missing.append(f"{name} on {own.name}: {entry.state} ({entry.words})")
        if not shared and first.state == second.state == "ok":
            missing.append(f"{a} and {b} share no seed on {own.name}")
        scores = [np.array([entry.scores[seed] for seed in shared]) for entry in (first, second)]
        if problem is None:
            anchors = grid.anchors[own]
            assert anchors.floor is not None
            assert anchors.ceiling is not None
            scores = [(part - anchors.floor) / (anchors.ceiling - anchors.floor) for part in scores]
        else:
            scores = [own.sign * part for part in scores]
        pairs.append((scores[0], scores[1]))
    if missing or not pairs:
        words = "; ".join(missing) or "no problem has both references, so nothing can be normalised"
        return Comparison(a, b, len(chosen), 0, False, None, None, None, None, 1.0, None, level, words=words)
    return compare_over(pairs, random, (a, b), None, level)


def against(
    grid: Grid, reference: str = CEILING, problem: Problem | None = None, level: float = SIGNIFICANCE
) -> list[Comparison]:
    """Every other method beside one, with Holm's correction for that many comparisons."""
    found = [
        compare_methods(grid, name, reference, problem, level) for name in grid.methods if name != reference
    ]
    return corrected(found)


def all_pairs(
    grid: Grid, problem: Problem | None = None, level: float = SIGNIFICANCE
) -> dict[tuple[str, str], Comparison]:
    """Every two methods, (a, b) with a before b by name, with Holm's correction for all of them."""
    names = list(combinations(sorted(grid.methods), 2))
    found = corrected([compare_methods(grid, a, b, problem, level) for a, b in names])
    return dict(zip(names, found, strict=True))


def corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons made together, with their `holm_p`; those without a p count and get none."""
    adjusted = holm([1.0 if own.p is None else own.p for own in found])
    return [
        own if own.p is None else replace(own, holm_p=float(p))
        for own, p in zip(found, adjusted, strict=True)
    ]


def holm(p: npt.ArrayLike) -> Array:
    """Step-down adjusted p-values [tests] (Holm 1979): the least of m times m, the next times m - 1, never
    falling. Holds the chance of any false difference at the level, however the tests depend on each other."""
    own = np.asarray(p, dtype=np.float64)
    order = np.argsort(own, kind="stable")
    steps = np.maximum.accumulate(own[order] * (len(own) - np.arange(len(own))))
    adjusted = np.empty_like(own)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def tie_groups(
    order: Sequence[str], comparisons: Mapping[tuple[str, str], Comparison]
) -> list[tuple[str, ...]]:
    """The longest runs of neighbours on the board in which no pair is told apart; single ones where all are.

    order: methods as the board has them. comparisons: of `all_pairs`, Holm's correction applied."""

    def apart(a: str, b: str) -> bool:
        return comparisons[(a, b) if (a, b) in comparisons else (b, a)].significant

    groups: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(apart(order[end], other) for other in order[start:end]):
            end += 1
        if not groups or order[end - 1] not in groups[-1]:
            groups.append(tuple(order[start:end]))
    return groups


def least_p(seeds: Sequence[int], paired: bool) -> float:
    """The smallest two-sided p of a permutation test with so many seeds of each method, by problem: that of
    the most extreme arrangement and its mirror image."""
    ways = math.prod(_ways(count, paired) for count in seeds)
    exact = min(1.0, 2 / ways)
    return exact if ways <= EXACT else max(exact, 1 / (DRAWS + 1))


@cache
def detectable_effect(degrees: float, level: float = SIGNIFICANCE, power: float = POWER) -> float:
    """The difference, in standard errors of it, that Student's test finds with the given power: normal
    theory, which permutation tests come close to."""
    bound = float(stats.f.isf(level, 1, degrees))

    def lacking(effect: float) -> float:
        return float(stats.ncf.sf(bound, 1, degrees, effect**2)) - power

    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return float(optimize.brentq(lacking, high / 2 if high > 1 else 0.0, high))


def _interval(
    differences: Sequence[Array], level: float
) -> tuple[float | None, float | None, float | None, float | None]:
    """Bounds of the mean difference, its standard error, degrees of freedom (Satterthwaite's)."""
    if min(map(len, differences)) < 2:
        return None, None, None, None
    centre = float(np.mean([part.mean() for part in differences]))
    variances = np.array([part.var(ddof=1) / len(part) for part in differences]) / len(differences) ** 2
    freedom = np.array([len(part) - 1 for part in differences])
    total = float(variances.sum())
    degrees = total**2 / float((variances**2 / freedom).sum()) if total > 0 else float(freedom.sum())
    error = math.sqrt(total)
    reach = float(stats.t.ppf(1 - level / 2, degrees)) * error
    return centre - reach, centre + reach, error, degrees


def _permutation_p(pairs: Sequence[tuple[Array, Array]], paired: bool, random: np.random.Generator) -> float:
    """Two-sided: the share of arrangements whose statistic is at least as far from 0 as the one found."""
    ways = [_ways(len(a), paired) for a, _ in pairs]
    found = sum(float((a - b).mean()) for a, b in pairs)
    # Sums of the same numbers in another order differ by rounding.
    largest = max(float(np.abs(np.concatenate(pair)).max()) for pair in pairs)
    bound = abs(found) - 1e-12 * max(1.0, largest)
    if math.prod(ways) <= EXACT:
        sums = np.zeros(1)
        for a, b in pairs:
            sums = np.add.outer(sums, _arranged(a, b, paired)).ravel()
        return float((np.abs(sums) >= bound).mean())
    sums = np.zeros(DRAWS)
    for (a, b), own in zip(pairs, ways, strict=True):
        if own <= EXACT:
            sums += _arranged(a, b, paired)[random.integers(own, size=DRAWS)]
        else:
            sums += _drawn(a, b, paired, random)
    return float((1 + (np.abs(sums) >= bound).sum()) / (DRAWS + 1))


def _ways(count: int, paired: bool) -> int:
    return 2**count if paired else math.comb(2 * count, count)


@lru_cache(maxsize=64)
def _arrangements(count: int, paired: bool) -> Array:
    """[arrangements, count or 2 count]: the sign of each difference, or of each score."""
    if paired:
        return np.array(list(product((1.0, -1.0), repeat=count)))
    signs = np.full((math.comb(2 * count, count), 2 * count), -1.0)
    for row, chosen in enumerate(combinations(range(2 * count), count)):
        signs[row, list(chosen)] = 1.0
    return signs


def _arranged(a: Array, b: Array, paired: bool) -> Array:
    """The difference of means under every arrangement."""
    values = a - b if paired else np.concatenate([a, b])
    return np.asarray(_arrangements(len(a), paired) @ values / len(a))


def _drawn(a: Array, b: Array, paired: bool, random: np.random.Generator) -> Array:
    """[DRAWS]: the same under arrangements drawn at random."""
    count = len(a)
    if paired:
        signs = random.choice((1.0, -1.0), size=(DRAWS, count))
        return np.asarray(signs @ (a - b) / count)
    both = np.broadcast_to(np.concatenate([a, b]), (DRAWS, 2 * count))
    first = random.permuted(both, axis=1)[:, :count].sum(1)
    return np.asarray((2 * first - both[0].sum()) / count)
