"""Records for tests: what a suite would have written, with known numbers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from creditbench.suite.record import Cost, Run, Status
from creditbench.suite.specification import Spec, parse_value

MACHINE, OTHER_MACHINE = "0123abcd", "4567ef00"
DEVICE = "Testing Processor, 2 cores"

# For Hypothesis.
words = st.from_regex(r"[a-z][a-z_-]{0,12}", fullmatch=True).filter(
    lambda word: isinstance(parse_value(word), str)
)
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.integers(-(10**9), 10**9), finite, st.booleans(), st.none(), words)
options = st.dictionaries(words, values, max_size=4)
specs = st.builds(
    Spec,
    task=st.text(max_size=20), task_version=st.integers(1, 9), network=st.text(max_size=20),
    rule=st.text(max_size=20), seed=st.integers(0, 10**6), learning_rate=st.none() | finite,
    epochs=st.integers(1, 1000), train_samples=st.none() | st.integers(1, 10**6),
    augmentation=st.none() | st.text(max_size=9), network_choices=options, hyperparameters=options,
)  # fmt: skip


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
