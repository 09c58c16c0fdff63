"""From the frame of trained seeds to the rows of a leaderboard: one per cell, none left out."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from creditbench.reports.rows import plain_rows
from creditbench.suite.frame import COST_COLUMNS
from creditbench.suite.record import STATUSES

if TYPE_CHECKING:
    import pandas as pd

# Tracks are never compared in one table: how settings were chosen, in the order they are shown.
TRACKS = {
    "tuned": "tuned",
    "tuned-pruned": "tuned with pruning",
    "tuned-tpe": "tuned by TPE",
    "tuned-tpe-pruned": "tuned by TPE with pruning",
    "published": "published settings",
    "by-hand": "settings given by hand",
    "default": "default settings",
    None: "settings of unknown origin",
}
FEW = 3  # seeds below which a score is marked
REFERENCE = "bp"
BUDGET = ("epochs", "batch_size", "schedule", "train_samples", "augmentation", "protocol")
TO_TARGET = (
    "target_score",
    "epochs_to_target",
    "steps_to_target",
    "seconds_to_target",
    "energy_to_target_pj",
)

Seed = dict[str, Any]  # a row of the frame
Cell = list[Seed]


@dataclass(frozen=True)
class BoardRow:
    """A rule on a task and network, over its seeds. What was not measured is None."""

    task: str
    task_version: int
    network: str
    rule: str
    variant: str  # what tells it from its neighbours in the table; "" if nothing has to
    settings: str  # what else was chosen for the rule: learning rate, hyperparameters
    batch_size: int
    budget: str  # what every cell of its table was given
    track: str | None  # how the settings were chosen: one of TRACKS; None where the records do not say
    tuning_trials: int | None  # what choosing them cost; None where the records do not say
    tuning_seconds: float | None  # [s] of all trials
    tuning_macs: float | None  # of all trials' training
    cell: str
    seeds: tuple[int, ...]  # asked for, whatever became of them
    scores: tuple[float, ...]  # on the test set, after the last epoch, per seed that was scored
    score: float | None  # their mean
    score_std: float | None  # their standard deviation (n - 1)
    best_score: float | None  # mean test score of the epoch that was best on validation
    validation_score: float | None  # mean, after the last epoch
    step_seconds: float | None  # [s]
    step_ratio: float | None  # to bp on the same task, network, batch size and machine
    peak_bytes: int | None  # [B]
    train_macs: float | None  # per sample
    inference_macs: float | None  # per sample
    macs_complete: bool  # False: some operators have no formula, so the counts are lower bounds
    parameters: int | None  # of the network
    learned_parameters: int | None  # of the rule
    costs: Mapping[str, Any]  # the frame's cost columns, and means of its columns to target
    status: str  # "ok", another status, or "2 of 3 ok, 1 diverged"
    reasons: tuple[str, ...]  # of the seeds that did not end ok
    devices: tuple[str, ...]  # that trained it
    cost_machine: str | None  # that its step was measured on
    cost_device: str | None
    versions: tuple[str, ...]  # of creditbench
    metric: str = "accuracy"
    higher_is_better: bool = True

    @property
    def few(self) -> bool:
        """Whether the score rests on fewer seeds than a spread can be trusted from."""
        return 0 < len(self.scores) < FEW


def board(frame: pd.DataFrame) -> list[BoardRow]:
    """A frame of `load_results` as rows: by task and network, within them from the best mean score down.

    Cells without a score come last. The order of the frame's rows does not matter."""
    tables: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for cell in _cells(plain_rows(frame)):
        first = cell[0]
        tables[first["task"], first["task_version"], first["network"], _track(cell)].append(cell)
    rows = [row for cells in tables.values() for row in _table(cells)]
    return sorted(rows, key=_order)


def tables(rows: Iterable[BoardRow]) -> list[list[BoardRow]]:
    """Rows that may be compared: those of one task (and version of it), network and track."""

    def together(row: BoardRow) -> tuple[Any, ...]:
        return (row.task, row.task_version, row.network, row.track)

    return [list(part) for _, part in groupby(rows, together)]


def _order(row: BoardRow) -> tuple[Any, ...]:
    sign = -1 if row.higher_is_better else 1
    place = (row.score is None, sign * (row.score or 0.0))
    track = list(TRACKS).index(row.track)
    return (row.task, row.task_version, row.network, track, *place, row.rule, row.variant, row.cell)


def _cells(seeds: list[Seed]) -> list[Cell]:
    """Seeds by cell. A run that lies in two folders at once counts once: the one finished last."""
    last: dict[str, Seed] = {}
    for seed in sorted(seeds, key=lambda s: (s["finished"] or "", s["machine"] or "", s["status"])):
        last[seed["key"]] = seed
    cells: dict[str, Cell] = defaultdict(list)
    for seed in sorted(last.values(), key=lambda s: (s["cell"], s["seed"])):
        cells[seed["cell"]].append(seed)
    return list(cells.values())


def _table(cells: Sequence[Cell]) -> list[BoardRow]:
    budgets = [_budget(cell[0]) for cell in cells]
    apart = {name for name in BUDGET if len({budget[name] for budget in budgets}) > 1}
    shared = [words for name, words in budgets[0].items() if name not in apart]
    rivals: dict[str, list[dict[str, str]]] = defaultdict(list)
    for cell in cells:
        rivals[cell[0]["rule"]].append(_settings(cell[0]))
    rows = []
    for cell, budget in zip(cells, budgets, strict=True):
        own = [budget[name] or f"no {name}" for name in BUDGET if name in apart]
        settings = _settings(cell[0])
        telling = _telling(settings, rivals[cell[0]["rule"]])
        variant = own + [_setting(name, settings.get(name, "default")) for name in telling]
        rest = [_setting(name, value) for name, value in settings.items() if name not in telling]
        rows.append(_row(cell, ", ".join(variant), ", ".join(rest), ", ".join(filter(None, shared))))
    return rows


