"""Writes tests/suite/pinned_counts.json: what every built-in rule costs in one step and one inference.

    python tests/pin_counts.py

Counts are a property of code and torch's minor version, not of the machine; tests/suite/test_pinned_counts.py
holds them. When they change for a reason, run this and say the reason in the commit.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

PINNED = Path(__file__).parent / "suite" / "pinned_counts.json"
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"width": 8, "depth": 2},
    "conv": {"width": 3},
    "snn": {"width": 8, "depth": 2, "steps": 3},
    "rnn-dt": {"width": 5},
}
IMAGE, SERIES = (1, 4, 4), (6, 3)  # shapes of inputs: six moments of a time and two values
DENSE = ("macs", "dense_acs", "adds", "multiplies", "divisions", "comparisons", "transcendentals",
         "random_draws", "bytes_read", "bytes_written", "compulsory_bytes")  # fmt: skip
BY_VALUE = ("effective_macs", "acs", "parameter_writes")  # depend on what the numbers are


def torch_minor() -> str:
    return ".".join(torch.__version__.split(".")[:2])


def counts(rule: str, network: str) -> dict[str, Any] | None:
    """Of the second step of one seed on the toy task, and of inference; None where the rule cannot."""
    from creditbench.suite import registry
    from creditbench.suite.counting.operations import count_operations
    from creditbench.suite.counting.pipeline import stages
    from creditbench.suite.errors import CreditbenchError
    from creditbench.suite.learner import is_for_series
    from creditbench.suite.meters.memory import step_memory
    from creditbench.suite.plan import load_rule, own_choices
    from tools import learner, toy_batch, toy_task

    kind, builder = load_rule(rule), registry.load("network", network)
    options = own_choices(kind, builder, network) | NETWORKS[network]
    task, batch = toy_task(IMAGE), toy_batch(shape=IMAGE)
    if is_for_series(builder):
        task, batch = replace(toy_task(SERIES), kind="series"), toy_batch(shape=SERIES)
        batch.inputs[..., 0] = torch.arange(SERIES[0]) / 2
    try:
        model = learner(kind(), task, name=network, **options)
    except CreditbenchError:
        return None
    model.step(batch)
    parts, tensors = stages(model.network, model.state), model.tensors().values()
    with count_operations(parameters=tensors, samples=batch.targets.shape[1], stages=parts) as training:
        model.step(batch)
    with torch.no_grad(), count_operations() as inference:
        model.rule.predict(model.network, batch.inputs, model.state)
    step = {name: getattr(training, name) for name in (*DENSE, *BY_VALUE)}
    return {
        "step": step,
        "inference": {name: getattr(inference, name) for name in DENSE},
        "critical_path_macs": training.critical_path_macs,
        "pipeline_interval_macs": training.pipeline_interval_macs,
        "peak_bytes": step_memory(model, batch).peak,
        "unknown": dict(training.unknown),
    }


def main() -> None:
    from creditbench.suite import registry

    known = json.loads(PINNED.read_text(encoding="utf-8")) if PINNED.exists() else {}
    found = {
        rule: {network: own for network in NETWORKS if (own := counts(rule, network)) is not None}
        for rule in sorted(registry.table("rule"))
    }
    known[torch_minor()] = found
    PINNED.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
