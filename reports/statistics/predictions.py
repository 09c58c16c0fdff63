"""Two methods on the same test samples: who is right where, and how alike their errors are.

These tests are about samples, given the two trained networks: a difference between two runs, not between two
rules, which seeds are the sample of. So they are asked of each seed, and the answers stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from creditbench.suite.errors import CreditbenchError

Classes = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Overlap:
    """Of two sets of test predictions."""

    samples: int
    both_right: int
    only_a: int  # right
    only_b: int
    both_wrong: int
    p: float  # McNemar's, exact: that of which only one is right, it is as often a as b
    least_p: float  # the smallest that so many disagreements can reach
    expected_both_wrong: float  # if errors fell independently
    shared: float | None  # errors of both over errors of either (Jaccard); None where neither errs
    kappa: (
        float | None
    )  # agreement of errors beyond chance (Cohen's kappa); None where chance alone agrees fully
    same_wrong: float | None  # of the samples that both get wrong, the share given the same wrong class


def overlap(a: npt.ArrayLike, b: npt.ArrayLike, targets: npt.ArrayLike) -> Overlap:
    """Class numbers each, [samples], or [samples, steps] of which those count that have a target (not -1).
    Raises ValueError where their shapes differ or nothing has a target."""
    first, second, truth = (np.asarray(part) for part in (a, b, targets))
    if not (first.shape == second.shape == truth.shape) or not (truth >= 0).any():
        raise ValueError(
            f"predictions of {first.shape} and {second.shape} samples, targets of {truth.shape}: no match"
        )
    first, second, truth = (part[truth >= 0] for part in (first, second, truth))
    right_a, right_b = first == truth, second == truth
    samples = len(truth)
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    wrong_a, wrong_b = 1 - right_a.mean(), 1 - right_b.mean()
    by_chance = float(right_a.mean() * right_b.mean() + wrong_a * wrong_b)
    errors = samples - both
    return Overlap(
        samples=samples,
        both_right=both,
        only_a=only_a,
        only_b=only_b,
        both_wrong=neither,
        p=mcnemar_p(only_a, only_b),
        least_p=min(1.0, 2.0 ** (1 - (only_a + only_b))),
        expected_both_wrong=float(samples * wrong_a * wrong_b),
        shared=neither / errors if errors else None,
        kappa=None if by_chance >= 1 else ((both + neither) / samples - by_chance) / (1 - by_chance),
        same_wrong=float((first == second)[~right_a & ~right_b].mean()) if neither else None,
    )


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided and exact: the binomial test of the samples on which exactly one is right (McNemar 1947)."""
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0


def overlaps(a: Sequence[npt.ArrayLike], b: Sequence[npt.ArrayLike], targets: npt.ArrayLike) -> list[Overlap]:
    """Seed by seed. Handing in one method's seeds twice, shifted by one, says how alike two runs of one rule
    err: what an overlap between rules is to be held against."""
    return [overlap(one, other, targets) for one, other in zip(a, b, strict=True)]


def stored(record: Path, epoch: Literal["last", "best"] = "last") -> Classes | None:
    """The test predictions beside a run's record, [samples], or [samples, steps] of series; None where there
    are none. Raises CreditbenchError for a file that holds something else."""
    path = record.with_suffix(".npz")
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found: Classes = archive[epoch]
    except Exception as error:  # numpy raises half a dozen kinds for a broken archive
        raise CreditbenchError(
            f"{path} holds no test predictions: {error}. `creditbench doctor` says what to do."
        ) from None
    if found.ndim not in (1, 2) or not np.issubdtype(found.dtype, np.integer):
        raise CreditbenchError(f"{path} holds no class numbers; `creditbench doctor` says what to do.")
    return found
