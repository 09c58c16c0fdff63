"""The order of a board across problems: a score anchored to two fixed references, and ranks beside it.

    z = (score - last-layer) / (bp - last-layer)        on each problem: last-layer 0, bp 1

The order is that of the mean of z over problems. Neither z nor its mean depends on who else is on the board.
Ranks do, so they are shown and never sorted by.

What failed is known to be bad: a seed that diverged counts as WORST. What is not there is not known: it
counts as anything from WORST to BEST, which makes the mean an interval, and the place is that of its lower
end. Below WORST a score counts as WORST, since where last-layer is nearly as good as bp one failure would
outweigh all other problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from creditbench.reports.statistics.grid import UNKNOWN, Entry, Grid, Problem
from creditbench.reports.statistics.intervals import (
    DRAWS,
    LEVEL,
    Array,
    Interval,
    bootstrap,
    generator,
    iqm,
    mean,
    median,
)

WORST = -1.0  # as far below last-layer as bp is above it
BEST = 1.0  # as good as bp


@dataclass(frozen=True)
class Normalised:
    """A method on a problem, on the problem's own scale."""

    values: Array  # [seeds], failed seeds as WORST; empty where nothing is known
    low: float  # the mean over seeds: what it is at least
    high: float  # and at most; the two differ where nothing is known
    entry: Entry


@dataclass(frozen=True)
class Standing:
    """A method over all problems that can be normalised."""

    method: str
    place: int  # 1 is first; equal for equal scores
    low: float  # mean normalised score, what is unknown counted as WORST: the board is sorted by it
    high: float  # the same, what is unknown counted as BEST
    mean: Interval | None  # over problems, with the bootstrap's interval; None where a problem is unknown
    iqm: Interval | None
    median: Interval | None
    by_problem: Mapping[Problem, Normalised]
    incomplete: tuple[str, ...]  # problems that are not ok, each with what became of it
    few: bool  # some problem has fewer than three scored seeds


@dataclass(frozen=True)
class Ranks:
    """Of one method, 1 is best; ties share the mean of their ranks."""

    mean_best: float  # mean rank over problems, what is unknown counted as good as can be
    mean_worst: float  # what is unknown counted as worst rank: the mean rank to show
    by_problem: Mapping[Problem, tuple[float, float]]  # (best, worst), equal where all is known
    place_low: int  # place on the board by mean normalised score: what seeds and problems leave open
    place_high: int


def normalised(score: npt.ArrayLike, floor: float, ceiling: float) -> Array:
    """Scores on the scale of two references, which need not lie below or above them."""
    if floor == ceiling:
        raise ValueError("the two references have the same score, so there is no scale between them")
    return (np.asarray(score, dtype=np.float64) - floor) / (ceiling - floor)


def normalise(grid: Grid, method: str, problem: Problem) -> Normalised | None:
    """None where the problem's references make no scale."""
    anchors, entry = grid.anchors[problem], grid.entry(method, problem)
    if anchors.words or anchors.floor is None or anchors.ceiling is None:
        return None
    if entry.state in UNKNOWN:
        return Normalised(np.array([]), WORST, BEST, entry)
    scored = np.maximum(normalised(entry.values, anchors.floor, anchors.ceiling), WORST)
    values = np.concatenate([scored, np.full(len(entry.failed), WORST)])
    return Normalised(values, float(values.mean()), float(values.mean()), entry)


def standings(grid: Grid, level: float = LEVEL, draws: int = DRAWS) -> list[Standing]:
    """Every method, first the best. A method's figures are the same whoever else is on the grid.

    Intervals resample seeds within problems; the references' scores and the problems are taken as given."""
    found = [_standing(grid, method, level, draws) for method in grid.methods]
    if any(not standing.by_problem for standing in found):
        return []  # no problem has a scale: the notes of the grid say why
    found.sort(key=lambda standing: (-standing.low, -standing.high, standing.method))
    places = [1 + sum(_above(other, own) for other in found) for own in found]
    return [Standing(**{**own.__dict__, "place": place}) for own, place in zip(found, places, strict=True)]


def _above(other: Standing, own: Standing) -> bool:
    return (other.low, other.high) > (own.low, own.high)


