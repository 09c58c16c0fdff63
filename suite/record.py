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
from operator import itemgetter
from typing import Any, Literal

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.schema import SCHEMA, NewerSchema, upgrade
from creditbench.suite.specification import LARGEST, Spec, check_types, shortened

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
    try:
        data = _STRICT.decode(text)
        if not isinstance(data, dict):
            raise ValueError("it is not an object")
        data = upgrade(data)
        kind = data.pop("kind")
        del data["schema"]
        key, spec = data.pop("key"), Spec.from_dict(data.pop("spec"))
        if key != spec.key:
            raise ValueError("its key does not match its specification: it was edited by hand")
        record: Record
        if kind == "run":
            curve = _curve(data.pop("curve"))
            _check_digest(data.get("digest", {}))
            record = Run(spec=spec, curve=curve, **data)
            if record.status not in STATUSES:
                raise ValueError(f"its status {shortened(record.status)} is none of {', '.join(STATUSES)}")
        elif kind == "cost":
            low, high = data.pop("step_seconds_quartiles")
            record = Cost(spec=spec, step_seconds_quartiles=(low, high), **data)
        else:
            raise ValueError(f"its kind is {shortened(kind)}, not run or cost")
        check_types(record)
        return record
    except NewerSchema as error:
        raise CreditbenchError(f"{where} cannot be read: {error}. Update creditbench.") from None
    except KeyError as error:
        problem = f"the field {error} is missing"
    except (ValueError, TypeError, RecursionError, CreditbenchError) as error:
        problem = str(error).rstrip(".")
    raise CreditbenchError(
        f"{where} is not a readable record: {problem}. Delete it or restore it, then run again."
    )


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse)  # made once: a large folder needs it very often
_POINT = itemgetter("epoch", "validation_score", "validation_loss", "train_seconds")
_NUMBER = {int, float, type(None)}
_POINT_TYPES = ({int}, _NUMBER, _NUMBER, {int, float})


def _curve(points: list[dict[str, Any]]) -> tuple[Point, ...]:
    """The points of a learning curve: most of a record, so they are checked by column, and one by one
    only where a column is strange."""
    rows = [_POINT(point) for point in points]
    plain = all(len(point) == len(_POINT_TYPES) for point in points)
    for column, types in zip(zip(*rows, strict=True), _POINT_TYPES, strict=False):
        numbers = [value for value in column if value is not None]
        plain = plain and set(map(type, column)) <= types
        plain = plain and (not numbers or (min(numbers) > -LARGEST and max(numbers) < LARGEST))
    if plain:
        return tuple(Point(*row) for row in rows)
    curve = tuple(Point(**point) for point in points)
    for point in curve:
        check_types(point)
    return curve


def _check_digest(digest: Any) -> None:
    for name, numbers in digest.items() if isinstance(digest, dict) else ():
        if type(numbers) is not list or not set(map(type, numbers)) <= {int, float, type(None)}:
            raise ValueError(f"its digest of {shortened(name)} is {shortened(numbers)}, no list of numbers")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
