"""Records as a pandas DataFrame: one row per trained seed. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite.record import Cost, Run
from creditbench.suite.specification import format_label
from creditbench.suite.store import Store

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "task", "network", "rule", "hyperparameters", "network_choices", "learning_rate", "seed", "status",
    "reason", "score", "validation_score", "best_epoch", "best_score", "epochs", "batch_size",
    "train_samples", "train_seconds",
)  # fmt: skip
COST_COLUMNS = (
    "step_seconds", "inference_seconds_per_sample", "peak_bytes", "parameters", "learned_parameters",
    "train_macs_per_sample", "inference_macs_per_sample",
)  # fmt: skip
KEY_COLUMNS = ("cell", "key", "machine")


def load_results(folder: str | Path) -> pd.DataFrame:
    """One row per trained seed below `folder`, joined with the cost of its cell.

    Scores are fractions in [0, 1] (accuracy), times are in seconds, memory in bytes; what was not
    measured is missing. Where a cell's cost was measured on several machines, the one that trained
    the seed comes first. Raises CreditbenchError for a missing folder or an unreadable record.
    """
    import pandas as pd

    runs: list[Run] = []
    costs: dict[str, dict[str, Cost]] = {}
    for record in Store(Path(folder)).records():
        if isinstance(record, Run):
            runs.append(record)
        else:
            costs.setdefault(record.spec.cell, {})[record.machine] = record
    columns = [*RUN_COLUMNS, *COST_COLUMNS, *KEY_COLUMNS]
    frame = pd.DataFrame([_row(run, costs.get(run.spec.cell, {})) for run in runs], columns=columns)
    integers = ["seed", "epochs", "batch_size", "best_epoch", "train_samples", "peak_bytes",
                "parameters", "learned_parameters"]  # fmt: skip
    floats = ["score", "validation_score", "best_score", "learning_rate", "train_seconds",
              "step_seconds", "inference_seconds_per_sample", "train_macs_per_sample",
              "inference_macs_per_sample"]  # fmt: skip
    frame = frame.astype({name: "Int64" for name in integers} | {name: "float64" for name in floats})
    order = ["task", "network", "rule", "cell", "seed"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _row(run: Run, costs: dict[str, Cost]) -> dict[str, Any]:
    spec = run.spec
    row: dict[str, Any] = {name: getattr(spec, name, None) for name in RUN_COLUMNS}
    row |= {name: getattr(run, name) for name in RUN_COLUMNS if hasattr(run, name)}
    row["hyperparameters"] = format_label("", spec.hyperparameters).lstrip(":")
    row["network_choices"] = format_label("", spec.network_choices).lstrip(":")
    row |= {"cell": spec.cell, "key": spec.key, "machine": run.provenance.get("machine")}
    if costs:
        home = row["machine"]
        cost = costs[home] if home in costs else costs[min(costs)]
        row |= {name: getattr(cost, name) for name in COST_COLUMNS}
    return row
