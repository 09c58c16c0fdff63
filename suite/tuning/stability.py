"""Stability: the share of a grid of learning rate × seed × depth on which a rule trains at all.

A point of the grid *trains* if after the last epoch its validation error is at least a tenth lower than the
lowest that the last layer alone reaches at any learning rate of its own grid, from the same weights (same
depth and seed). Beside it stands the share whose error is a tenth lower than that of always naming the most
frequent class. Nothing is chosen here, and test data stays under seal. Scores are accuracies.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from creditbench.suite import registry
from creditbench.suite.batches import Batches
from creditbench.suite.driver import SilentObserver, code_of, seeds_at_once
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Executor, Watch
from creditbench.suite.executors.inline import Inline
from creditbench.suite.losses import chance
from creditbench.suite.plan import Label, Part, Planned, Suite, load_rule, load_task, plan
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.train import GAINED
from creditbench.suite.tuning.space import declared, rounded
from creditbench.suite.tuning.trial import learning_splits
from creditbench.suite.tuning.tried import Trial, Tried
from creditbench.suite.tuning.tune import SEED
from creditbench.suite.work import Group

CPU = torch.device("cpu")
FLOOR = "last-layer"
STEPS, SAMPLES = 450, 20_000  # of training: at least these steps, in whole epochs of at most these samples
RATES, SEEDS, DEPTHS = 5, 3, (1, 2, 4)


@dataclass(frozen=True)
class GridPoint:
    """One training of the grid."""

    depth: int
    learning_rate: float | None
    seed: int
    status: str
    reason: str | None
    validation_score: float | None
    floor: float  # last-layer's best score at this depth and seed

    def beats(self, score: float) -> bool:
        """Whether enough of the error that goes with a score is gone."""
        own = self.validation_score
        return own is not None and 1 - own <= (1 - GAINED) * (1 - score)


@dataclass(frozen=True)
class Stability:
    """A rule on a grid."""

    rule: str
    task: str
    network: str
    epochs: int
    train_samples: int
    chance: float
    points: tuple[GridPoint, ...]

    @property
    def able(self) -> list[GridPoint]:
        """Points that the rule does not refuse."""
        return [point for point in self.points if point.status != "skipped"]

    @property
    def training(self) -> list[GridPoint]:
        """Points that beat the last layer."""
        return [point for point in self.able if point.beats(point.floor)]

    @property
    def share(self) -> float | None:
        """Of the grid that trains; None where the rule refuses all of it."""
        return len(self.training) / len(self.able) if self.able else None

    @property
    def share_over_chance(self) -> float | None:
        above = [point for point in self.able if point.beats(self.chance)]
        return len(above) / len(self.able) if self.able else None

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share, "share_over_chance": self.share_over_chance}

    def text(self) -> str:
        """The grid and the two shares, as lines."""
        rates = list(dict.fromkeys(point.learning_rate for point in self.points))
        seeds = len({point.seed for point in self.points})
        depths = list(dict.fromkeys(point.depth for point in self.points))
        lines = [
            f"Stability of {self.rule} on {self.task}, {self.network}: {len(rates)} learning rates × {seeds}"
            f" seeds × {len(depths)} depths, {self.epochs} epochs of {self.train_samples:,} samples",
            f"{'learning rate':>13}" + "".join(f"{'own' if r is None else f'{r:g}':>10}" for r in rates),
        ]
        for depth in depths:
            row = [p for p in self.points if p.depth == depth]
            cells = []
            for rate in rates:
                own = [p for p in row if p.learning_rate == rate]
                good = sum(p in self.training for p in own)
                cells.append("–" if own[0].status == "skipped" else f"{good}/{len(own)}")
            lines.append(f"{f'depth {depth}':>13}" + "".join(f"{cell:>10}" for cell in cells))
        lines += sorted(
            {f"{p.status}: {p.reason}" for p in self.points if p.reason and p.status != "diverged"}
        )
        if self.share is None or self.share_over_chance is None:
            return "\n".join([*lines, "The rule refuses the whole grid."])
        return "\n".join(
            [
                *lines,
                f"It trains on {100 * self.share:.0f} % of the grid: {len(self.training)} of {len(self.able)}"
                f" have a validation error at least {100 * GAINED:.0f} % below the last layer's best.",
                f"Its error is that much below chance's ({100 * (1 - self.chance):.1f} %) on"
                f" {100 * self.share_over_chance:.0f} %.",
            ]
        )


def stability(
    rule: Label,
    task: str = "digit-sums",
    network: str = "mlp",
    depths: Sequence[int] = DEPTHS,
    rates: int = RATES,
    seeds: int = SEEDS,
    device: torch.device = CPU,
    recipes: Path | None = None,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> Stability:
    """The grid of a rule, with the choices of its recipe; learning rates spread over its declared range.

    executor: carries its trainings as it carries trials. Raises CreditbenchError where there is no grid
    (`no_grid`)."""
    if reason := no_grid(task, network):
        raise CreditbenchError(f"There is no stability grid: {reason}.")
    part = Part(tasks=(task,), networks=(network,), rules=(rule,))
    splits = learning_splits(task, CPU)
    samples = min(SAMPLES, len(splits.train))
    per_epoch = Batches(load_task(task), splits.train, [SEED], part.batch_size, samples).per_epoch
    part = replace(part, epochs=math.ceil(STEPS / per_epoch), train_samples=samples)
    asked: list[tuple[int, list[Spec], list[Spec]]] = []  # depth, the rule's part of it, the last layer's
    groups: dict[tuple[str, ...], Group] = {}  # by what is trained, since the rule may be the last layer
    for depth in depths:
        at = replace(part, networks=(f"{network}:depth={depth}",))
        own, makers = _grid(at, rates, seeds, device, recipes)
        floor, others = _grid(replace(at, rules=(FLOOR,)), rates, seeds, device, None)
        asked.append((depth, own, floor))
        groups |= {tuple(spec.key for spec in group.specs): group for group in (*makers, *others)}
    found: dict[str, Tried] = {}
    with contextlib.closing(
        (executor or Inline())([*groups.values()], watch or SilentObserver())
    ) as outcomes:
        for _, outcome in outcomes:
            assert isinstance(outcome, Trial)
            found[outcome.spec.key] = outcome.tried
    points: list[GridPoint] = []
    for depth, own, floor in asked:
        best = {spec.seed: 0.0 for spec in floor}
        for spec in floor:
            best[spec.seed] = max(best[spec.seed], found[spec.key].validation_score or 0.0)
        for spec in own:
            tried = found[spec.key]
            status, reason, score = tried.status, tried.reason, tried.validation_score
            points.append(
                GridPoint(depth, spec.learning_rate, spec.seed, status, reason, score, best[spec.seed])
            )
    return Stability(
        load_rule(rule).name, task, network, part.epochs, samples,
        chance(splits.validation.targets), tuple(points),
    )  # fmt: skip


def no_grid(task: str, network: str) -> str | None:
    """Why the grid cannot be laid there; None where it can."""
    if (metric := load_task(task).metric) != "accuracy":
        return f"it is stated for accuracy, and task '{task}' is judged by {metric}"
    if "depth" not in inspect.signature(registry.load("network", parse_label(network)[0])).parameters:
        return f"its axes are learning rate, seed and depth, and network '{network}' has no depth"
    return None


def _grid(
    part: Part, rates: int, seeds: int, device: torch.device, recipes: Path | None
) -> tuple[list[Spec], list[Group]]:
    """One depth's part of the grid, and the groups that train it; as many ride together as pays."""
    (cell,) = plan(Suite("grid", "", (part,)), own_recipes=recipes)
    first, code = cell.specs[0], code_of(cell.origin, "train")
    specs = [
        replace(first, learning_rate=rate, seed=SEED + seed)
        for rate in _rates(cell, rates)
        for seed in range(seeds)
    ]
    size = seeds_at_once(cell, device)
    return specs, [
        Group("trial", tuple(specs[start : start + size]), cell.origin, device.type, code)
        for start in range(0, len(specs), size)
    ]


def _rates(cell: Planned, count: int) -> list[float | None]:
    """Evenly on a logarithmic scale over the rule's declared range, its ends included."""
    space = declared(load_rule(cell.origin.rule), registry.load("network", cell.origin.network))
    if space.rates is None:
        return [None]
    low, high = space.rates
    if count == 1:
        return [rounded(math.sqrt(low * high))]
    return [rounded(low * (high / low) ** (step / (count - 1))) for step in range(count)]
