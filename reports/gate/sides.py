"""One side of a comparison: what a folder of records, or a file of pytest-benchmark, holds by cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import OPERATIONS, PHASES, Cost, Run
from creditbench.suite.specification import Spec, format_label
from creditbench.suite.store import Store, read

DATA_DEPENDENT = ("effective_macs", "acs")  # counts in which zeros among the values are left out


@dataclass(frozen=True)
class Timing:
    """A step's time over that of the calibration kernel, timed in turns with it."""

    ratio: float
    low: float  # 95 % for the median ratio
    high: float
    kind: str  # "cpu" or "cuda": kernels of different kinds make no common scale
    alone: bool


@dataclass(frozen=True)
class Cell:
    task: str
    network: str
    rule: str
    spec: Spec | None  # of any seed; None in a file of pytest-benchmark
    runs: Mapping[int, Run] = field(default_factory=dict)  # by seed
    exact: Mapping[str, float] = field(default_factory=dict)  # figure -> number; equal on every machine
    counted: Mapping[str, float] = field(default_factory=dict)  # the same; what is not named did not occur
    inexact: Mapping[str, float] = field(default_factory=dict)  # as counted, but depending on values
    split: bool = False  # whether operations were counted by phase and bytes by kind
    timing: Timing | None = None
    seconds: float | None = None  # [s] of a step, median, compared with nothing
    quartiles: tuple[float, float] | None = None  # [s]
    spread: Mapping[str, float] = field(default_factory=dict)  # [s] min, max, mean, std
    rounds: int = 0  # steps timed
    stamp: Mapping[str, str] = field(default_factory=dict)  # commit, finished, device: of the cost
    torch: str = ""

    @property
    def name(self) -> str:
        return "/".join(filter(None, (self.task, self.network, self.rule)))

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, beside what a cell is called by."""
        assert self.spec is not None
        left_out = ("task", "task_version", "network", "rule", "seed", "protocol")
        return {name: value for name, value in self.spec.as_dict().items() if name not in left_out}

    @property
    def full_name(self) -> str:
        """With the settings that tell cells of one rule apart."""
        if self.spec is None:
            return self.name
        rate = {} if self.spec.learning_rate is None else {"lr": f"{self.spec.learning_rate:g}"}
        own = {**rate, **self.spec.network_choices, **self.spec.hyperparameters}
        return format_label(self.name, own)


@dataclass(frozen=True)
class Side:
    name: str  # as it was asked for
    cells: Mapping[str, Cell]  # by the cell's id


def read_side(path: Path) -> Side:
    """A folder of records or a JSON file of pytest-benchmark.

    Raises CreditbenchError for what is missing, empty, or holds anything that cannot be read: a gate that
    passed over a broken record would pass over what it says."""
    side = Side(str(path), _benchmarks(path) if path.is_file() else _records(path))
    if not side.cells:
        raise CreditbenchError(
            f"{path} holds no records; `creditbench run SUITE --results {path}` makes some."
        )
    return side


def _records(folder: Path) -> dict[str, Cell]:
    runs: dict[str, dict[int, Run]] = {}
    costs: dict[str, list[Cost]] = {}
    for path in Store(folder).paths():
        record = read(path)
        if isinstance(record, Run):
            own = runs.setdefault(record.spec.cell, {})
            before = own.get(record.spec.seed)
            if before is None or _finished(before) <= _finished(record):
                own[record.spec.seed] = record
        elif isinstance(record, Cost):
            costs.setdefault(record.spec.cell, []).append(record)
    return {cell: _cell(runs.get(cell, {}), costs.get(cell, [])) for cell in sorted({*runs, *costs})}


def _finished(record: Run | Cost) -> str:
    return str(record.provenance.get("finished") or "")


def _cell(runs: Mapping[int, Run], costs: list[Cost]) -> Cell:
    # Of several machines' costs the last one that was measured; counts are the same on all.
    cost = max(costs, key=lambda own: (_finished(own), own.machine)) if costs else None
    spec = cost.spec if cost is not None else next(iter(runs.values())).spec
    place = (spec.task, spec.network, spec.rule)
    if cost is None:
        return Cell(*place, spec, runs)
    return Cell(
        *place, spec, runs, *_figures(cost), bool(cost.operations), _timing(cost), cost.step_seconds,
        cost.step_seconds_quartiles, cost.step_seconds_spread, cost.steps_timed,
        {name: str(cost.provenance.get(name) or "") for name in ("commit", "finished", "device", "python")},
        str(cost.provenance.get("torch") or ""),
    )  # fmt: skip


def _figures(cost: Cost) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Exact figures, counts, counts that depend on values."""
    exact: dict[str, float | None] = {
        "parameters": cost.parameters,
        "learned parameters": cost.learned_parameters,
        "peak bytes": cost.peak_bytes,
        "train MACs": cost.train_macs_per_sample,
        "inference MACs": cost.inference_macs_per_sample,
        "critical path": cost.critical_path_macs,
        "pipeline interval": cost.pipeline_interval_macs,
        "coverage": cost.coverage,
        "inference coverage": cost.inference_coverage,
    }
    kinds = cost.peak_bytes_by_kind.items()
    counted: dict[str, float] = {f"peak bytes, {kind.replace('_', ' ')}": size for kind, size in kinds}
    counted |= {f"uncounted, {name}": own for name, own in cost.uncounted_operations.items()}
    inexact: dict[str, float] = {}
    for phase in (*PHASES, "inference"):
        counts = cost.operations.get(phase, {})
        for name in OPERATIONS:
            if name in counts:
                figure = f"{phase} {name.replace('_', ' ').replace('macs', 'MACs')}"
                (inexact if name in DATA_DEPENDENT else counted)[figure] = counts[name]
    return {name: own for name, own in exact.items() if own is not None}, counted, inexact


def _timing(cost: Cost) -> Timing | None:
    bounds = cost.relative_step_interval
    if cost.relative_step is None or bounds is None or None in bounds:
        return None
    kind = "cpu" if cost.cuda_peak_allocated_bytes is None else "cuda"
    return Timing(cost.relative_step, bounds[0], bounds[1], kind, cost.alone)


CALIBRATION = "calibration"  # in pytest-benchmark's JSON, the benchmark that is the others' measure


def _benchmarks(path: Path) -> dict[str, Cell]:
    """Times alone. A benchmark called `calibration` (or test_calibration) is what the others are divided by;
    the interval of a ratio is that of both quartiles, since rounds were not taken in turns."""
    try:
        data = json.loads(path.read_bytes())
        listed = [(own["fullname"], own["name"], own["stats"]) for own in data["benchmarks"]]
        figures = [
            (full, name, *(float(own[key]) for key in ("median", "q1", "q3", "min")))
            for full, name, own in listed
        ]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CreditbenchError(
            f"{path} is neither a folder of records nor JSON of pytest-benchmark ({error!r:.80})."
        ) from None
    measure = next((own for own in figures if own[1].removeprefix("test_") == CALIBRATION), None)
    cells = {}
    for full, name, middle, low, high, _ in figures:
        timing = None
        if measure is not None and measure[1] != name and min(low, *measure[2:5]) > 0:
            timing = Timing(middle / measure[2], low / measure[4], high / measure[3], "cpu", True)
        cells[full] = Cell(full, "", "", None, timing=timing, seconds=middle)
    return cells
