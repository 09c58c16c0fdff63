"""Records as a pandas DataFrame: one row per trained seed. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite import recipes
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Cost, Run
from creditbench.suite.specification import format_label
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
TUNING_COLUMNS = ("track", "tuning_trials", "tuning_seconds", "tuning_macs")  # of the settings, per cell


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

    runs: list[Run] = []
    costs: dict[str, dict[str, Cost]] = {}
    problems: list[str] = []
    for path in Store(Path(folder)).paths():
        try:
            record = read(path)
        except CreditbenchError as error:
            problems.append(str(error))
            continue
        if isinstance(record, Run):
            runs.append(record)
        else:
            costs.setdefault(record.spec.cell, {})[record.machine] = record
    columns = [*RUN_COLUMNS, *COST_COLUMNS, *KEY_COLUMNS, *PROVENANCE_COLUMNS, *TUNING_COLUMNS]
    references = [cost for own in costs.values() for cost in own.values() if cost.spec.rule == "bp"]
    rows = [_row(run, costs.get(run.spec.cell, {}), references) for run in runs]
    frame = pd.DataFrame(rows, columns=columns)
    integers = ["seed", "epochs", "batch_size", "best_epoch", "train_samples", "peak_bytes",
                "parameters", "learned_parameters", "task_version", "protocol", "tuning_trials"]  # fmt: skip
    floats = ["score", "validation_score", "best_score", "learning_rate", "train_seconds",
              "step_seconds", "inference_seconds_per_sample", "train_macs_per_sample",
              "inference_macs_per_sample", "bp_step_seconds", "tuning_seconds", "tuning_macs"]  # fmt: skip
    frame = frame.astype(dict.fromkeys(integers, "Int64") | dict.fromkeys(floats, "float64"))
    order = ["task", "network", "rule", "cell", "seed"]
    return frame.sort_values(order, kind="stable", ignore_index=True), problems


def _row(run: Run, costs: dict[str, Cost], references: list[Cost]) -> dict[str, Any]:
    spec = run.spec
    row: dict[str, Any] = {name: getattr(spec, name, None) for name in RUN_COLUMNS}
    row |= {name: getattr(run, name) for name in RUN_COLUMNS if hasattr(run, name)}
    row["hyperparameters"] = format_label("", spec.hyperparameters).lstrip(":")
    row["network_choices"] = format_label("", spec.network_choices).lstrip(":")
    row |= {"cell": spec.cell, "key": spec.key}
    for name in ("machine", *PROVENANCE_COLUMNS):
        value = run.provenance.get(name)
        row[name] = None if value is None else str(value)
    row["track"] = recipes.track(row["recipe"])
    told = run.provenance.get("tuning")
    if isinstance(told, Mapping):
        row |= {f"tuning_{key}": told.get(key) for key in recipes.COST}
    if costs:
        home = row["machine"]
        cost = costs[home] if home in costs else costs[min(costs)]
        row |= {name: getattr(cost, name, None) for name in COST_COLUMNS}
        row["uncounted_operations"] = format_label("", cost.uncounted_operations).lstrip(":") or None
        row["bp_step_seconds"] = _bp_step_seconds(cost, references)
        device = cost.provenance.get("device")
        row |= {"cost_machine": cost.machine, "cost_device": None if device is None else str(device)}
    return row


def _bp_step_seconds(cost: Cost, references: list[Cost]) -> float | None:
    """bp's step time on the same task, network, batch size and machine, from the cell most alike."""
    same = ("task", "task_version", "network", "batch_size")
    budget = ("epochs", "train_samples", "schedule", "augmentation", "protocol")

    def unlike(names: tuple[str, ...], other: Cost) -> int:
        return sum(getattr(other.spec, name) != getattr(cost.spec, name) for name in names)

    found = [
        (other.spec.cell != cost.spec.cell, unlike(budget, other), other.spec.cell, other.step_seconds)
        for other in references
        if other.machine == cost.machine and not unlike(same, other)
    ]
    return min(found)[-1] if found else None
