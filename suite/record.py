"""What happened: records as plain, strict, versioned JSON. No torch here.

A run record holds one trained seed, a cost record what a cell costs on one machine, an audit record what a
rule was found to need. Records are data: they are parsed strictly, never executed, and escaped wherever
they are shown. What was not measured is null, never 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any, Literal

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.schema import SCHEMA, NewerSchema, upgrade
from creditbench.suite.specification import (
    LARGEST,
    PROTOCOL,
    Spec,
    canonical_json,
    check_types,
    shortened,
)

# What is counted (see docs/protocol.md): the names in `Cost.operations`.
OPERATIONS = (
    "macs", "effective_macs", "acs", "dense_acs", "adds", "multiplies", "divisions", "comparisons",
    "transcendentals", "random_draws", "bytes_read", "bytes_written", "compulsory_bytes",
    "parameter_writes",
)  # fmt: skip
PHASES = ("forward", "credit", "update")  # of a training step
Status = Literal["ok", "skipped", "diverged", "failed", "timeout", "out-of-memory"]
VERDICTS = ("yes", "no", "not applicable", "undetermined")
LOCALITIES = ("own", "block", "broadcast", "other-blocks")
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
    own_steps: tuple[str, ...] = ()  # what took whole steps of the rule's own, without the learning rate
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
    critical_path_macs: float | None = None  # per sample: the longest chain of dependent work in a step
    pipeline_interval_macs: float | None = None  # per sample: between batches when they overlap
    coverage: float | None = None  # share of output elements of a step whose operators are priced
    inference_coverage: float | None = None
    step_joules: float | None = None  # [J] measured, not modelled
    joules_source: str | None = None  # by which counter, or why it was not measured
    step_seconds_spread: Mapping[str, float] = field(
        default_factory=dict
    )  # [s] min, max, mean, std of all timed
    calibration_seconds: float | None = (
        None  # [s] lower quartile of a fixed kernel timed in turns with the step
    )
    relative_step: float | None = None  # a step's lower quartile over the kernel's: what machines share
    relative_step_interval: tuple[float, float] | None = None  # both quartiles within their 95 %
    alone: bool = True  # False: other work may have run beside it, so its times compare with nothing
    fingerprint: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audited:
    """Whom an audit asked: a variant of a rule on a network, built for a task."""

    task: str
    task_version: int
    network: str
    rule: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # other than the defaults
    protocol: int = PROTOCOL

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> str:
        """The identity of an audit: 12 hexadecimal digits."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Audited:
        """The inverse of `asdict`. Raises CreditbenchError or TypeError for what is none."""
        audited = cls(**data)
        check_types(audited)
        return audited


@dataclass(frozen=True)
class Finding:
    """An answer of the audit; "yes" is the objection."""

    verdict: str
    intervention: str  # how it was found out, in one line
    evidence: float | str | None = None
    reason: str = ""
    curve: Mapping[str, float] = field(default_factory=dict)  # setting -> figure, references included


@dataclass(frozen=True)
class Audit:
    """What a rule needs, found out by intervention, once per variant and network."""

    spec: Audited
    bench: str  # the network on which the structural questions were asked
    findings: Mapping[str, Finding]  # by the question's key
    passes: float | None = None  # of a sample's signals across the network in one step
    synapse_locality: str | None = None  # own, block, broadcast or other-blocks; None where it cannot be told
    fingerprint: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


Record = Run | Cost | Audit
KINDS: Mapping[str, type[Record]] = {"run": Run, "cost": Cost, "audit": Audit}


