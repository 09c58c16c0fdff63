"""Records as a pandas DataFrame: one row per trained seed. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Cost, Run
from creditbench.suite.specification import Spec, format_label
from creditbench.suite.store import Store, read

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "task", "network", "rule", "hyperparameters", "network_choices", "learning_rate", "seed", "status",
    "reason", "score", "validation_score", "best_epoch", "best_score", "epochs", "batch_size",
    "train_samples", "train_seconds", "schedule", "augmentation", "task_version", "protocol",
    "metric", "higher_is_better",
)  # fmt: skip
COST_COLUMNS = (
    "step_seconds", "inference_seconds_per_sample", "peak_bytes", "parameters", "learned_parameters",
    "train_macs_per_sample", "inference_macs_per_sample", "uncounted_operations", "bp_step_seconds",
)  # fmt: skip
KEY_COLUMNS = ("cell", "key", "machine", "cost_machine", "cost_device")  # whose cost stands in the row
PROVENANCE_COLUMNS = ("device", "recipe", "creditbench", "torch", "commit", "finished")


def load_results(folder: str | Path) -> pd.DataFrame:
    """One row per trained seed below `folder`, joined with the cost of its cell.

    Scores are fractions in [0, 1] (accuracy), times are in seconds, memory in bytes; what was not
    measured is missing. Where a cell's cost was measured on several machines, the one that trained
    the seed comes first; `bp_step_seconds` is bp's on that same machine. Raises CreditbenchError for
    a missing folder or an unreadable record.
    """
    frame, problems = read_results(folder)
    if problems:
        raise CreditbenchError(" ".join(problems))
    return frame


def read_results(folder: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """As `load_results`, with what can be read and one sentence for each record that cannot."""
    import pandas as pd

    rows: list[Row] = []  # runs are let go as they are read: their curves would fill the memory
    costs: dict[str, dict[str, Cost]] = {}
    problems: list[str] = []
    for path in Store(Path(folder)).paths():
        try:
            record = read(path)
        except CreditbenchError as error:
            problems.append(str(error))
            continue
        if isinstance(record, Run):
            rows.append(_row(record))
        else:
            costs.setdefault(record.spec.cell, {})[record.machine] = record
    joined = _Costs(costs)
    values = ((*row, *joined.beside(row)) for row in rows)
    frame = pd.DataFrame(values, columns=[*OWN_COLUMNS, *JOINED_COLUMNS])
    integers = ["seed", "epochs", "batch_size", "best_epoch", "train_samples", "peak_bytes",
                "parameters", "learned_parameters", "task_version", "protocol"]  # fmt: skip
    floats = ["score", "validation_score", "best_score", "learning_rate", "train_seconds",
              "step_seconds", "inference_seconds_per_sample", "train_macs_per_sample",
              "inference_macs_per_sample", "bp_step_seconds"]  # fmt: skip
    columns = [*RUN_COLUMNS, *COST_COLUMNS, *KEY_COLUMNS, *PROVENANCE_COLUMNS]
    frame = frame[columns].astype(dict.fromkeys(integers, "Int64") | dict.fromkeys(floats, "float64"))
    order = ["task", "network", "rule", "cell", "seed"]
    return frame.sort_values(order, kind="stable", ignore_index=True), problems


Row = tuple[Any, ...]  # as OWN_COLUMNS
JOINED_COLUMNS = (*COST_COLUMNS, "cost_machine", "cost_device")
OWN_COLUMNS = (*RUN_COLUMNS, "cell", "key", "machine", *PROVENANCE_COLUMNS)
_CELL, _MACHINE = OWN_COLUMNS.index("cell"), OWN_COLUMNS.index("machine")
_OF_SPEC = frozenset(Spec.__dataclass_fields__)
_TEXT = ("hyperparameters", "network_choices")


def _row(run: Run) -> Row:
    """What a run says by itself."""
    spec, provenance = run.spec, run.provenance
    own = [
        format_label("", getattr(spec, name)).lstrip(":")
        if name in _TEXT
        else getattr(spec if name in _OF_SPEC else run, name)
        for name in RUN_COLUMNS
    ]
    told = [provenance.get(name) for name in ("machine", *PROVENANCE_COLUMNS)]
    return (*own, spec.cell, spec.key, *(None if value is None else str(value) for value in told))


class _Costs:
    """Which cost belongs beside a run; found once per cell and machine."""

    def __init__(self, costs: dict[str, dict[str, Cost]]) -> None:
        self.costs = costs
        self.known: dict[tuple[str, str | None], Row] = {}
        self.references: dict[tuple[Any, ...], list[Cost]] = {}
        for own in costs.values():
            for cost in own.values():
                if cost.spec.rule == "bp":
                    self.references.setdefault(_site(cost), []).append(cost)

    def beside(self, row: Row) -> Row:
        """A row's values of JOINED_COLUMNS."""
        place = row[_CELL], row[_MACHINE]
        if place not in self.known:
            self.known[place] = self._joined(*place)
        return self.known[place]

    def _joined(self, cell: str, home: str | None) -> Row:
        own = self.costs.get(cell)
        if not own:
            return (None,) * len(JOINED_COLUMNS)
        cost = own[home] if home in own else own[min(own)]
        values = {name: getattr(cost, name, None) for name in COST_COLUMNS}
        values["uncounted_operations"] = format_label("", cost.uncounted_operations).lstrip(":") or None
        values["bp_step_seconds"] = _bp_step_seconds(cost, self.references.get(_site(cost), []))
        device = cost.provenance.get("device")
        return (*values.values(), cost.machine, None if device is None else str(device))


def _site(cost: Cost) -> tuple[Any, ...]:
    """Where times may be compared: the same task, network, batch size and machine."""
    spec = cost.spec
    return spec.task, spec.task_version, spec.network, spec.batch_size, cost.machine


def _bp_step_seconds(cost: Cost, references: list[Cost]) -> float | None:
    """bp's step time on the same task, network, batch size and machine, from the cell most alike."""
    budget = ("epochs", "train_samples", "schedule", "augmentation", "protocol")

    def unlike(other: Cost) -> int:
        return sum(getattr(other.spec, name) != getattr(cost.spec, name) for name in budget)

    found = [
        (other.spec.cell != cost.spec.cell, unlike(other), other.spec.cell, other.step_seconds)
        for other in references
    ]
    return min(found)[-1] if found else None
