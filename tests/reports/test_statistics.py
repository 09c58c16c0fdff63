"""Statistics as theorems: coverage, brute force, the level, an order that nobody's company moves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import run
from scipy import stats

import creditbench
from creditbench.reports.statistics import (
    comparisons,
    critical_difference,
    intervals,
    pareto,
    predictions,
    profiles,
)
from creditbench.reports.statistics.grid import Grid, Problem, grid
from creditbench.reports.statistics.intervals import bootstrap, iqm, median, most_coverage, student
from creditbench.reports.statistics.standings import BEST, WORST, ranks, standings
from creditbench.suite.record import Status
from creditbench.suite.store import Store

scores = st.lists(st.integers(0, 50).map(lambda n: n / 50), min_size=3, max_size=5)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def made(tmp_path: Path, cells: Mapping[tuple[str, str], list[float | Status]], **changes: Any) -> Grid:
    """A grid of (rule, task) -> scores by seed, or how the seed ended."""
    store = Store(tmp_path)
    for (rule, task), own in cells.items():
        for seed, score in enumerate(own):
            status: Status = "ok" if isinstance(score, float) else score
            value = score if isinstance(score, float) else None
            store.put(run(value, status, rule, seed, task=task, reason="because", **changes))
    return grid(creditbench.load_results(tmp_path))


ANCHORED: dict[tuple[str, str], list[float | Status]] = {
    ("last-layer", "one"): [0.4, 0.5, 0.6],
    ("bp", "one"): [0.9, 0.95, 1.0],
    ("last-layer", "two"): [0.1, 0.2, 0.3],
    ("bp", "two"): [0.58, 0.6, 0.62],
}


# ----------------------------------------------------------------------------------------- intervals


def test_the_interquartile_mean_counts_the_ends_of_the_middle_half_by_their_share() -> None:
    assert iqm([1, 2, 9]) == pytest.approx((0.25 * 1 + 2 + 0.25 * 9) / 1.5)  # 3, and not 4


@given(st.lists(st.floats(-100, 100), min_size=4, max_size=24).filter(lambda own: len(own) % 4 == 0))
def test_the_interquartile_mean_is_scipys_trimmed_mean_where_no_value_is_cut(own: list[float]) -> None:
    assert iqm(own) == pytest.approx(stats.trim_mean(own, 0.25), abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_the_median_is_numpys_and_the_interquartile_mean_lies_between_the_quartiles(own: list[float]) -> None:
    assert median(own) == pytest.approx(np.median(own), abs=1e-9)
    assert min(own) - 1e-9 <= iqm(own) <= max(own) + 1e-9
    assert iqm(own[::-1]) == pytest.approx(float(iqm(own)), abs=1e-9)


def test_a_problem_with_more_seeds_weighs_no_more_than_another() -> None:
    found = bootstrap([[0.0, 0.0], [1.0] * 10], intervals.mean, random())
    assert found.estimate == pytest.approx(0.5)


def test_the_same_generator_gives_the_same_interval_and_names_make_a_generator() -> None:
    own = [0.1, 0.5, 0.7, 0.8]
    assert intervals.summary(own, random(3)) == intervals.summary(own, random(3))
    assert intervals.generator("a", "b").random() == intervals.generator("a", "b").random()
    assert intervals.generator("a", "b").random() != intervals.generator("ab").random()


def test_one_seed_has_no_interval_and_two_are_few() -> None:
    one, two = (intervals.summary([0.5] * count, random()) for count in (1, 2))
    assert (one.mean.low, one.mean.high, one.student.low, one.std) == (None, None, None, None)
    assert two.few
    assert not intervals.summary([0.5] * 3, random()).few


def coverage(interval: Callable[[np.random.Generator], tuple[float, float, float]], times: int) -> float:
    """How often an interval on simulated scores holds what they were simulated with."""
    source = random(1)
    found = [interval(source) for _ in range(times)]
    return float(np.mean([low <= truth <= high for low, truth, high in found]))


def of_strata(*sizes: int, statistic: Any = intervals.mean) -> Callable[[Any], tuple[float, float, float]]:
    def interval(source: np.random.Generator) -> tuple[float, float, float]:
        spread = np.linspace(0.5, 2.0, len(sizes))
        strata = [s * source.standard_normal(size) for s, size in zip(spread, sizes, strict=True)]
        own = bootstrap(strata, statistic, source, draws=500)
        assert own.low is not None
        assert own.high is not None
        return own.low, 0.0, own.high

    return interval


@pytest.mark.parametrize("statistic", [intervals.mean, iqm, median])
def test_over_six_problems_of_three_seeds_the_bootstrap_holds_its_level(statistic: Any) -> None:
    found = coverage(of_strata(*[3] * 6, statistic=statistic), 600)
    assert 0.92 <= found <= 0.995  # 0.95 and three standard errors, or rather too wide


def test_over_twenty_seeds_the_bootstrap_holds_its_level() -> None:
    assert 0.92 <= coverage(of_strata(20), 600) <= 0.98


@pytest.mark.parametrize("seeds", [3, 5])
def test_within_the_range_of_few_seeds_no_interval_holds_more_than_it_says(seeds: int) -> None:
    found = coverage(of_strata(seeds), 1500)
    assert found == pytest.approx(min(most_coverage(seeds), 0.95), abs=0.04)
    assert bootstrap([[0.0] * seeds], intervals.mean, random()).most_coverage == most_coverage(seeds)


def test_students_interval_of_three_normal_scores_holds_its_level() -> None:
    def interval(source: np.random.Generator) -> tuple[float, float, float]:
        own = student(source.standard_normal(3))
        return own.low or 0.0, 0.0, own.high or 0.0

    assert coverage(interval, 4000) == pytest.approx(0.95, abs=0.012)


def test_the_bootstrap_has_the_variance_of_a_mean_without_bias() -> None:
    own = [0.0, 1.0, 5.0]
    (drawn,) = intervals.resample([np.array(own)], random(), 200_000)
    assert drawn.mean(1).var() == pytest.approx(np.var(own, ddof=1) / 3, rel=0.02)


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one finite score"):
        bootstrap([[0.1, math.nan]], intervals.mean, random())


# ----------------------------------------------------------------------------------------- standings


def test_bp_is_one_and_last_layer_is_nought_whatever_else_is_there(tmp_path: Path) -> None:
    found = {own.method: own for own in standings(made(tmp_path, ANCHORED | {("fa", "one"): [0.7]}))}
    assert (found["bp"].low, found["bp"].high) == pytest.approx((1.0, 1.0))
    assert found["last-layer"].low == pytest.approx(0.0, abs=1e-12)
    assert found["bp"].place == 1


@settings(max_examples=8, deadline=None)
@given(own=st.lists(scores, min_size=8, max_size=8), data=st.data())
def test_no_figure_and_no_order_depends_on_who_else_is_on_the_board(
    own: list[list[float]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ["dfa", "fa", "sigprop", "pc"]
    places = list(itertools.product(names, ("one", "two")))
    cells: dict[Any, list[float | Status]] = {
        place: list(values) for place, values in zip(places, own, strict=True)
    }
    whole = made(tmp_path_factory.mktemp("grid"), ANCHORED | cells)
    kept = data.draw(st.lists(st.sampled_from(whole.methods), min_size=2, unique=True))
    alone = standings(whole.only(kept), draws=50)
    among = [standing for standing in standings(whole, draws=50) if standing.method in kept]
    assert [one.method for one in alone] == [one.method for one in among]
    for one, other in zip(alone, among, strict=True):
        assert (one.low, one.high, one.mean, one.iqm) == (other.low, other.high, other.mean, other.iqm)


def test_anchors_come_from_all_records_even_if_the_references_are_not_shown(tmp_path: Path) -> None:
    whole = made(tmp_path, ANCHORED | {("fa", "one"): [0.725] * 3, ("fa", "two"): [0.4] * 3})
    (alone,) = standings(whole.only(["fa"]))
    assert alone.low == pytest.approx(0.5)


def test_what_is_missing_makes_an_interval_and_what_failed_counts_as_worst(tmp_path: Path) -> None:
    cells: dict[Any, list[float | Status]] = {
        ("fa", "one"): [0.95] * 3, ("dfa", "one"): [0.95] * 3, ("dfa", "two"): ["diverged"] * 3,
    }  # fmt: skip
    found = {own.method: own for own in standings(made(tmp_path, ANCHORED | cells))}
    assert (found["fa"].low, found["fa"].high) == pytest.approx(((1 + WORST) / 2, (1 + BEST) / 2))
    assert found["fa"].mean is None
    assert found["fa"].incomplete == ("two/mlp: missing, not run",)
    assert found["dfa"].low == found["dfa"].high == pytest.approx((1 + WORST) / 2)
    assert found["dfa"].incomplete == ("two/mlp: ended, 3 of 3 seeds diverged",)


def test_a_diverged_seed_is_never_averaged_away(tmp_path: Path) -> None:
    cells: dict[Any, list[float | Status]] = {
        ("fa", "one"): [0.95, 0.95, "diverged"], ("dfa", "one"): [0.8] * 3,
        ("fa", "two"): [0.6] * 3, ("dfa", "two"): [0.55] * 3,
    }  # fmt: skip
    found = made(tmp_path, ANCHORED | cells)
    table = {own.method: own for own in standings(found)}
    assert table["fa"].low == pytest.approx(((1 + 1 + WORST) / 3 + 1) / 2)
    one = next(problem for problem in found.problems if problem.task == "one")
    assert ranks(found)["fa"].by_problem[one] == (4.0, 4.0)  # below dfa and last-layer, with all their seeds


def test_a_missing_cell_may_have_any_rank_and_is_shown_with_the_worst(tmp_path: Path) -> None:
    found = made(tmp_path, ANCHORED | {("fa", "one"): [0.7] * 3})
    two = next(problem for problem in found.problems if problem.task == "two")
    own = ranks(found)["fa"]
    assert own.by_problem[two] == (1.0, 3.0)
    assert (own.mean_best, own.mean_worst) == (1.5, 2.5)
    assert ranks(found)["bp"].by_problem[two] == (1.0, 2.0)  # who is missing could be better


def test_settings_of_another_track_leave_a_cell_untuned_and_a_skipped_one_is_unknown(tmp_path: Path) -> None:
    Store(tmp_path).put(run(0.9, rule="fa", task="two", recipe="default"))
    cells: dict[Any, list[float | Status]] = {("fa", "one"): [0.7], ("dfa", "one"): ["skipped"]}
    found = made(tmp_path, ANCHORED | cells)
    states = {(method, problem.task): entry.state for (method, problem), entry in found.entries.items()}
    assert states["fa", "two"] == "untuned"
    assert states["dfa", "one"] == "skipped"
    assert states["dfa", "two"] == "missing"


def test_a_problem_whose_references_make_no_scale_is_left_out_and_named(tmp_path: Path) -> None:
    cells: dict[Any, list[float | Status]] = {("bp", "two"): [0.1] * 3}
    found = made(tmp_path, ANCHORED | cells)
    assert found.notes == ("two/mlp: bp is no better than last-layer, so nothing to normalise by",)
    assert all(len(own.by_problem) == 1 for own in standings(found))
    assert standings(made(tmp_path / "none", {("fa", "one"): [0.5] * 3})) == []


def test_a_place_is_as_certain_as_seeds_and_problems_make_it(tmp_path: Path) -> None:
    close: dict[Any, list[float | Status]] = {
        (rule, task): [base - 0.05, base, base + 0.05]
        for task, base in (("one", 0.7), ("two", 0.4))
        for rule in ("dfa", "fa")
    }
    found = ranks(made(tmp_path, ANCHORED | close))
    assert (found["bp"].place_low, found["bp"].place_high) == (1, 1)
    assert (found["fa"].place_low, found["fa"].place_high) == (2, 3)


# ------------------------------------------------------------------------------------------ comparisons


def by_hand(a: list[float], b: list[float], paired: bool) -> float:
    """The definition, without a thought for speed."""
    found = abs(np.mean(a) - np.mean(b))
    count = extreme = 0
    both = a + b
    if paired:
        for swap in itertools.product((False, True), repeat=len(a)):
            first = [y if s else x for x, y, s in zip(a, b, swap, strict=True)]
            second = [x if s else y for x, y, s in zip(a, b, swap, strict=True)]
            count += 1
            extreme += abs(np.mean(first) - np.mean(second)) >= found - 1e-9
    else:
        for chosen in itertools.combinations(range(len(both)), len(a)):
            rest = [both[place] for place in range(len(both)) if place not in chosen]
            count += 1
            extreme += abs(np.mean([both[place] for place in chosen]) - np.mean(rest)) >= found - 1e-9
    return extreme / count


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.tuples(*[st.integers(0, 20)] * 2), min_size=n, max_size=n)
    )
)
@pytest.mark.parametrize("paired", [True, False])
def test_p_is_the_one_of_brute_force(paired: bool, own: list[tuple[int, int]]) -> None:
    a, b = [x / 20 for x, _ in own], [y / 20 for _, y in own]
    assert comparisons.compare(a, b, random(), paired=paired).p == pytest.approx(by_hand(a, b, paired))


@pytest.mark.parametrize(("paired", "kind"), [(True, "samples"), (False, "independent")])
def test_p_is_scipys(paired: bool, kind: Any) -> None:
    source = random(4)
    for _ in range(5):
        a, b = source.normal(size=6), source.normal(0.5, size=6)
        test = stats.permutation_test(
            (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type=kind, n_resamples=10**6
        )
        assert comparisons.compare(a, b, random(), paired=paired).p == pytest.approx(test.pvalue)


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_three_seeds_against_three_never_go_below_a_tenth(own: list[float]) -> None:
    found = comparisons.compare(own[:3], own[3:], random())
    assert found.p is not None
    assert found.p >= found.least_p == pytest.approx(0.1)
    assert found.detectable is None
    assert found.caution == "3 seeds against 3 cannot go below p = 0.1"
    assert not found.significant


@pytest.mark.parametrize(("seeds", "least"), [(1, 1.0), (2, 1 / 3), (4, 2 / 70), (5, 2 / 252), (6, 2 / 64)])
def test_the_least_p_is_that_of_scores_that_are_all_apart(seeds: int, least: float) -> None:
    a, b = np.arange(seeds) + 100.0, np.arange(seeds) * 1.5
    found = comparisons.compare(a, b, random())
    assert found.p == found.least_p == pytest.approx(least)


@pytest.mark.parametrize("problems", [1, 3])
@pytest.mark.parametrize("seeds", [4, 5, 7])
def test_a_rule_against_itself_is_significant_no_more_often_than_the_level(seeds: int, problems: int) -> None:
    source, found = random(5), []
    for _ in range(400):
        pairs = []
        for _ in range(problems):
            common = source.normal(size=seeds)  # what runs of one seed share
            a, b = (0.5 * common + source.standard_exponential(seeds) for _ in range(2))
            pairs.append((a, b))
        found.append(comparisons.compare_over(pairs, source))
    for level in (0.05, 0.2):
        share = np.mean([own.p <= level for own in found if own.p is not None])
        assert share <= level + 3 * math.sqrt(level * (1 - level) / len(found))


def test_drawn_arrangements_come_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random(6)
    a, b = source.normal(size=7), source.normal(0.9, size=7)
    for paired in (True, False):
        exact = comparisons.compare(a, b, random(), paired=paired).p
        with monkeypatch.context() as patch:
            patch.setattr(comparisons, "EXACT", 0)
            drawn = comparisons.compare(a, b, random(), paired=paired).p
        assert drawn == pytest.approx(exact, abs=0.02)


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    source, seeds = random(7), 8
    effect = comparisons.detectable_effect(seeds - 1)  # in standard errors of the mean difference
    draws = source.normal(effect / math.sqrt(seeds), 1, size=(4000, seeds))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_two_samples_of_three_would_need_three_standard_deviations() -> None:
    """What a two-sample t test of 3 against 3 needs, known from power tables: d = 3.07."""
    assert comparisons.detectable_effect(4) * math.sqrt(2 / 3) == pytest.approx(3.07, abs=0.01)


def test_holms_correction_by_hand() -> None:
    assert comparisons.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float]) -> None:
    adjusted = comparisons.holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    assert adjusted.min() == pytest.approx(min(1, len(p) * min(p)))


def test_ties_are_runs_of_neighbours_of_whom_no_two_are_told_apart() -> None:
    def verdict(p: float) -> comparisons.Comparison:
        return comparisons.Comparison("", "", 1, 5, False, 0.0, None, None, p, 0.01, None, 0.05, p)

    p = {
        ("a", "b"): 1.0,
        ("b", "c"): 1.0,
        ("a", "c"): 0.01,
        ("c", "d"): 0.01,
        ("b", "d"): 0.01,
        ("a", "d"): 1.0,
    }
    found = comparisons.tie_groups("abcd", {pair: verdict(own) for pair, own in p.items()})
    assert found == [("a", "b"), ("b", "c"), ("d",)]


def test_a_comparison_with_a_gap_has_no_p_and_says_which_gap(tmp_path: Path) -> None:
    found = made(tmp_path, ANCHORED | {("fa", "one"): [0.7] * 3})
    gap = comparisons.compare_methods(found, "fa")
    assert gap.p is None
    assert not gap.significant
    assert gap.caution == "fa on two/mlp: missing (not run)"
    names = {own.a: own for own in comparisons.against(found)}
    assert set(names) == {"fa", "last-layer"}
    assert names["last-layer"].holm_p == pytest.approx(2 * (names["last-layer"].p or 0))  # the gap counts


def test_the_pair_is_the_seed(tmp_path: Path) -> None:
    found = made(tmp_path, ANCHORED | {("fa", "one"): [0.8, 0.85, 0.9], ("fa", "two"): [0.5] * 3})
    one = next(problem for problem in found.problems if problem.task == "one")
    own = comparisons.compare_methods(found, "fa", problem=one)
    assert own.difference == pytest.approx(-0.1)
    assert own.low == pytest.approx(-0.1)
    assert own.high == pytest.approx(-0.1)


# ---------------------------------------------------------------------------------- critical differences


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_nemenyis_distance_has_the_constants_of_demsars_table(methods: int, q: float) -> None:
    found = critical_difference.nemenyi_distance(methods, 10) / math.sqrt(methods * (methods + 1) / 60)
    assert found == pytest.approx(q, abs=0.001)


def test_friedman_is_scipys_with_iman_and_davenports_correction() -> None:
    own = random(8).integers(0, 6, size=(9, 4)) / 6  # with ties
    chi = stats.friedmanchisquare(*own.T).statistic
    ratio = 8 * chi / (9 * 3 - chi)
    assert critical_difference.friedman_p(own) == pytest.approx(stats.f.sf(ratio, 3, 24))
    assert critical_difference.friedman_p(np.ones((4, 3))) == 1.0


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_is_exact_with_ties_and_zeros(own: list[int]) -> None:
    ranked = stats.rankdata(np.abs(own)) * (np.array(own) != 0)
    found = abs((ranked * np.sign(own)).sum())
    sums = [abs(ranked @ signs) for signs in itertools.product((-1, 1), repeat=len(own))]
    expected = np.mean([s >= found - 1e-9 for s in sums])
    assert critical_difference.wilcoxon_p(own) == pytest.approx(expected)


def test_wilcoxon_is_scipys_without_ties() -> None:
    own = random(9).normal(0.4, size=11)
    assert critical_difference.wilcoxon_p(own) == pytest.approx(stats.wilcoxon(own, method="exact").pvalue)


def test_six_problems_cannot_tell_five_methods_apart_and_it_says_so() -> None:
    own = np.arange(30.0).reshape(6, 5)
    found = critical_difference.of_scores(own, list("abcde"))
    assert list(found.pairs.values()) == pytest.approx([10 * 2 / 64] * 10)
    assert "6 problems cannot tell any pair of 5 methods apart" in found.caution
    assert found.groups == (tuple("edcba"),)


def test_a_method_with_a_gap_is_left_out_by_name_and_a_failed_one_has_the_worst_rank(tmp_path: Path) -> None:
    cells: dict[Any, list[float | Status]] = {
        ("fa", "one"): [0.7], ("dfa", "one"): ["diverged"], ("dfa", "two"): [0.9],
    }  # fmt: skip
    found = critical_difference.critical_difference(made(tmp_path, ANCHORED | cells))
    assert found.left_out == ("fa: nothing is known on two/mlp",)
    assert found.mean_ranks["dfa"] == (3 + 1) / 2


# ----------------------------------------------------------------- profiles, predictions, Pareto fronts


def test_a_profile_falls_and_says_what_share_of_runs_is_above(tmp_path: Path) -> None:
    found = made(tmp_path, ANCHORED | {("fa", "one"): [0.7, 0.9, "failed"]})
    own = profiles.profile(found, "fa", [-2, 0, 0.5, 1])
    # One problem is unknown: below everything, or above all but bp.
    assert own.share == pytest.approx([1, 1 / 3, 1 / 6, 0])
    assert own.share_high == pytest.approx([1, 5 / 6, 2 / 3, 0])
    assert own.low is None
    bp = profiles.profile(found, "bp", np.linspace(-1, 2, 31))
    assert bp.low is not None
    assert bp.high is not None
    assert (np.diff(bp.share) <= 0).all()
    assert (bp.low <= bp.share).all()
    assert (bp.share <= bp.high).all()


@given(scores, scores)
def test_the_probability_of_improvement_is_mann_and_whitneys_u(a: list[float], b: list[float]) -> None:
    first, second = np.array(a), np.array(b)
    found = profiles.improvement([(first, second)], random(), draws=10).estimate
    assert found == pytest.approx(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    assert found + profiles.improvement([(second, first)], random(), draws=10).estimate == pytest.approx(1)
    assert profiles.improvement([(first, first)], random(), draws=10).estimate == pytest.approx(0.5)


def test_mcnemar_by_hand() -> None:
    assert predictions.mcnemar_p(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert predictions.mcnemar_p(0, 0) == 1.0
    assert predictions.mcnemar_p(3, 3) == 1.0


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
def test_an_overlap_adds_up(own: list[tuple[int, int, int]]) -> None:
    a, b, targets = (np.array(part) for part in zip(*own, strict=True))
    found = predictions.overlap(a, b, targets)
    assert found.both_right + found.only_a + found.only_b + found.both_wrong == found.samples == len(own)
    assert found.both_right + found.only_a == (a == targets).sum()
    assert found.p >= found.least_p - 1e-12
    same = predictions.overlap(a, a, targets)
    assert same.p == 1.0
    assert same.shared in (None, 1.0)
    assert same.kappa is None or same.kappa == pytest.approx(1)


def test_independent_errors_have_no_kappa_and_the_expected_number_in_common() -> None:
    right = random(10).random((2, 50_000)) < np.array([[0.9], [0.7]])
    found = predictions.overlap(~right[0], ~right[1], np.zeros(50_000, bool))
    assert found.kappa == pytest.approx(0, abs=0.02)
    assert found.both_wrong == pytest.approx(found.expected_both_wrong, rel=0.05)


def test_predictions_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="no match"):
        predictions.overlap([0, 1], [0, 1], [0])


def test_stored_predictions_give_the_recorded_scores(root: Path) -> None:
    from creditbench.suite import registry
    from creditbench.suite.record import Run
    from creditbench.suite.store import read

    targets = registry.load("task", "digits").read().test.targets.numpy()
    seen = 0
    for path in Store(root / "results").paths("digits", "mlp"):
        record = read(path)
        if isinstance(record, Run):
            found = predictions.stored(path)
            assert found is not None
            assert (found == targets).mean() == pytest.approx(record.score)
            seen += 1
    assert seen >= 15


def test_what_is_no_archive_of_predictions_is_refused_and_none_is_none(tmp_path: Path) -> None:
    from creditbench.suite.errors import CreditbenchError

    assert predictions.stored(tmp_path / "seed.json") is None
    (tmp_path / "seed.npz").write_text("nothing")
    with pytest.raises(CreditbenchError, match="holds no test predictions"):
        predictions.stored(tmp_path / "seed.json")


def test_a_method_without_a_cost_is_left_out_of_the_front_and_never_the_cheapest() -> None:
    points = [
        pareto.Point("bp", 0.9, 10.0),
        pareto.Point("fa", 0.8, None),
        pareto.Point("dfa", 0.7, 5.0),
        pareto.Point("bad", 0.6, 6.0),
        pareto.Point("away", 0.99, 1.0, "measured on another machine"),
    ]
    found = pareto.front(points)
    assert found.on == ("dfa", "bp")
    assert found.dominated == {"bad": "dfa"}
    assert found.note == (
        "away is left out: measured on another machine; fa is left out: its cost was not measured"
    )


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 2), max_size=12))
def test_the_front_is_what_nobody_dominates(own: list[tuple[int, int]]) -> None:
    points = [pareto.Point(str(n), float(score), float(cost)) for n, (score, cost) in enumerate(own)]

    def dominates(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    found = pareto.front(points)
    expected = {str(n) for n, one in enumerate(own) if not any(dominates(other, one) for other in own)}
    assert set(found.on) == expected
    for name, other in found.dominated.items():
        assert dominates(own[int(other)], own[int(name)])


# -------------------------------------------------------------------------------- the reference records


def test_the_reference_records_have_a_board_from_bp_down_to_last_layer(root: Path) -> None:
    """Of the rules that were run on every problem; the others' places are intervals."""
    found = standings(grid(creditbench.load_results(root / "results")))
    whole = [own.method for own in found if not own.incomplete]
    assert len(whole) >= 5
    assert (whole[0], whole[-1]) == ("bp", "last-layer")
    assert found[0].method == "bp"
    assert all(own.by_problem.keys() == found[0].by_problem.keys() for own in found)
    assert all(isinstance(problem, Problem) for problem in found[0].by_problem)
