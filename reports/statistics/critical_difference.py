"""What stands under a critical-difference diagram.

Friedman's test asks whether any method differs. Which ones do is then asked of each pair by Wilcoxon's signed
rank test over problems, with Holm's correction. Nemenyi's test, the usual choice, compares mean ranks, and
these depend on which other methods are in the diagram: two can be told apart or not by adding a third
(Benavoli, Corani & Mangili 2016). Its distance is given for comparison with published diagrams and decides
nothing.

This generalises from problems to further ones like them, so the number of problems is what counts: 6 of them
cannot bring a pair below p = 0.03, before correction. `comparisons` asks the other question, whether methods
differ on these very problems, of which seeds are the sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from creditbench.reports.statistics.comparisons import SIGNIFICANCE, holm
from creditbench.reports.statistics.grid import UNKNOWN, Grid
from creditbench.reports.statistics.intervals import Array


@dataclass(frozen=True)
class CriticalDifference:
    methods: tuple[str, ...]  # by name
    problems: int
    mean_ranks: Mapping[str, float]  # where to draw each; never what to sort a table by
    friedman_p: float | None  # None: fewer than three methods or two problems
    pairs: Mapping[tuple[str, str], float]  # (a, b) by name: Wilcoxon's p after Holm
    least_p: float  # the smallest that a pair could reach, before Holm
    groups: tuple[tuple[str, ...], ...]  # bars: runs along the axis in which no pair is told apart
    nemenyi: float | None  # the distance of mean ranks in Nemenyi's test, for comparison only
    level: float
    left_out: tuple[str, ...]  # methods without a complete set of problems, each with the reason

    @property
    def caution(self) -> str:
        """What must stand beside the diagram; "" if nothing has to."""
        tests = len(self.pairs)
        if tests and self.least_p * tests > self.level:
            return (
                f"{self.problems} problems cannot tell any pair of {len(self.methods)} methods apart: the "
                f"least p is {self.least_p:.2g}, and Holm multiplies the smallest by {tests}"
            )
        return ""


def critical_difference(grid: Grid, level: float = SIGNIFICANCE) -> CriticalDifference:
    """Of all methods of which something is known on every problem; the others are named in `left_out`.

    A method of which a seed failed on a problem has the worst rank there."""
    left_out, kept = [], []
    for method in grid.methods:
        unknown = [p.name for p in grid.problems if grid.entry(method, p).state in UNKNOWN]
        if unknown:
            left_out.append(f"{method}: nothing is known on {', '.join(unknown)}")
        else:
            kept.append(method)
    scores = np.full((len(grid.problems), len(kept)), -np.inf)
    for row, problem in enumerate(grid.problems):
        for column, method in enumerate(kept):
            entry = grid.entry(method, problem)
            if not entry.failed:
                scores[row, column] = problem.sign * float(entry.values.mean())
    found = of_scores(scores, kept, level)
    return CriticalDifference(**{**found.__dict__, "left_out": tuple(left_out)})


def of_scores(scores: npt.ArrayLike, methods: list[str], level: float = SIGNIFICANCE) -> CriticalDifference:
    """scores: [problems, methods], better is more, -inf for what failed. Wilcoxon's test ranks differences of
    all problems together, so these should have one metric."""
    own = np.asarray(scores, dtype=np.float64)
    problems, count = own.shape
    ranked = stats.rankdata(-own, axis=1) if own.size else own
    mean_ranks = dict(zip(methods, map(float, ranked.mean(0)), strict=True)) if problems else {}
    names = [(a, b) for a, b in combinations(range(count), 2)]
    p = [wilcoxon_p(_difference(own[:, a], own[:, b])) for a, b in names]
    pairs = {(methods[a], methods[b]): float(value) for (a, b), value in zip(names, holm(p), strict=True)}
    friedman = friedman_p(own) if count > 2 and problems > 1 else None
    distance = nemenyi_distance(count, problems, level) if count > 1 and problems > 1 else None
    groups = _bars(mean_ranks, pairs, level)
    least = min(1.0, 2.0 ** (1 - problems)) if problems else 1.0
    return CriticalDifference(
        tuple(methods), problems, mean_ranks, friedman, pairs, least, groups, distance, level, ()
    )


def friedman_p(scores: npt.ArrayLike) -> float:
    """Friedman's test with Iman and Davenport's correction (1980), F-distributed; ties share ranks.
    scores: [problems, methods]"""
    own = np.asarray(scores, dtype=np.float64)
    problems, count = own.shape
    ranked = stats.rankdata(-own, axis=1)
    spread = ((ranked - (count + 1) / 2) ** 2).sum()
    if spread == 0:
        return 1.0  # all methods are the same everywhere
    chi = (count - 1) * problems**2 * ((ranked.mean(0) - (count + 1) / 2) ** 2).sum() / spread
    if math.isclose(chi, problems * (count - 1)):
        return 0.0  # the same order everywhere
    ratio = (problems - 1) * chi / (problems * (count - 1) - chi)
    return float(stats.f.sf(ratio, count - 1, (count - 1) * (problems - 1)))


def wilcoxon_p(differences: npt.ArrayLike) -> float:
    """Wilcoxon's signed rank test, two-sided, of [problems] differences. Exact with ties and zeros, too
    (Pratt 1959: zeros are ranked, then dropped), by counting the sums of all sign patterns."""
    own = np.asarray(differences, dtype=np.float64)
    ranked = stats.rankdata(np.abs(own))
    kept = own != 0
    if not kept.any():
        return 1.0
    # Ranks are halves at the least, so sums of twice the ranks are whole: their distribution by convolution.
    doubled = np.rint(2 * ranked[kept]).astype(int)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = (ways[rank:] + np.concatenate([ways[: len(ways) - rank]])[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    positive = int(doubled[own[kept] > 0].sum())
    extreme = min(positive, int(doubled.sum()) - positive)
    return float(min(1.0, 2 * ways[: extreme + 1].sum()))


@cache
def nemenyi_distance(methods: int, problems: int, level: float = SIGNIFICANCE) -> float:
    """The difference of mean ranks beyond which Nemenyi's test sees one: q sqrt(k (k + 1) / (6 N)), q of the
    studentised range over sqrt(2) (Demšar 2006)."""
    q = float(stats.studentized_range.isf(level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * problems))


def _difference(a: Array, b: Array) -> Array:
    """a - b, where both failed 0."""
    both = np.isneginf(a) & np.isneginf(b)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, a - b)


def _bars(
    mean_ranks: Mapping[str, float], pairs: Mapping[tuple[str, str], float], level: float
) -> tuple[tuple[str, ...], ...]:
    order = sorted(mean_ranks, key=lambda name: (mean_ranks[name], name))
    bars: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and all(
            pairs[min(order[end], other), max(order[end], other)] > level for other in order[start:end]
        ):
            end += 1
        if end - start > 1 and (not bars or order[end - 1] not in bars[-1]):
            bars.append(tuple(order[start:end]))
    return tuple(bars)
