"""Which points of a space are tried, and in what order. The part that is Optuna's samplers.

**Halton**, the default: a scrambled Halton sequence (Optuna's QMCSampler, from a fixed seed) over two
coordinates: the learning rate on a logarithmic scale, and *which combination* of the choices. Why not as
Optuna does it when left alone:

- It draws the first trial of a study at random, because it infers the search space from that trial; here the
  space is declared beforehand. Without scrambling the sequence starts in the corner of the space.
- It gives every categorical parameter a coordinate of its own. The twelve points that a rule gets are too few
  to fill three dimensions evenly (combinations of two pairs get 4, 4, 2 and 2 of them); over combinations
  as one coordinate they can be.
- It counts a point as used when a trial starts, so a killed trial's point would never be tried. Here the
  points are laid down first, from the seed alone, and the journal holds finished trials and no others.

**Rounds.** A sampler that learns (TPE), and pruning, go by the results of other trials: by those that happen
to be there, if left alone, so that a study would depend on how many trials run at once and which is faster.
Here such a study goes in rounds whose sizes depend on the number of trials alone. What a round tries, and
where it stops a trial, is a function of the results of the rounds before, taken in the order in which their
points were laid: the same inline, in any number of processes, on a cluster, and after being killed.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.tuning.space import Point, Space, rounded
from creditbench.suite.tuning.tried import Tried

if TYPE_CHECKING:
    import optuna

# Of the scrambling; one for all rules. It is one of the first with which twelve points fall evenly on two,
# three, four and six combinations, and on each third of the learning rates within each of four.
SAMPLER_SEED = 23
RATE, CHOICE = "learning_rate", "choices"
ROUND = 4  # trials at once, once a study goes by results; the first round is half of all
WATCHED = 0.25  # of the epochs go by before a trial may be pruned

Key = tuple[float | None, str]


@dataclass(frozen=True)
class Search:
    """How a study goes about it. One for all rules of a call."""

    sampler: str = "halton"  # or "tpe"
    pruner: str = "none"  # or "median"

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown_name("sampler", self.sampler, SAMPLERS)
        if self.pruner not in PRUNERS:
            raise unknown_name("pruner", self.pruner, PRUNERS)

    @property
    def name(self) -> str:
        """Empty for the default; else what recipes and records say beside it: "tpe", "tpe+median"."""
        words = [word for word in (self.sampler, self.pruner) if word != "none"]
        return "" if self == Search() else "+".join(words)


SAMPLERS, PRUNERS = ("halton", "tpe"), ("none", "median")
HALTON = Search()


def key(point: Point) -> Key:
    """What tells points of a study apart."""
    return point.learning_rate, point.words


def laid(space: Space, trials: int, search: Search, done: Mapping[Key, Tried]) -> list[Point]:
    """The points of a study as far as they are known: of all rounds up to the first that is not done."""
    points = halton(space, trials)
    if search == HALTON or len(points) < trials:
        return points
    known: list[Point] = []
    for size in sizes(trials):
        if any(key(point) not in done for point in known):
            break
        if search.sampler == "halton" or not known:
            known = points[: len(known) + size]
        else:
            known = known + list(_tpe(space, known, done, size))
    return known


def sizes(trials: int) -> Iterator[int]:
    """Of the rounds: half of the trials, then four at a time."""
    left = trials
    size = -(-trials // 2)
    while left:
        yield min(size, left)
        left -= min(size, left)
        size = ROUND


def round_of(points: list[Point], trials: int) -> int:
    """Where the last round of what is laid begins."""
    starts = [0]
    for size in sizes(trials):
        starts.append(starts[-1] + size)
    return max(start for start in starts if start < len(points))


def floors(epochs: int, earlier: list[Tried]) -> tuple[float, ...]:
    """Median pruning: for each epoch but the last, the median of the scores that whole trials of the rounds
    before had there. Empty where there are none."""
    whole = [tried.course for tried in earlier if tried.status == "ok" and len(tried.course) == epochs]
    if not whole:
        return ()
    worst = -math.inf if earlier[0].higher_is_better else math.inf
    return tuple(
        worst if epoch <= WATCHED * epochs else statistics.median(course[epoch - 1] for course in whole)
        for epoch in range(1, epochs)
    )


def halton(space: Space, trials: int) -> list[Point]:
    """The settings to try, the same at every call; more trials go on where fewer end.

    A rule without a learning rate and with no more combinations than trials gets each of them once."""
    combinations = _combinations(space)
    if space.rates is None and len(combinations) <= trials:
        return [Point(None, own) for own in combinations.values()]
    optuna = optuna_library()
    declared = distributions(space)

    class Declared(optuna.samplers.QMCSampler):  # type: ignore[misc, name-defined]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return declared

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = Declared(qmc_type="halton", scramble=True, seed=SAMPLER_SEED)
    study = optuna.create_study(sampler=sampler)
    asked = [study.ask(declared).params for _ in range(trials)]
    return [_point(own, space) for own in asked]


def _tpe(space: Space, known: list[Point], done: Mapping[Key, Tried], count: int) -> Iterator[Point]:
    """The next points by Optuna's tree-structured Parzen estimator, none of which was tried before.

    What did not end well is told as the worst score of those that did: else it would be tried again."""
    results = [done[key(point)] for point in known]
    scores = [tried.validation_score for tried in results if tried.validation_score is not None]
    used = {key(point) for point in known}
    optuna, declared = optuna_library(), distributions(space)
    higher = results[0].higher_is_better
    sampler = optuna.samplers.TPESampler(seed=SAMPLER_SEED + len(known), n_startup_trials=1)
    study = optuna.create_study(sampler=sampler, direction="maximize" if higher else "minimize")
    for point, tried in zip(known, results, strict=True) if scores else ():
        values = {RATE: point.learning_rate, CHOICE: point.words}
        worst = (min if higher else max)(scores)
        study.add_trial(
            optuna.trial.create_trial(
                value=worst if tried.validation_score is None else tried.validation_score,
                params={name: values[name] for name in declared},
                distributions=declared,
            )
        )
    for _ in range(count):
        asked = (_point(study.ask(declared).params, space) for _ in range(100 if scores else 0))
        more = (point for extent in (1, 4, 16) for point in halton(space, extent * (len(known) + count)))
        found = next((own for source in (asked, more) for own in source if key(own) not in used), None)
        if found is None:
            raise CreditbenchError(f"The search space has no more than {len(used)} settings; ask for less.")
        used.add(key(found))
        yield found


def library(search: Search = HALTON) -> str:
    """What laid the points, for provenance."""
    version = f"(Optuna {optuna_library().__version__})"
    first = f"scrambled Halton sequence, seed {SAMPLER_SEED}"
    if search.sampler == "halton":
        return f"{first} {version}"
    return f"first half: {first}; then TPE in rounds of {ROUND} {version}"


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """A space in Optuna's words."""
    kinds = optuna_library().distributions
    words = list(_combinations(space))
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    if space.rates is not None:
        found[RATE] = kinds.FloatDistribution(*space.rates, log=True)
    if len(words) > 1:
        found[CHOICE] = kinds.CategoricalDistribution(words)
    return found


def optuna_library() -> Any:
    """Raises CreditbenchError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise CreditbenchError(
            "Tuning needs Optuna, which is not installed: pip install 'creditbench[tune]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study on stderr
    return optuna


def _combinations(space: Space) -> dict[str, dict[str, Any]]:
    return {Point(None, own).words: own for own in space.combinations}


def _point(params: Mapping[str, Any], space: Space) -> Point:
    combinations = _combinations(space)
    first = next(iter(combinations))  # where there is nothing to choose, it is no coordinate
    return Point(_rate(params.get(RATE), space), combinations[params.get(CHOICE, first)])


def _rate(rate: float | None, space: Space) -> float | None:
    """As it is written down, and still inside the range."""
    if rate is None or space.rates is None:
        return None
    low, high = space.rates
    return min(max(rounded(rate), low), high)