def _budget(seed: Seed) -> dict[str, str]:
    """What was spent on a seed, in words; "" for what goes without saying."""
    samples, protocol = seed["train_samples"], seed["protocol"]
    return {
        "epochs": f"{seed['epochs']} epoch{'s' * (seed['epochs'] != 1)}",
        "batch_size": f"batch {seed['batch_size']}",
        "schedule": f"{seed['schedule']} schedule",
        "train_samples": "all training samples" if samples is None else f"{samples:,} samples",
        "augmentation": seed["augmentation"] or "",
        "protocol": f"protocol {protocol}",
    }


def _settings(seed: Seed) -> dict[str, str]:
    """What was chosen for the rule: name -> value, as words."""
    rate = seed["learning_rate"]
    chosen = {"lr": "its own step size" if rate is None else f"{rate:g}"}
    for options in (seed["network_choices"], seed["hyperparameters"]):
        for item in (options or "").split(","):
            name, _, value = item.partition("=")
            if name:
                chosen[name] = value
    return chosen


def _telling(own: dict[str, str], rivals: Sequence[dict[str, str]]) -> list[str]:
    """Names of the settings in which cells of one rule differ."""
    names = sorted({name for rival in rivals for name in rival}, key=lambda name: (name != "lr", name))
    return [name for name in names if any(rival.get(name) != own.get(name) for rival in rivals)]


def _setting(name: str, value: str) -> str:
    return value if value == "its own step size" else f"{name} {value}"


def _row(cell: Cell, variant: str, settings: str, budget: str) -> BoardRow:
    first = cell[0]
    scored = [seed for seed in cell if seed["status"] == "ok" and seed["score"] is not None]
    scores = tuple(seed["score"] for seed in scored)
    cost = _cost(cell)
    step, reference = cost["step_seconds"], cost["bp_step_seconds"]
    return BoardRow(
        task=first["task"],
        task_version=first["task_version"],
        network=first["network"],
        rule=first["rule"],
        variant=variant,
        settings=settings,
        batch_size=first["batch_size"],
        budget=budget,
        track=_track(cell),
        tuning_trials=first["tuning_trials"],
        tuning_seconds=first["tuning_seconds"],
        tuning_macs=first["tuning_macs"],
        cell=first["cell"],
        seeds=tuple(seed["seed"] for seed in cell),
        scores=scores,
        score=_mean(scores),
        score_std=statistics.stdev(scores) if len(scores) > 1 else None,
        best_score=_mean([seed["best_score"] for seed in scored]),
        validation_score=_mean([seed["validation_score"] for seed in scored]),
        step_seconds=step,
        step_ratio=step / reference if step is not None and reference else None,
        peak_bytes=cost["peak_bytes"],
        train_macs=cost["train_macs_per_sample"],
        inference_macs=cost["inference_macs_per_sample"],
        macs_complete=not cost["uncounted_operations"],
        parameters=cost["parameters"],
        learned_parameters=cost["learned_parameters"],
        costs={name: cost[name] for name in COST_COLUMNS} | _to_target(cell),
        status=_status(cell),
        reasons=_reasons(cell),
        devices=_distinct(cell, "device"),
        cost_machine=cost["cost_machine"],
        cost_device=cost["cost_device"],
        versions=_distinct(cell, "creditbench"),
        metric=first["metric"] or "accuracy",
        higher_is_better=first["higher_is_better"] is not False,
    )


def _to_target(cell: Cell) -> dict[str, float | None]:
    """Means over the seeds; None unless all of them reached the target, since a mean over the quick ones
    would flatter."""
    return {name: _mean([seed[name] for seed in cell]) for name in TO_TARGET}


def _track(cell: Cell) -> str | None:
    """Of the seed whose settings were chosen with the least care."""
    found = {seed["track"] for seed in cell}
    return [track for track in TRACKS if track in found][-1]


def _cost(cell: Cell) -> Seed:
    """The seed that stands for the cell's cost: of the machine that most of them were measured on."""
    machines = Counter(seed["cost_machine"] or "" for seed in cell)
    chosen = min(machines, key=lambda machine: (not machine, -machines[machine], machine))
    return next(seed for seed in cell if (seed["cost_machine"] or "") == chosen)


def _mean(values: Iterable[float | None]) -> float | None:
    """None as soon as one is missing: a mean over another set of seeds would mislead."""
    known = list(values)
    if not known or None in known:
        return None
    return statistics.fmean(value for value in known if value is not None)


def _status(cell: Cell) -> str:
    counts = Counter(seed["status"] for seed in cell)
    if len(counts) == 1:
        return str(cell[0]["status"])
    kinds = [kind for kind in STATUSES if kind in counts]
    first = f"{counts[kinds[0]]} of {len(cell)} {kinds[0]}"
    return ", ".join([first, *(f"{counts[kind]} {kind}" for kind in kinds[1:])])


def _reasons(cell: Cell) -> tuple[str, ...]:
    """Why seeds ended otherwise than ok, each reason once, with the seeds it is about."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for seed in cell:
        if seed["status"] != "ok" and seed["reason"]:
            seeds[seed["reason"]].append(seed["seed"])
    if len(seeds) == 1 and len(*seeds.values()) == len(cell):
        return tuple(seeds)
    return tuple(
        f"seed{'s' * (len(own) > 1)} {', '.join(map(str, own))}: {reason}" for reason, own in seeds.items()
    )


def _distinct(cell: Cell, name: str) -> tuple[str, ...]:
    return tuple(sorted({seed[name] for seed in cell if seed[name] is not None}))
