"""What a page says beyond the board: each seed's curve and record, each cell's costs, each rule's audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from creditbench.suite.record import Audit, Cost, Point, Record, Run, Status
from creditbench.suite.specification import Spec


@dataclass(frozen=True)
class Seed:
    """A trained seed, without what no page shows."""

    spec: Spec
    status: Status
    reason: str | None
    score: float | None
    best_score: float | None
    best_epoch: int | None
    validation_score: float | None
    train_seconds: float | None  # [s]
    steps: int | None
    curve: tuple[Point, ...]
    alone: bool  # False: other work ran beside it, so its seconds say nothing
    fingerprint: str
    provenance: Mapping[str, Any]
    path: Path


@dataclass
class Evidence:
    """Filled by `saw`, record by record, as the folder is read."""

    seeds: dict[str, dict[str, Seed]] = field(default_factory=dict)  # cell -> key -> seed
    costs: dict[str, dict[str, tuple[Cost, Path]]] = field(default_factory=dict)  # cell -> machine -> cost
    audits: dict[str, tuple[Audit, Path]] = field(default_factory=dict)  # by key

    def saw(self, path: Path, record: Record) -> None:
        if isinstance(record, Run):
            seed = _seed(path, record)
            own = self.seeds.setdefault(seed.spec.cell, {})
            other = own.get(seed.spec.key)
            if other is None or _last(other) < _last(seed):
                own[seed.spec.key] = seed
        elif isinstance(record, Cost):
            self.costs.setdefault(record.spec.cell, {})[record.machine] = (record, path)
        else:
            self.audits[record.spec.key] = (record, path)

    def of(self, cell: str) -> list[Seed]:
        """The seeds of a cell, in order."""
        return sorted(self.seeds.get(cell, {}).values(), key=lambda seed: seed.spec.seed)


def _seed(path: Path, run: Run) -> Seed:
    return Seed(
        run.spec, run.status, run.reason, run.score, run.best_score, run.best_epoch, run.validation_score,
        run.train_seconds, run.steps, run.curve, not run.provenance.get("company"), run.fingerprint,
        run.provenance, path,
    )  # fmt: skip


def _last(seed: Seed) -> tuple[str, str, str]:
    """As the board decides between two records of one run: the one finished last."""
    finished, machine = (seed.provenance.get(name) for name in ("finished", "machine"))
    return str(finished or ""), str(machine or ""), seed.status


@dataclass(frozen=True)
class Expected:
    """A suite as it is planned today: what it should hold, stored or not.

    cells: each its seeds' specs and the track of its settings."""

    name: str
    summary: str
    cells: Sequence[tuple[Sequence[Spec], str | None]]
