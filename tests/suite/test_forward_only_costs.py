"""What the forward-only rules cost: operations in closed form, and memory that does not grow with depth."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import creditbench
from creditbench.suite.counting.operations import Operations
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import load_rule, make_rule
from tools import learner, toy_batch, toy_task

CLASSES, INPUTS = 3, 16


def step_of(rule: str, batch: int, hyper: dict[str, Any], name: str = "mlp", **options: Any) -> Operations:
    """The counts of one training step, the second."""
    made = make_rule(load_rule(rule), hyper)
    shape = (1, 8, 8) if name in ("conv", "cafo") else (1, 4, 4)
    model, samples = (
        learner(made, toy_task(shape, CLASSES), name, **options),
        toy_batch(samples=batch, shape=shape),
    )
    model.step(samples)
    with creditbench.count_operations(strict=True, parameters=model.tensors().values()) as ops:
        model.step(samples)
    return ops


def macs(rule: str, batch: int, width: int, depth: int, **hyper: Any) -> int:
    return step_of(rule, batch, hyper, width=width, depth=depth).macs


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 30), st.integers(1, 40), st.integers(1, 4))
def test_forward_forward_costs_its_closed_form(batch: int, width: int, depth: int) -> None:
    """The image meets the first weights once; above them right and wrong labels ride side by side. Hard
    negatives take a neutral pass besides, and the output layer that reads it."""
    first, above = INPUTS * width, (depth - 1) * width * width
    marks = 2 * CLASSES * width  # which label each derivative belongs to
    plain = batch * (2 * first + 2 * 2 * above + marks)
    neutral = batch * (above + 2 * width * CLASSES)
    for rule in ("ff", "symba"):
        assert macs(rule, batch, width, depth, negatives="random") == plain
        assert macs(rule, batch, width, depth) == plain + neutral


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 30), st.integers(1, 40), st.integers(1, 4))
def test_scff_costs_its_closed_form(batch: int, width: int, depth: int) -> None:
    first, above = INPUTS * width, (depth - 1) * width * width
    assert macs("scff", batch, width, depth) == batch * (2 * first + 4 * above + 2 * width * CLASSES)


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 30), st.integers(1, 40), st.integers(1, 4))
def test_pepita_costs_two_forward_passes_and_an_update_and_mempepita_three(
    batch: int, width: int, depth: int
) -> None:
    """The output layer needs no second pass, as e is that of the first."""
    sizes = [INPUTS, *[width] * depth, CLASSES]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    entry = CLASSES * INPUTS
    pepita = batch * (3 * sum(layers) - layers[-1] + entry)
    assert macs("pepita", batch, width, depth) == pepita
    assert macs("mempepita", batch, width, depth) == pepita + batch * sum(layers[:-1])


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 30), st.integers(1, 40), st.integers(1, 4))
def test_cafo_costs_a_forward_pass_and_its_predictors(batch: int, width: int, depth: int) -> None:
    hidden = INPUTS * width + (depth - 1) * width * width
    assert macs("cafo", batch, width, depth) == batch * (hidden + 2 * depth * width * CLASSES)


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 30), st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
def test_pff_costs_its_closed_form_for_each_of_its_steps(
    batch: int, width: int, depth: int, steps: int
) -> None:
    group, latents = 4, 5
    first, square, output = INPUTS * width, width * width, width * CLASSES
    start = first + (depth - 1) * square
    once = (
        2 * first + 2 * output
    )  # the image meets W_1, and right labels the output layer, without wrong ones
    both = 2 * (depth - 1) * square + 2 * (depth - 1) * square + 2 * output  # W and V: out, and their updates
    rivals = -(-width // group) * group
    both += 2 * depth * rivals * group
    both += 2 * first + 2 * (depth - 1) * square  # generators down to the image
    both += 3 * latents * width  # of the topmost latent state, which is pulled along besides
    found = macs("pff", batch, width, depth, steps=steps, group=group, latents=latents)
    assert found == batch * (start + steps * (once + 2 * both))


@pytest.mark.parametrize(("depth", "pairs"), [(2, [(0, 1)]), (4, [(0, 1), (2, 3)])])
def test_the_trifecta_carries_derivatives_through_one_block_of_a_pair(depth: int, pairs: list[Any]) -> None:
    """The second step is an odd one: the first block alone, then pairs, and the last block waits."""
    batch, width = 9, 7
    first, square, marks = INPUTS * width, width * width, 2 * CLASSES * width
    forward = first + 2 * (depth - 1) * square
    updates = first + marks + 2 * (depth - 2) * square
    transport = 2 * (depth - 2) // 2 * square
    assert macs("trifecta", batch, width, depth) == batch * (forward + updates + transport)


FAMILY = [
    ("ff", "mlp", {}), ("symba", "mlp", {"negatives": "random"}), ("symba", "conv", {"label": "beside"}),
    ("trifecta", "mlp", {}), ("trifecta", "conv", {}), ("scff", "mlp", {}), ("scff", "conv", {}),
    ("pff", "mlp", {}), ("pff", "pff", {}), ("cafo", "mlp", {}), ("cafo", "cafo", {}),
    ("cafo", "mlp", {"fit": "closed-form"}), ("pepita", "mlp", {}), ("pepita", "conv", {}),
    ("mempepita", "mlp", {}), ("mempepita", "conv", {}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "name", "hyper"), FAMILY)
def test_every_operator_is_priced_and_counted_alike_twice(
    rule: str, name: str, hyper: dict[str, Any]
) -> None:
    first, second = (step_of(rule, 9, hyper, name, width=8) for _ in range(2))
    assert first == second
    assert first.coverage == 1


@pytest.mark.parametrize("rule", ["ff", "symba", "scff", "trifecta", "cafo", "mempepita", "pepita"])
def test_memory_is_flat_in_depth_for_all_but_pepita(rule: str) -> None:
    def peak(depth: int) -> int:
        model, batch = learner(load_rule(rule)(), width=64, depth=depth), toy_batch(samples=256)
        model.step(batch)
        made = step_memory(model, batch).at_peak
        return made["activations"] + made["temporaries"]

    if rule == "pepita":  # it keeps the activities of its first pass
        assert peak(12) > 1.5 * peak(4)
    else:  # the trifecta's running statistics are as many as its blocks
        statistics = 8 * 2 * 64 * 4 if rule == "trifecta" else 0
        assert peak(12) == peak(4) + statistics
