"""What docs/claims.md reports: the cost of a step against depth, as the tables that stand there.

    tox -e benchmark -- tests/benchmarks/test_claims.py -s

Times are taken in turns and shown as ratios to bp; all else is exact and the same on every machine. Fully
connected networks are 256 wide, of the stated number of hidden blocks and a linear output layer; the
convolutional one is `conv` with 8 and 16 channels. Inputs are 28 x 28, in batches of 128. Bytes are per step,
without parameters and optimizer state; MACs and energy per sample.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from creditbench.suite import registry
from creditbench.suite.batches import Batches
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.counting.pipeline import stages
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import load_rule, make_rule
from creditbench.suite.specification import parse_label
from creditbench.suite.types import Batch
from tools import CPU, images, in_turns

BATCH = 128
RULES = (
    "bp", "fa", "dfa", "sigprop", "sigprop:similarity=cosine", "sigprop:schedule=in-parallel", "efp", "pred",
    "predsim",
)  # fmt: skip
WIDE = ("bp", "fa", "dfa", "sigprop", "efp", "pred", "predsim")
COLUMNS = (
    "hidden blocks", "rule", "step time / bp", "peak, kB", "made in the step, kB", "MACs, k",
    "critical path, k", "pipeline interval, k", "energy, µJ",
)  # fmt: skip


def print_row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |")


def model(label: str, depth: int, width: int, kind: str = "mlp") -> tuple[Learner, Batch]:
    """A learner past its first steps, so that optimizer and pipeline are full."""
    name, settings = parse_label(label)
    task = images(BATCH)
    options = {"depth": depth, "width": width}
    network = build_network(task, kind, registry.load("network", kind), options, [0], CPU)
    own = Learner(task, network, make_rule(load_rule(name), settings), [0], [1e-3], "linear", 10**6)
    batch = next(Batches(task, task.read().train, [0], BATCH).epoch())
    for _ in range(depth + 2):
        own.step(batch)
    return own, batch


def exact(label: str, depth: int, width: int, kind: str = "mlp") -> Mapping[str, float]:
    """Per step: bytes without parameters and optimizer state; per sample: MACs of the work, of the longest
    chain in it and between steps that overlap, and modelled energy [pJ]."""
    own, batch = model(label, depth, width, kind)
    at_peak = step_memory(own, batch).at_peak
    made = at_peak["activations"] + at_peak["temporaries"]
    parts = stages(own.network, own.state)
    with count_operations(parameters=own.tensors().values(), samples=BATCH, stages=parts) as ops:
        own.step(batch)
    energy = ops.energy()
    return {
        "peak": made + at_peak["batch"] + at_peak["rule_state"],
        "made": made,
        "macs": ops.macs / BATCH,
        "path": ops.critical_path_macs,
        "interval": math.nan if ops.pipeline_interval_macs is None else ops.pipeline_interval_macs,
        "low": energy.with_memory_lower_pj / BATCH,
        "high": energy.with_memory_upper_pj / BATCH,
    }


def print_table(rules: Sequence[str], depth: int, width: int, kind: str, rounds: int, benchmark: Any) -> Any:
    """Times in turns, then what is exact; returns the latter by rule."""
    learners = {label: model(label, depth, width, kind) for label in rules}
    seconds = in_turns(
        {label: partial(own.step, batch) for label, (own, batch) in learners.items()}, rounds=rounds
    )
    own, batch = learners["sigprop"]
    benchmark.pedantic(lambda: own.step(batch), rounds=3)
    print()
    print_row(COLUMNS)
    print_row(["---"] * len(COLUMNS))
    found = {label: exact(label, depth, width, kind) for label in rules}
    for label, cost in found.items():
        thousands = [f"{cost[key] / 1e3:.0f}" for key in ("peak", "made", "macs", "path", "interval")]
        energy = f"{cost['low'] / 1e6:.0f} to {cost['high'] / 1e6:.0f}"
        print_row([str(depth), label, f"{seconds[label] / seconds['bp']:.2f}", *thousands, energy])
    return found


@pytest.mark.parametrize("depth", [4, 8, 16, 32])
def test_the_cost_of_a_step_against_depth(depth: int, benchmark: Any) -> None:
    found = print_table(RULES, depth, 256, "mlp", max(10, 160 // depth), benchmark)
    assert found["sigprop"]["macs"] < found["bp"]["macs"]
    if depth >= 16:
        assert found["sigprop"]["made"] < found["bp"]["made"] / 4


def test_the_cost_of_a_step_of_convolutions(benchmark: Any) -> None:
    """efp refuses pooling, with which no unit has an activity of its own."""
    found = print_table([rule for rule in RULES if rule != "efp"], 2, 8, "conv", 20, benchmark)
    assert found["sigprop"]["macs"] < found["bp"]["macs"]


@pytest.mark.parametrize("width", [256, 512, 1024, 2048])
def test_the_time_of_a_step_against_width(width: int, benchmark: Any) -> None:
    """Two hidden blocks."""
    learners = {label: model(label, 2, width) for label in WIDE}
    seconds = in_turns(
        {label: partial(own.step, batch) for label, (own, batch) in learners.items()},
        rounds=200 if width < 1024 else 30,
    )
    own, batch = learners["sigprop"]
    benchmark.pedantic(lambda: own.step(batch), rounds=3)
    ratios = [f"{label} {seconds[label] / seconds['bp']:.2f}" for label in learners]
    print(f"\nwidth {width}: {', '.join(ratios)}")
