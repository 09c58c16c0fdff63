"""Searches that go by results: the same whatever runs at once, as many trials for all, and told apart."""

import math
import random
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from creditbench.suite import recipes
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Limits
from creditbench.suite.executors.processes import Processes
from creditbench.suite.executors.supervise import cores
from creditbench.suite.plan import Part, Suite
from creditbench.suite.tuning.search import ROUND, Key, Search, floors, halton, key, laid, sizes
from creditbench.suite.tuning.space import Point, Space
from creditbench.suite.tuning.tried import Tried
from creditbench.suite.tuning.tune import tune
from tools import CPU

SPACE = Space((2e-4, 2e-2), {"activation": ("relu", "tanh")})
TPE, MEDIAN = Search("tpe"), Search(pruner="median")


def tried(score: float | None, course: tuple[float, ...] = ()) -> Tried:
    return Tried("ok" if score is not None else "diverged", None, score, 1.0, True, 1.0, 1.0, True, 0, course)


def best_at_a_thousandth(point: Point) -> Tried:
    """Settings below 0.0005 diverge; the best is at 0.001 with tanh."""
    rate = point.learning_rate or 0.0
    if rate < 5e-4:
        return tried(None)
    bonus = 0.1 if point.choices["activation"] == "tanh" else 0.0
    return tried(0.8 + bonus - 0.3 * abs(math.log10(rate / 1e-3)))


def study(search: Search, trials: int, seed: int, space: Space = SPACE) -> list[Point]:
    """As a driver goes about it: whatever is left, in whichever order results come."""
    done: dict[Key, Tried] = {}
    order = random.Random(seed)
    while left := [point for point in laid(space, trials, search, done) if key(point) not in done]:
        order.shuffle(left)
        for point in left[: order.randint(1, len(left))]:  # and then it is killed
            done[key(point)] = best_at_a_thousandth(point)
    points = laid(space, trials, search, done)
    assert {key(point) for point in points} == set(done)
    return points


def test_a_search_by_results_depends_neither_on_the_order_in_which_they_come_nor_on_being_killed() -> None:
    first = study(TPE, 12, seed=0)
    assert all(study(TPE, 12, seed) == first for seed in range(1, 6))


@pytest.mark.parametrize("trials", [1, 2, 5, 12, 25])
def test_every_search_tries_as_many_different_settings_as_it_was_told(trials: int) -> None:
    for search in (Search(), TPE, MEDIAN, Search("tpe", "median")):
        assert len({key(point) for point in study(search, trials, seed=0)}) == trials


def test_the_first_half_is_what_everyone_tries_and_the_second_looks_where_the_first_was_good() -> None:
    points, plain = study(TPE, 24, seed=0), halton(SPACE, 24)
    assert points[:12] == plain[:12]
    assert list(sizes(24)) == [12, ROUND, ROUND, ROUND]

    def missed(own: list[Point]) -> float:
        """Mean distance from the best learning rate, in decades."""
        return sum(abs(math.log10((p.learning_rate or 0) / 1e-3)) for p in own) / len(own)

    assert missed(points[12:]) < 0.7 * missed(plain[12:])


def test_what_diverged_is_not_tried_again_and_again() -> None:
    points = study(TPE, 24, seed=0)
    assert sum((point.learning_rate or 0) < 5e-4 for point in points[12:]) <= 2


def test_where_nothing_went_well_the_sequence_of_everyone_goes_on() -> None:
    done: dict[Key, Tried] = {}
    for _ in sizes(12):
        done |= {key(point): tried(None) for point in laid(SPACE, 12, TPE, done)}
    assert laid(SPACE, 12, TPE, done) == halton(SPACE, 12)


def test_pruning_changes_no_setting_that_is_tried() -> None:
    assert study(MEDIAN, 12, seed=3) == halton(SPACE, 12)


def test_a_floor_is_the_median_of_whole_trials_and_first_epochs_and_the_last_have_none() -> None:
    courses = [(0.1, 0.2, 0.3, 0.4), (0.2, 0.4, 0.6, 0.8), (0.5, 0.5, 0.5, 0.5)]
    earlier = [tried(course[-1], course) for course in courses]
    stopped = Tried("pruned", "", None, None, True, 1.0, 1.0, True, 0, (0.9, 0.9))
    assert floors(4, [*earlier, stopped, tried(None)]) == (-math.inf, 0.4, 0.5)
    assert floors(4, [stopped]) == ()


def suite(**changes: Any) -> Suite:
    settings: dict[str, Any] = {"tasks": ("digits",), "rules": ("bp",), "epochs": 6, "tuning_samples": 256}
    return Suite("own", "", (Part(**{**settings, **changes}),))


def told(folder: Path) -> Mapping[str, Any]:
    (found,) = tomllib.loads((folder / "bp.toml").read_text())["recipe"]
    provenance: dict[str, Any] = found["provenance"]
    return {k: v for k, v in provenance.items() if k not in ("seconds", "seconds_are")}


@pytest.mark.parametrize("search", [TPE, MEDIAN, Search("tpe", "median")], ids=lambda search: search.name)
def test_a_search_by_results_gives_the_same_recipe_inline_and_in_processes(
    search: Search, tmp_path: Path
) -> None:
    pool = Processes(CPU, min(2, cores()), Limits())
    list(tune(suite(), 6, tmp_path / "here", CPU, search=search))
    list(tune(suite(), 6, tmp_path / "there", CPU, pool, search=search))
    here = told(tmp_path / "here")
    assert here == told(tmp_path / "there")
    assert (here["trials"], len(here["tried"]), here["search"]) == (6, 6, search.name)
    if search.pruner == "median":
        pruned = [trial for trial in here["tried"] if trial["validation_score"] == "pruned"]
        assert here["pruned"] == len(pruned) > 0  # learning rates a hundredfold apart: half of them are bad
        assert here["epochs_trained"] < 6 * 6


def test_a_recipe_of_another_search_stands_in_a_track_of_its_own_and_is_not_taken_for_the_usual(
    tmp_path: Path,
) -> None:
    asked = suite(epochs=2)
    list(tune(asked, 4, tmp_path, CPU, search=MEDIAN))
    found = recipes.recipe("bp", "digits", "mlp", (tmp_path,))
    assert found.origin == "digits/mlp, halton+median"
    assert recipes.track(found.origin) == "tuned-pruned"
    assert recipes.track("digits/mlp, whatever") is None
    (line,) = tune(asked, 4, tmp_path, CPU)
    assert "tuned already" not in line
    assert recipes.track(recipes.recipe("bp", "digits", "mlp", (tmp_path,)).origin) == "tuned"
    assert "search" not in told(tmp_path)
    (line,) = tune(asked, 4, tmp_path, CPU)
    assert "tuned already" in line


@pytest.mark.parametrize("words", [{"sampler": "grid"}, {"pruner": "hyperband"}])
def test_a_search_that_is_not_there_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(CreditbenchError, match="There is no"):
        Search(**words)
