"""Learning curves with bands: validation score by epoch, over the seeds of a cell that ended ok.

A seed that did not end ok has no part in the mean: its own curve is drawn beside it, as far as it came.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from creditbench.reports.board import BoardRow
from creditbench.reports.site.evidence import Seed
from creditbench.suite.scores import SHARES

PICO = 1e-12
DIGITS = 6  # significant ones, of what is only drawn


def curve(row: BoardRow, seeds: Sequence[Seed]) -> dict[str, Any] | None:
    """What a chart needs of a cell; None where no seed has a curve, or where scores are errors and no shares.

    epochs, mean, low, high: the band is mean ± standard deviation (n - 1), absent for a single seed.
    seconds [s] and joules [J] by epoch where they are known: mean seconds of training; a step's modelled
    arithmetic (`modelled`) or measured energy (`measured`) times steps. lost: what the other seeds did."""
    ok = [seed for seed in seeds if seed.status == "ok" and seed.curve]
    lost = [
        {"seed": seed.spec.seed, "status": seed.status, "points": _points(seed)}
        for seed in seeds
        if seed.status != "ok" and _points(seed)
    ]
    if row.metric not in SHARES or (not ok and not lost):
        return None
    found: dict[str, Any] = {"seeds": len(ok), "lost": lost}
    by_epoch = [{point.epoch: point for point in seed.curve} for seed in ok]
    common = sorted(set.intersection(*(set(points) for points in by_epoch))) if ok else []
    kept = [
        epoch for epoch in common if all(points[epoch].validation_score is not None for points in by_epoch)
    ]
    scores = [[points[epoch].validation_score or 0.0 for points in by_epoch] for epoch in kept]
    means = [statistics.fmean(values) for values in scores]
    found |= {"epochs": kept, "mean": _short(means)}
    if len(ok) > 1:
        spreads = [statistics.stdev(values) for values in scores]
        found["low"] = _short([mean - spread for mean, spread in zip(means, spreads, strict=True)])
        found["high"] = _short([mean + spread for mean, spread in zip(means, spreads, strict=True)])
    if ok and all(seed.alone for seed in ok):
        found["seconds"] = _short(
            [statistics.fmean(points[epoch].train_seconds for points in by_epoch) for epoch in kept]
        )
    steps = {seed.steps for seed in ok}
    if len(steps) == 1 and None not in steps:
        per_epoch = (next(iter(steps)) or 0) / ok[0].spec.epochs
        sample, step = row.costs["train_energy_pj"], row.costs["step_joules"]
        if sample is not None:
            own = sample * PICO * row.batch_size * per_epoch
            found["modelled"] = _short([own * epoch for epoch in kept])
        if step is not None:
            found["measured"] = _short([step * per_epoch * epoch for epoch in kept])
    return found


def _points(seed: Seed) -> list[tuple[int, float]]:
    return [
        (point.epoch, float(f"{point.validation_score:.{DIGITS}g}"))
        for point in seed.curve
        if point.validation_score is not None
    ]


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
