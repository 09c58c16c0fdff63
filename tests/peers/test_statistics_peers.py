"""Second opinions on statistics: autorank, scikit-posthocs and statsmodels, where they ask the same question.

Run by `tox -e peers`. Where they differ on purpose, a test says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from creditbench.reports.statistics import comparisons, critical_difference, predictions
from creditbench.reports.statistics.intervals import Array

autorank = pytest.importorskip("autorank")
posthocs = pytest.importorskip("scikit_posthocs")
multitest = pytest.importorskip("statsmodels.stats.multitest")
contingency = pytest.importorskip("statsmodels.stats.contingency_tables")

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

METHODS = list("abcde")


@pytest.fixture
def scores() -> Array:
    """[problems, methods], no ties"""
    return np.random.default_rng(0).normal(np.linspace(0, 1.5, 5), 0.7, size=(14, 5))


def test_mean_ranks_and_nemenyis_distance_are_autoranks(scores: Array) -> None:
    theirs = autorank.autorank(
        pd.DataFrame(scores, columns=METHODS), verbose=False, force_mode="nonparametric"
    )
    ours = critical_difference.of_scores(scores, METHODS)
    assert theirs.posthoc == "nemenyi"
    assert ours.nemenyi == pytest.approx(theirs.cd, rel=1e-3)
    for name, rank in theirs.rankdf["meanrank"].items():
        assert ours.mean_ranks[name] == pytest.approx(rank)
    # autorank's Friedman test has no correction for small samples; scipy's statistic is the same.
    assert theirs.pvalue == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert (ours.friedman_p or 0) < theirs.pvalue


def test_pairs_are_those_of_scikit_posthocs(scores: Array) -> None:
    frame = pd.DataFrame(scores, columns=METHODS).melt(var_name="method", value_name="score")
    theirs = posthocs.posthoc_wilcoxon(frame, val_col="score", group_col="method", p_adjust="holm")
    ours = critical_difference.of_scores(scores, METHODS).pairs
    for (a, b), p in ours.items():
        assert p == pytest.approx(theirs.loc[a, b])


def test_nemenyis_distance_decides_as_scikit_posthocs_p(scores: Array) -> None:
    theirs = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    found = critical_difference.of_scores(scores, METHODS)
    ranks = np.array([found.mean_ranks[name] for name in METHODS])
    apart = np.abs(ranks[:, None] - ranks) > (found.nemenyi or 0)
    assert (apart == (theirs < 0.05)).all()


def test_two_methods_may_be_told_apart_by_nemenyi_because_of_a_third_and_not_by_ours() -> None:
    """Why it decides nothing here: Benavoli, Corani & Mangili (2016)."""
    random = np.random.default_rng(3)
    pair = random.normal([0.0, 0.35], 1.0, size=(30, 2))
    between = np.linspace(pair.min(1), pair.max(1), 12).T[:, 1:-1]  # ten methods in between, on every problem
    many = np.concatenate([pair, between], axis=1)
    names = [f"m{n:02}" for n in range(many.shape[1])]
    alone = posthocs.posthoc_nemenyi_friedman(np.concatenate([pair, pair.mean(1, keepdims=True)], axis=1))
    among = posthocs.posthoc_nemenyi_friedman(many)
    assert not np.isclose(alone.iloc[0, 1], among.iloc[0, 1])
    p = [critical_difference.wilcoxon_p(own[:, 0] - own[:, 1]) for own in (pair, many)]
    assert p[0] == p[1]
    assert critical_difference.of_scores(many, names).nemenyi is not None


def test_holms_correction_is_statsmodels() -> None:
    p = np.random.default_rng(1).random(20) ** 3
    assert comparisons.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 7), (12, 30), (5, 5)])
def test_mcnemar_is_statsmodels(only_a: int, only_b: int) -> None:
    theirs = contingency.mcnemar([[50, only_a], [only_b, 9]], exact=True).pvalue
    assert predictions.mcnemar_p(only_a, only_b) == pytest.approx(theirs)


def test_asv_reads_what_is_written_for_it(root: Path, tmp_path: Path) -> None:
    results = pytest.importorskip("asv.results")
    from creditbench.reports.gate.dashboards import DASHBOARDS
    from creditbench.reports.gate.sides import read_side

    text, _ = DASHBOARDS["asv"](read_side(root / "results" / "baseline"))
    path = tmp_path / "machine" / "0123abcd-creditbench.json"
    path.parent.mkdir()
    path.write_text(text)
    found = results.Results.load(str(path))
    told = json.loads(text)
    assert found.commit_hash == told["commit_hash"]
    for name, row in told["results"].items():
        assert found.get_result_value(name, []) == row[0]