def to_json(record: Record) -> str:
    """Strict JSON: a float that is not finite becomes null."""
    kind = next(name for name, own in KINDS.items() if isinstance(record, own))
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
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"its kind is {shortened(kind)}, not {', '.join(KINDS)}")
        key = data.pop("key")
        spec: Any = (Audited if kind == "audit" else Spec).from_dict(data.pop("spec"))
        if key != spec.key:
            raise ValueError("its key does not match its specification: it was edited by hand")
        record: Record
        if kind in _KNOWN and (unknown := data.keys() - _KNOWN[kind]):
            raise NewerSchema(
                f"it has fields that this creditbench does not know, {', '.join(sorted(unknown))}"
            )
        if kind == "run":
            curve = _curve(data.pop("curve"))
            aligned = _alignment(data.pop("alignment", []))
            whole = tuple(data.pop("own_steps", ()))
            if not all(isinstance(name, str) for name in whole):
                raise ValueError("its own_steps are not names")
            _check_digest(data.get("digest", {}))
            record = Run(spec=spec, curve=curve, alignment=aligned, own_steps=whole, **data)
            if record.status not in STATUSES:
                raise ValueError(f"its status {shortened(record.status)} is none of {', '.join(STATUSES)}")
        elif kind == "cost":
            low, high = data.pop("step_seconds_quartiles")
            relative = data.pop("relative_step_interval", None)
            bounds = None if relative is None else dict(zip(("low", "high"), relative, strict=True))
            _check_numbers("step_seconds_quartiles", {"low": low, "high": high})
            _check_numbers("relative_step_interval", bounds or {})
            interval = None if bounds is None else (bounds["low"], bounds["high"])
            record = Cost(
                spec=spec, step_seconds_quartiles=(low, high), relative_step_interval=interval, **data
            )
            for name in ("uncounted_operations", "peak_bytes_by_kind", "step_seconds_spread"):
                _check_numbers(name, getattr(record, name))
            for name, counts in record.operations.items():
                _check_numbers(f"operations, {name}", counts)
        else:
            findings = {name: Finding(**item) for name, item in data.pop("findings").items()}
            for finding in findings.values():
                _check_finding(finding)
            record = Audit(spec=spec, findings=findings, **data)
            if record.synapse_locality not in (None, *LOCALITIES):
                raise ValueError(f"its synapse_locality is none of {', '.join(LOCALITIES)}")
        check_types(record)
        return record
    except NewerSchema as error:
        raise CreditbenchError(
            f"{where} cannot be read: {error}. Update creditbench, or restore the file."
        ) from None
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
_KNOWN = {
    "run": Run.__dataclass_fields__.keys(),
    "cost": Cost.__dataclass_fields__.keys(),
    "audit": Audit.__dataclass_fields__.keys(),
}
_POINT = itemgetter("epoch", "validation_score", "validation_loss", "train_seconds")
_ALIGNED = itemgetter("epoch", "cosine", "norm_ratio")
_NUMBER: set[type] = {int, float, type(None)}
_POINT_TYPES: tuple[set[type], ...] = ({int}, _NUMBER, _NUMBER, {int, float})


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


def _alignment(items: list[dict[str, Any]]) -> tuple[Alignment, ...]:
    """As `_curve`."""
    rows = [_ALIGNED(item) for item in items]
    types = {type(figures) for row in rows for figures in row[1:]}
    if types <= {dict} and all(len(item) == len(row) for item, row in zip(items, rows, strict=True)):
        numbers = [own for _, cosine, ratio in rows for own in (*cosine.values(), *ratio.values())]
        if {type(row[0]) for row in rows} <= {int} and set(map(type, numbers)) <= {float, type(None)}:
            return tuple(Alignment(*row) for row in rows)
    aligned = tuple(Alignment(**item) for item in items)
    for own in aligned:
        check_types(own)
        _check_numbers("cosine", own.cosine)
        _check_numbers("norm_ratio", own.norm_ratio)
    return aligned


def _check_digest(digest: Any) -> None:
    for name, numbers in digest.items() if isinstance(digest, dict) else ():
        if type(numbers) is not list or not set(map(type, numbers)) <= _NUMBER:
            raise ValueError(f"its digest of {shortened(name)} is {shortened(numbers)}, no list of numbers")


def _check_numbers(name: str, numbers: Any) -> None:
    """Of a mapping, that its values are numbers that a table can hold, or null."""
    if not isinstance(numbers, dict):
        raise ValueError(f"'{name}' is {shortened(numbers)}, not a mapping")
    for value in numbers.values():
        if type(value) not in _NUMBER or (type(value) is int and not -LARGEST < value < LARGEST):
            raise ValueError(f"'{name}' holds {shortened(value)}, no number")


def _check_finding(finding: Finding) -> None:
    """Refuses, as CreditbenchError or ValueError, what is no answer."""
    check_types(finding)
    if finding.verdict not in VERDICTS:
        raise ValueError(f"the verdict '{finding.verdict}' is none of {', '.join(VERDICTS)}")
    _check_numbers("curve", finding.curve)
    evidence = finding.evidence
    if isinstance(evidence, bool) or not (evidence is None or isinstance(evidence, str | int | float)):
        raise ValueError(f"the evidence {evidence!r} is neither a number nor a sentence")
    if isinstance(evidence, float) and not math.isfinite(evidence):
        raise ValueError(f"the evidence is {evidence}")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