def _standing(grid: Grid, method: str, level: float, draws: int) -> Standing:
    own = {problem: normalise(grid, method, problem) for problem in grid.problems}
    by_problem = {problem: one for problem, one in own.items() if one is not None}
    incomplete = tuple(
        f"{problem.name}: {one.entry.state}" + (f", {one.entry.words}" if one.entry.words else "")
        for problem, one in by_problem.items()
        if one.entry.state != "ok"
    )
    low = float(np.mean([one.low for one in by_problem.values()])) if by_problem else WORST
    high = float(np.mean([one.high for one in by_problem.values()])) if by_problem else BEST
    known = [one.values for one in by_problem.values()]
    parts: list[Interval | None] = [None, None, None]
    if known and all(len(values) for values in known):
        random = generator("standing", method, *(problem.name for problem in by_problem))
        parts = [bootstrap(known, statistic, random, draws, level) for statistic in (mean, iqm, median)]
    few = any(one.entry.few for one in by_problem.values())
    return Standing(method, 0, low, high, parts[0], parts[1], parts[2], by_problem, incomplete, few)


def ranks(grid: Grid, level: float = LEVEL, draws: int = DRAWS) -> dict[str, Ranks]:
    """Ranks of all methods on every problem, and intervals of their places on the board.

    A place is the rank of the mean normalised score; its interval resamples problems, and seeds within them.
    What is unknown is drawn evenly between WORST and BEST."""
    means = {problem: _mean_bounds(grid, problem) for problem in grid.problems}
    by_problem = {problem: _rank_bounds(low, high) for problem, (low, high) in means.items()}
    places = _places(grid, draws)
    tail = (1 - level) / 2
    found = {}
    for number, method in enumerate(grid.methods):
        own = {problem: (float(b[number]), float(w[number])) for problem, (b, w) in by_problem.items()}
        low, high = np.quantile(places[:, number], [tail, 1 - tail], method="closest_observation")
        best, worst = np.mean(list(own.values()), axis=0) if own else (np.nan, np.nan)
        found[method] = Ranks(float(best), float(worst), own, int(low), int(high))
    return found


def _mean_bounds(grid: Grid, problem: Problem) -> tuple[Array, Array]:
    """[methods] twice: what the mean score of each is at least and at most, better is more. A method of which
    a seed failed is below all that have none."""
    low, high = [], []
    for method in grid.methods:
        entry = grid.entry(method, problem)
        if entry.state in UNKNOWN:
            low.append(-np.inf)
            high.append(np.inf)
        else:
            own = -np.inf if entry.failed else problem.sign * float(entry.values.mean())
            low.append(own)
            high.append(own)
    return np.array(low), np.array(high)


def _rank_bounds(low: Array, high: Array) -> tuple[Array, Array]:
    """The best and the worst rank of each, where the others may be anything between their bounds."""
    best, worst = np.empty(len(low)), np.empty(len(low))
    for own in range(len(low)):
        others = np.arange(len(low)) != own
        best[own] = _rank(high[own], low[others])
        worst[own] = _rank(low[own], high[others])
    return best, worst


def _rank(own: float, others: Array) -> float:
    return float(1 + (others > own).sum() + (others == own).sum() / 2)


def _places(grid: Grid, draws: int) -> Array:
    """[draws, methods]: places by mean normalised score on resampled problems and seeds."""
    usable = (
        [p for p in grid.problems if normalise(grid, grid.methods[0], p) is not None] if grid.methods else []
    )
    if not usable:
        return np.ones((draws, len(grid.methods)))
    chosen = generator("problems", *(p.name for p in usable)).integers(len(usable), size=(draws, len(usable)))
    columns = []
    for method in grid.methods:
        random = generator("place", method)
        resampled = np.stack([_draw(normalise(grid, method, p), random, draws) for p in usable], axis=1)
        columns.append(np.take_along_axis(resampled, chosen, axis=1).mean(1))
    return np.asarray(stats.rankdata(-np.stack(columns, axis=1), method="min", axis=1))


def _draw(one: Normalised | None, random: np.random.Generator, draws: int) -> Array:
    """[draws]: the mean over resampled seeds."""
    assert one is not None
    if not len(one.values):
        return random.uniform(WORST, BEST, size=draws)
    count = max(len(one.values) - 1, 1)
    return np.asarray(one.values[random.integers(len(one.values), size=(draws, count))].mean(1))
