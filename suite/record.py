"""What happened: records as plain, strict, versioned JSON. No torch here.

A run record holds one trained seed, a cost record what a cell costs on one machine. Records are
data: they are parsed strictly, never executed, and escaped wherever they are shown. What was not
measured is null, never 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.specification import Spec, check_types

SCHEMA = 1
# What is counted (see docs/protocol.md): the names in `Cost.operations`.
OPERATIONS = (
    "macs", "effective_macs", "acs", "dense_acs", "adds", "multiplies", "divisions", "comparisons",
    "transcendentals", "random_draws", "bytes_read", "bytes_written", "compulsory_bytes",
    "parameter_writes",
)  # fmt: skip
PHASES = ("forward", "credit", "update")  # of a training step
Status = Literal["ok", "skipped", "diverged", "failed", "timeout", "out-of-memory"]
STATUSES: tuple[Status, ...] = ("ok", "skipped", "diverged", "failed", "timeout", "out-of-memory")


@dataclass(frozen=True)
class Point:
    """One epoch of a learning curve, scored on the validation split."""

    epoch: int
    validation_score: float | None
    validation_loss: float | None
    train_seconds: float  # [s], this seed's share of the time spent in steps up to here


@dataclass(frozen=True)
class Alignment:
    """How the rule's updates lay to the true gradient at the same weights, on one fixed batch, by block."""

    epoch: int  # 0: before the first step
    cosine: Mapping[str, float]
    norm_ratio: Mapping[str, float]  # update over gradient, before the optimizer


@dataclass(frozen=True)
class Run:
    """One trained seed."""

    spec: Spec
    status: Status
    reason: str | None = None
    metric: str = "accuracy"  # what the scores are; accuracy is a fraction in [0, 1]
    higher_is_better: bool = True
    score: float | None = None  # test metric after the last epoch
    validation_score: float | None = None  # validation metric after the last epoch
    best_epoch: int | None = None  # chosen on validation
    best_score: float | None = None  # test metric at that epoch
    curve: tuple[Point, ...] = ()
    train_seconds: float | None = None  # [s], this seed's share, scoring left out
    digest: Mapping[str, list[float]] = field(default_factory=dict)  # of the first steps
    steps: int | None = None  # of the whole training
    alignment: tuple[Alignment, ...] = ()  # at the start and after each epoch
    target_score: float | None = None  # of the task, for time to target
    fingerprint: str = ""  # of the code that ran
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What one cell costs on one machine, measured on a single seed, apart from its training."""

    spec: Spec  # with the seed that was measured
    machine: str
    step_seconds: float  # [s] median, optimizer included, data loading not
    step_seconds_quartiles: tuple[float, float]
    steps_timed: int
    inference_seconds_per_sample: float  # [s] at the batch size of the spec
    peak_bytes: int  # [B] of live tensors in one training step, everything included
    parameters: int  # of the network
    learned_parameters: int  # of the rule: feedback that learns, generators, heads
    train_macs_per_sample: float
    inference_macs_per_sample: float
    uncounted_operations: Mapping[str, int]  # without a price: name -> elements in a step and inference
    # Records of older versions lack what follows.
    latency_seconds: float | None = None  # [s] of inference at batch 1, median
    peak_bytes_by_kind: Mapping[str, int] = field(default_factory=dict)  # what peak_bytes was made of
    peak_process_bytes: int | None = None  # [B] resident in the process during steps: libraries, data and all
    cuda_peak_allocated_bytes: int | None = None  # [B]
    cuda_peak_reserved_bytes: int | None = None  # [B]
    # By phase of a step (forward, credit, update), and for inference: kind of operation -> number per sample.
    operations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    coverage: float | None = None  # share of output elements of a step whose operators are priced
    inference_coverage: float | None = None
    step_joules: float | None = None  # [J] measured, not modelled
    joules_source: str | None = None  # by which counter, or why it was not measured
    alone: bool = True  # False: other work may have run beside it, so its times compare with nothing
    fingerprint: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


Record = Run | Cost


def to_json(record: Record) -> str:
    """Strict JSON: a float that is not finite becomes null."""
    kind = "run" if isinstance(record, Run) else "cost"
    data = {"schema": SCHEMA, "kind": kind, "key": record.spec.key, **asdict(record)}
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, where: str) -> Record:
    """The inverse of `to_json`; raises CreditbenchError saying what is wrong in which file."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    try:
        data = json.loads(text, parse_constant=refuse)
        if not isinstance(data, dict):
            raise ValueError("it is not an object")
        schema, kind = data.pop("schema"), data.pop("kind")
        if schema != SCHEMA:
            raise ValueError(f"its schema is {schema}, this version reads {SCHEMA}")
        key, spec = data.pop("key"), Spec.from_dict(data.pop("spec"))
        if key != spec.key:
            raise ValueError("its key does not match its specification: it was edited by hand")
        record: Record
        if kind == "run":
            points = tuple(Point(**point) for point in data.pop("curve"))
            for point in points:
                check_types(point)
            aligned = tuple(Alignment(**item) for item in data.pop("alignment", ()))
            for item in aligned:
                check_types(item)
            record = Run(spec=spec, curve=points, alignment=aligned, **data)
            if record.status not in STATUSES:
                raise ValueError(f"its status '{record.status}' is none of {', '.join(STATUSES)}")
        elif kind == "cost":
            low, high = data.pop("step_seconds_quartiles")
            record = Cost(spec=spec, step_seconds_quartiles=(low, high), **data)
        else:
            raise ValueError(f"its kind is '{kind}', not run or cost")
        check_types(record)
        return record
    except KeyError as error:
        problem = f"the field {error} is missing"
    except (ValueError, TypeError, RecursionError, CreditbenchError) as error:
        problem = str(error).rstrip(".")
    raise CreditbenchError(
        f"{where} is not a readable record: {problem}. Delete it or restore it, then run again."
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
