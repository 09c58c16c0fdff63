"""Speed, as ratios taken in one run: the two sides take turns, so that a busy machine slows both.

Every step includes the optimizer. Run by `tox -e benchmark`; the ratios are printed.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from creditbench.suite import registry
from creditbench.suite.batches import Batches
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.counting.pipeline import stages
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.plan import load_rule
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, learner, train
from creditbench.suite.types import Batch
from tools import CPU, images, in_turns


def report(what: str, ratio: float, bound: float) -> None:
    print(f"\n{what}: {ratio:.3f} (at most {bound})")
    assert ratio <= bound


def model(rule: str, width: int, **settings: Any) -> Learner:
    task = images(128)
    builder = registry.load("network", "mlp")
    network = build_network(task, "mlp", builder, {"width": width}, [0], CPU)
    return Learner(task, network, load_rule(rule)(**settings), [0], [1e-3], "linear", 10**6)


@pytest.mark.parametrize(
    ("rule", "width", "bound"),
    [("fa", 256, 1.1), ("fa", 512, 1.1), ("fa", 1024, 1.1), ("dfa", 256, 1.1), ("dfa", 512, 1.1),
     ("dfa", 1024, 1.1), ("sigprop", 256, 1.1), ("sigprop", 1024, 1.0), ("lra-e", 256, 1.5),
     ("rec-lra", 256, 1.5), ("ddtp-linear", 256, 2.7), ("l-drl", 256, 5.1)],
)  # fmt: skip
def test_a_step_costs_little_more_than_one_of_bp(rule: str, width: int, bound: float, benchmark: Any) -> None:
    """Or as much as feedback that learns may: 1.5 + 1.2 K for K of its steps per batch."""
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(1, 128, 1, 28, 28, generator=generator), torch.arange(128)[None] % 10)
    bp, own = model("bp", width), model(rule, width)
    found = in_turns(
        {"bp": lambda: bp.step(batch), rule: lambda: own.step(batch)}, 200 if width < 1024 else 40
    )
    benchmark.extra_info["ratio"] = found[rule] / found["bp"]
    benchmark.pedantic(lambda: own.step(batch), rounds=5)
    report(f"{rule} step over bp step, width {width}", found[rule] / found["bp"], bound)


@pytest.mark.parametrize("rule", ["bp", "dfa", "sigprop"])
def test_the_harness_costs_little_more_than_a_bare_loop(rule: str, benchmark: Any) -> None:
    """An epoch of 60 batches: the harness against the same rule, tensors and optimizer in a plain loop."""
    task = images(60 * 128)
    splits = task.read()
    spec = Spec("images", 1, "mlp", rule, 0, 1e-3, epochs=1)
    cell = Cell(task, splits, registry.load("network", "mlp"), load_rule(rule)())
    seconds: list[float] = []

    def harness() -> None:
        seconds.append(train(cell, [spec], progress=lambda *_: None)[0].run.train_seconds or 0.0)

    own, _ = learner(cell, [spec])
    optimizer = torch.optim.AdamW(list(own.tensors().values()), 1e-3, weight_decay=0.0, fused=True)
    batches = Batches(task, splits.train, [0], 128)
    bare_seconds: list[float] = []

    def bare() -> None:
        start = time.perf_counter()
        with torch.no_grad():
            for batch in batches.epoch():
                context = own.context()
                for target, update in own.rule.step(own.network, batch, own.state, context):
                    if isinstance(target, str):
                        own.state.learned[target].grad = update  # type: ignore[assignment]
                    else:
                        for name, tensor in update.items():  # type: ignore[union-attr]
                            target.parameters[name].grad = tensor
                    optimizer.step()
                    optimizer.zero_grad()
        bare_seconds.append(time.perf_counter() - start)

    for _ in range(12):
        harness()
        bare()
    benchmark.pedantic(bare, rounds=2)
    ratio = statistics.median(seconds[2:]) / statistics.median(bare_seconds[2:12])
    report(f"harness epoch over bare loop, {rule}", ratio, 1.05)


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "sigprop"])
def test_five_seeds_in_one_pass_are_cheaper_than_five_passes_on_digits(rule: str, benchmark: Any) -> None:
    task = registry.load("task", "digits")
    cell = Cell(task, task.read(), registry.load("network", "mlp"), load_rule(rule)())
    spec = Spec("digits", 1, "mlp", rule, 0, 1e-3, epochs=1)

    def passes(groups: Sequence[Sequence[int]]) -> Callable[[], None]:
        made = [learner(cell, [spec.with_seed(seed) for seed in seeds], 10**6) for seeds in groups]

        def run() -> None:
            for own, batches in made:
                for batch in batches.epoch():
                    own.step(batch)

        return run

    found = in_turns({"one": passes([range(5)]), "five": passes([[s] for s in range(5)])}, rounds=15)
    benchmark.extra_info["ratio"] = found["one"] / found["five"]
    benchmark.pedantic(passes([range(5)]), rounds=3)
    report(f"five seeds in one pass over five passes, {rule}", found["one"] / found["five"], 0.6)


@pytest.mark.parametrize(("shape", "bound"), [((1, 28, 28), 20), ((1, 8, 8), 40)])
def test_counting_the_operations_of_a_step_of_bp_costs_few_steps(
    shape: tuple[int, ...], bound: int, benchmark: Any
) -> None:
    task = images(128, shape)
    network = build_network(task, "mlp", registry.load("network", "mlp"), {}, [0], CPU)
    own = Learner(task, network, load_rule("bp")(), [0], [1e-3], "linear", 10**6)
    batch = next(Batches(task, task.read().train, [0], 128).epoch())

    def counted() -> None:
        with count_operations(
            parameters=own.tensors().values(), samples=128, stages=stages(own.network, own.state)
        ):
            own.step(batch)

    found = in_turns({"counted": counted, "plain": lambda: own.step(batch)}, rounds=30)
    benchmark.pedantic(counted, rounds=3)
    report(f"a counted step over a step of bp, {shape}", found["counted"] / found["plain"], bound)


@pytest.mark.parametrize("words", [["--help"], ["list", "rules"], ["list", "tasks"], ["list", "suites"]])
def test_help_and_lists_answer_in_under_half_a_second(words: list[str], benchmark: Any) -> None:
    def call() -> None:
        subprocess.run(
            [sys.executable, "-m", "creditbench.suite.cli", *words], check=True, capture_output=True
        )

    benchmark.pedantic(call, rounds=5)
    seconds = benchmark.stats.stats.median
    print(f"\ncreditbench {' '.join(words)}: {seconds:.3f} s (at most 0.5)")
    assert seconds <= 0.5
