"""Records as a pandas DataFrame: one row per trained seed. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite.counting.energy import Energy, energy
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import OPERATIONS, PHASES, Cost, Run
from creditbench.suite.specification import format_label
from creditbench.suite.store import Store, read

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "task", "network", "rule", "hyperparameters", "network_choices", "learning_rate", "seed", "status",
    "reason", "score", "validation_score", "best_epoch", "best_score", "epochs", "batch_size",
    "train_samples", "train_seconds", "schedule", "augmentation", "task_version", "protocol",
    "metric", "higher_is_better", "steps", "target_score",
)  # fmt: skip
# From the learning curve: when the validation score first reached the task's target score, and what the
# updates looked like beside the gradient, "block=cosine,..."
CURVE_COLUMNS = (
    "epochs_to_target", "steps_to_target", "seconds_to_target", "energy_to_target_pj",
    "cosine_start", "cosine_end", "norm_ratio_end",
)  # fmt: skip
MEASURED_COLUMNS = (
    "step_seconds", "inference_seconds_per_sample", "latency_seconds", "peak_bytes", "parameters",
    "learned_parameters", "train_macs_per_sample", "inference_macs_per_sample", "peak_process_bytes",
    "cuda_peak_allocated_bytes", "cuda_peak_reserved_bytes", "coverage", "inference_coverage",
    "step_joules", "joules_source",
)  # fmt: skip
# What says nothing where other work ran beside.
TIMES = ("step_seconds", "inference_seconds_per_sample", "latency_seconds", "step_joules")
MEMORY_KINDS = ("parameters", "optimizer_state", "rule_state", "batch", "activations", "temporaries")
ENERGY_COLUMNS = (
    "energy_table",
    *(f"{part}_energy{bound}_pj" for part in ("train", "inference") for bound in ("", "_lower", "_upper")),
    *(f"{name}_energy_pj" for name in PHASES),
)
COST_COLUMNS = (
    *MEASURED_COLUMNS, "uncounted_operations", "bp_step_seconds",
    *(f"peak_{kind}_bytes" for kind in MEMORY_KINDS),
    *(f"{part}_{name}_per_sample" for part in ("train", "inference") for name in OPERATIONS[1:]),
    *(f"{name}_macs_per_sample" for name in PHASES),
    *ENERGY_COLUMNS,
)  # fmt: skip
KEY_COLUMNS = ("cell", "key", "machine", "cost_machine", "cost_device")  # whose cost stands in the row
ENERGY_TABLE = "cmos45-fp32"  # what the energy columns are modelled with
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
    columns = [*RUN_COLUMNS, *CURVE_COLUMNS, *COST_COLUMNS, *KEY_COLUMNS, *PROVENANCE_COLUMNS]
    references = [c for own in costs.values() for c in own.values() if c.spec.rule == "bp" and c.alone]
    rows = [_row(run, costs.get(run.spec.cell, {}), references) for run in runs]
    frame = pd.DataFrame(rows, columns=columns)
    integers = ["seed", "epochs", "batch_size", "best_epoch", "train_samples", "peak_bytes",
                "parameters", "learned_parameters", "task_version", "protocol", "steps",
                "epochs_to_target", "steps_to_target", "peak_process_bytes",
                "cuda_peak_allocated_bytes", "cuda_peak_reserved_bytes",
                *(f"peak_{kind}_bytes" for kind in MEMORY_KINDS)]  # fmt: skip
    words = {"uncounted_operations", "energy_table", "joules_source"}
    floats = ["score", "validation_score", "best_score", "learning_rate", "train_seconds", "target_score",
              "seconds_to_target", "energy_to_target_pj",
              *(set(COST_COLUMNS) - set(integers) - words)]  # fmt: skip
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
    if costs:
        home = row["machine"]
        cost = costs[home] if home in costs else costs[min(costs)]
        row |= _cost_columns(cost)
        row["uncounted_operations"] = format_label("", cost.uncounted_operations).lstrip(":") or None
        row["bp_step_seconds"] = _bp_step_seconds(cost, references)
        device = cost.provenance.get("device")
        row |= {"cost_machine": cost.machine, "cost_device": None if device is None else str(device)}
    row |= _curve_columns(run, row)
    return row


def _cost_columns(cost: Cost) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(cost, name) for name in MEASURED_COLUMNS}
    if not cost.alone:
        row |= dict.fromkeys(TIMES)
    row |= {f"peak_{kind}_bytes": size for kind, size in cost.peak_bytes_by_kind.items()}
    if not cost.operations:
        return row  # an older record: nothing was split
    phases = {name: _all_kinds(cost.operations[name]) for name in PHASES}
    train = {name: sum(own[name] for own in phases.values()) for name in OPERATIONS}
    inference = _all_kinds(cost.operations["inference"])
    for name in OPERATIONS[1:]:
        row |= {f"train_{name}_per_sample": train[name], f"inference_{name}_per_sample": inference[name]}
    row |= {f"{name}_macs_per_sample": own["macs"] for name, own in phases.items()}
    unknown = {"unknown": cost.uncounted_operations}
    modelled = energy(train | unknown, phases, ENERGY_TABLE)
    row |= _energy("train", modelled) | _energy("inference", energy(inference | unknown, {}, ENERGY_TABLE))
    row |= {f"{name}_energy_pj": own.arithmetic_pj for name, own in modelled.by_phase.items()}
    return row | {"energy_table": modelled.table}


def _all_kinds(counts: Mapping[str, float]) -> dict[str, Any]:
    return dict.fromkeys(OPERATIONS, 0.0) | dict(counts)


def _energy(part: str, modelled: Energy) -> dict[str, float]:
    return {
        f"{part}_energy_pj": modelled.arithmetic_pj,
        f"{part}_energy_lower_pj": modelled.with_memory_lower_pj,
        f"{part}_energy_upper_pj": modelled.with_memory_upper_pj,
    }


def _curve_columns(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    """What the learning curve says beyond its last point. Epochs are the finest that it can tell."""
    found: dict[str, Any] = {}
    if run.alignment:
        first, last = run.alignment[0], run.alignment[-1]
        found["cosine_start"], found["cosine_end"] = _by_block(first.cosine), _by_block(last.cosine)
        found["norm_ratio_end"] = _by_block(last.norm_ratio)
    target, sign = run.target_score, 1 if run.higher_is_better else -1
    if target is None:
        return found
    reached = [
        p for p in run.curve if p.validation_score is not None and sign * (p.validation_score - target) >= 0
    ]
    if not reached:
        return found
    first_point = reached[0]
    found |= {"epochs_to_target": first_point.epoch}
    if not run.provenance.get("company"):  # else other work ran beside it
        found["seconds_to_target"] = first_point.train_seconds
    if run.steps is not None:
        steps = run.steps * first_point.epoch // run.spec.epochs
        found["steps_to_target"] = steps
        per_sample = row.get("train_energy_pj")
        if per_sample is not None:
            found["energy_to_target_pj"] = steps * run.spec.batch_size * per_sample
    return found


def _by_block(figures: Mapping[str, float]) -> str:
    return ",".join(f"{block}={value:.4g}" for block, value in figures.items())


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
