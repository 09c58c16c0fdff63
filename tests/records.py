"""Records for tests: what a suite would have written, with known numbers."""

from __future__ import annotations

from typing import Any

from creditbench.suite.record import Cost, Run, Status
from creditbench.suite.specification import Spec

MACHINE, OTHER_MACHINE = "0123abcd", "4567ef00"
DEVICE = "Testing Processor, 2 cores"


def spec(rule: str = "bp", seed: int = 0, **changes: Any) -> Spec:
    """The specification of one seed on digits and mlp, changed as asked."""
    fields: dict[str, Any] = {
        "task": "digits",
        "task_version": 1,
        "network": "mlp",
        "rule": rule,
        "seed": seed,
        "learning_rate": 0.003,
        "epochs": 40,
    }
    return Spec(**fields | changes)


def run(
    score: float | None = None,
    status: Status = "ok",
    rule: str = "bp",
    seed: int = 0,
    machine: str = MACHINE,
    reason: str | None = None,
    recipe: str = "digits/mlp",
    validation_score: float | None = None,
    finished: str = "2026-01-01T00:00:00+00:00",
    **changes: Any,
) -> Run:
    """A trained seed; `changes` are those of its specification."""
    return Run(
        spec(rule, seed, **changes),
        status,
        reason,
        score=score,
        validation_score=validation_score,
        best_score=score,
        fingerprint="f" * 12,
        provenance={
            "machine": machine,
            "device": DEVICE,
            "creditbench": "0.1.0",
            "torch": "2.9.0",
            "recipe": recipe,
            "finished": finished,
        },
    )


def cost(step_seconds: float = 1e-3, rule: str = "bp", machine: str = MACHINE, **changes: Any) -> Cost:
    """The cost of a cell; `changes` are those of its specification or of the record."""
    own = {name: changes.pop(name) for name in list(changes) if name in Cost.__dataclass_fields__}
    fields: dict[str, Any] = {
        "step_seconds": step_seconds,
        "step_seconds_quartiles": (step_seconds, step_seconds),
        "steps_timed": 100,
        "inference_seconds_per_sample": 1e-6,
        "peak_bytes": 1_850_000,
        "parameters": 85_002,
        "learned_parameters": 0,
        "train_macs_per_sample": 254_464.0,
        "inference_macs_per_sample": 84_992.0,
        "uncounted_operations": {},
        "provenance": {"device": f"{DEVICE} ({machine})"},
    }
    return Cost(spec=spec(rule, 0, **changes), machine=machine, **fields | own)
