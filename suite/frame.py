"""Records as a pandas DataFrame: one row per trained seed. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite import recipes
from creditbench.suite.counting.energy import Energy, energy
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import OPERATIONS, PHASES, Cost, Record, Run
from creditbench.suite.specification import Spec, format_label
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
    "critical_path_macs", "pipeline_interval_macs",
    "step_joules", "joules_source", "calibration_seconds", "relative_step",
)  # fmt: skip
# What says nothing where other work ran beside.
TIMES = ("step_seconds", "inference_seconds_per_sample", "latency_seconds", "step_joules", "relative_step")
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


def read_results(
    *folders: str | Path, seen: Callable[[Path, Record], None] = lambda path, record: None
) -> tuple[pd.DataFrame, list[str]]:
    """As `load_results`, of one folder or several, with what can be read and one sentence for each record
    that cannot. `seen` gets each record as it is read, for what the table does not hold."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []  # runs are let go as they are read: their curves would fill the memory
    costs = Costs()
    problems: list[str] = []
    for path in chain.from_iterable(Store(Path(folder)).paths() for folder in folders):
        try:
            record = read(path)
        except CreditbenchError as error:
            problems.append(str(error))
            continue
        seen(path, record)
        if isinstance(record, Run):
            rows.append(_row(record))
        elif isinstance(record, Cost):
            costs.add(record)
    columns = [
        *RUN_COLUMNS,
        *CURVE_COLUMNS,
        *COST_COLUMNS,
        *KEY_COLUMNS,
        *PROVENANCE_COLUMNS,
        *TUNING_COLUMNS,
    ]
    integers = {"seed", "epochs", "batch_size", "best_epoch", "train_samples", "peak_bytes",
                "parameters", "learned_parameters", "task_version", "protocol", "steps",
                "epochs_to_target", "steps_to_target", "peak_process_bytes", "tuning_trials",
                "cuda_peak_allocated_bytes", "cuda_peak_reserved_bytes",
                *(f"peak_{kind}_bytes" for kind in MEMORY_KINDS)}  # fmt: skip
    words = {"uncounted_operations", "energy_table", "joules_source"}
    floats = {"score", "validation_score", "best_score", "learning_rate", "train_seconds", "target_score",
              "seconds_to_target", "tuning_seconds", "tuning_macs",
              *COST_COLUMNS} - integers - words  # fmt: skip
    kinds = dict.fromkeys(integers, "Int64") | dict.fromkeys(floats, "float64")

    def typed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype({name: kind for name, kind in kinds.items() if name in frame})

    own = typed(pd.DataFrame(rows, columns=OWN_COLUMNS))
    beside, place = costs.joined(zip(own["cell"], own["machine"], strict=True))
    joined = typed(pd.DataFrame(beside, columns=JOINED_COLUMNS)).take(place).reset_index(drop=True)
    frame = pd.concat([own, joined], axis=1)
    samples = (frame["steps_to_target"] * frame["batch_size"]).to_numpy("float64", na_value=math.nan)
    frame["energy_to_target_pj"] = samples * frame["train_energy_pj"]
    order = ["task", "network", "rule", "cell", "seed"]
    return frame[columns].sort_values(order, kind="stable", ignore_index=True), problems


OF_CURVE = tuple(name for name in CURVE_COLUMNS if name != "energy_to_target_pj")  # that needs the cost
OWN_COLUMNS = (
    *RUN_COLUMNS, *OF_CURVE, "cell", "key", "machine", *PROVENANCE_COLUMNS, *TUNING_COLUMNS
)  # fmt: skip
JOINED_COLUMNS = (*COST_COLUMNS, "cost_machine", "cost_device")
_OF_SPEC = frozenset(Spec.__dataclass_fields__)
_OPTIONS = ("hyperparameters", "network_choices")


def _row(run: Run) -> tuple[Any, ...]:
    """What a run says by itself: the values of OWN_COLUMNS."""
    spec, provenance, curve = run.spec, run.provenance, _curve_columns(run)
    own = [
        format_label("", getattr(spec, name)).lstrip(":")
        if name in _OPTIONS
        else getattr(spec if name in _OF_SPEC else run, name)
        for name in RUN_COLUMNS
    ]
    told = [provenance.get(name) for name in ("machine", *PROVENANCE_COLUMNS)]
    words = [None if value is None else str(value) for value in told]
    price = provenance.get("tuning")
    paid = [price.get(key) for key in recipes.COST] if isinstance(price, Mapping) else [None] * 3
    track = recipes.track(words[1 + PROVENANCE_COLUMNS.index("recipe")])
    return (*own, *(curve.get(name) for name in OF_CURVE), spec.cell, spec.key, *words, track, *paid)


class Costs:
    """All costs of a folder, and which of them belongs beside a run."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, Cost]] = {}  # cell -> machine -> cost
        self.references: dict[tuple[Any, ...], list[Cost]] = {}  # bp's

    def add(self, cost: Cost) -> None:
        self.of.setdefault(cost.spec.cell, {})[cost.machine] = cost
        if cost.spec.rule == "bp" and cost.alone:
            self.references.setdefault(_site(cost), []).append(cost)

    def joined(self, runs: Iterable[tuple[str, str | None]]) -> tuple[list[dict[str, Any]], list[int]]:
        """The values of JOINED_COLUMNS, once per cell and machine, and for each run which of them it has."""
        found: list[dict[str, Any]] = []
        place: dict[tuple[str, str | None], int] = {}
        order = []
        for cell, home in runs:
            if (cell, home) not in place:
                place[cell, home] = len(found)
                found.append(self._beside(cell, home))
            order.append(place[cell, home])
        return found, order

    def _beside(self, cell: str, home: str | None) -> dict[str, Any]:
        own = self.of.get(cell)
        if not own:
            return {}
        cost = own[home] if home in own else own[min(own)]
        row = _cost_columns(cost)
        row["uncounted_operations"] = format_label("", cost.uncounted_operations).lstrip(":") or None
        row["bp_step_seconds"] = _bp_step_seconds(cost, self.references.get(_site(cost), []))
        device = cost.provenance.get("device")
        return row | {"cost_machine": cost.machine, "cost_device": None if device is None else str(device)}


def _site(cost: Cost) -> tuple[Any, ...]:
    """Where times may be compared: the same task, network, batch size and machine."""
    spec = cost.spec
    return spec.task, spec.task_version, spec.network, spec.batch_size, cost.machine


def _cost_columns(cost: Cost) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(cost, name) for name in MEASURED_COLUMNS}
    if not cost.alone:
        row |= dict.fromkeys(TIMES)
    row |= {f"peak_{kind}_bytes": size for kind, size in cost.peak_bytes_by_kind.items()}
    if not cost.operations:
        return row  # an older record: nothing was split
    phases = {name: _all_kinds(cost.operations.get(name, {})) for name in PHASES}
    train = {name: sum(own[name] for own in phases.values()) for name in OPERATIONS}
    inference = _all_kinds(cost.operations.get("inference", {}))
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


def _curve_columns(run: Run) -> dict[str, Any]:
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
    if run.steps is not None and run.spec.epochs:
        found["steps_to_target"] = run.steps * first_point.epoch // run.spec.epochs
    return found


def _by_block(figures: Mapping[str, float]) -> str:
    return ",".join(f"{block}={value:.4g}" for block, value in figures.items() if value is not None)


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
