"""Counted operations and bytes against closed forms."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import creditbench
from creditbench.suite.memory import LiveBytes
from creditbench.suite.plan import load_rule
from tools import learner, toy_batch, toy_task


def counted(rule: str, batch: int, name: str = "mlp", **options: Any) -> tuple[int, int]:
    """MACs of one training step and of one inference."""
    model = learner(load_rule(rule)(), toy_task((1, 4, 4), 3), name, **options)
    samples = toy_batch(samples=batch)
    with creditbench.count_operations() as training:
        model.step(samples)
    with creditbench.count_operations() as inference, torch.no_grad():
        model.network(samples.inputs)
    assert not training.unknown
    return training.macs, inference.macs


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 40), st.integers(1, 50), st.integers(1, 4))
def test_bp_costs_three_forward_passes_less_the_gradient_of_the_input(
    batch: int, width: int, depth: int
) -> None:
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    training, inference = counted("bp", batch, width=width, depth=depth)
    assert inference == batch * sum(layers)
    assert training == batch * (3 * sum(layers) - layers[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 40), st.integers(1, 50), st.integers(1, 4))
def test_other_rules_cost_their_closed_forms(batch: int, width: int, depth: int) -> None:
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    forward, hidden = batch * sum(layers), depth * width
    assert counted("fa", batch, width=width, depth=depth)[0] == 3 * forward - batch * layers[0]
    assert counted("dfa", batch, width=width, depth=depth)[0] == 2 * forward + batch * 3 * hidden
    assert counted("last-layer", batch, width=width, depth=depth)[0] == forward + batch * layers[-1]
    # Three class targets ride along behind the first block; similarities and both their slopes.
    targets = 2 * 3 * sum(layers[1:-1])
    similarities = 3 * batch * 3 * hidden
    assert counted("sigprop", batch, width=width, depth=depth)[0] == 2 * forward + targets + similarities


def test_the_stated_example_is_exact() -> None:
    """d0-d1-d2-d3 = 16-256-256-3: 2 d0 d1 + 3 d1 d2 + 3 d2 d3 for training, d0 d1 + d1 d2 + d2 d3 to use."""
    training, inference = counted("bp", 9)
    assert training == 9 * (2 * 16 * 256 + 3 * 256 * 256 + 3 * 256 * 3)
    assert inference == 9 * (16 * 256 + 256 * 256 + 256 * 3)


def test_convolutions_cost_taps_times_positions() -> None:
    _, inference = counted("bp", 4, "conv", width=5)
    assert inference == 4 * (16 * 5 * 9 * 1 + 4 * 10 * 9 * 5 + 10 * 1 * 1 * 3)


@pytest.mark.parametrize("rule", ["bp", "fa"])
def test_a_convolution_pulls_back_for_twice_its_forward_pass(rule: str) -> None:
    first, second, last = 16 * 5 * 9, 4 * 10 * 9 * 5, 10 * 3
    assert counted(rule, 4, "conv", width=5)[0] == 4 * (2 * first + 3 * second + 3 * last)


def test_contractions_that_other_counters_leave_at_zero_are_counted() -> None:
    a, b, m = torch.ones(5), torch.ones(5), torch.ones(4, 5)
    with creditbench.count_operations() as ops:
        torch.dot(a, b)
        torch.mv(m, a)
        torch.addmv(torch.ones(4), m, a)
        torch.addr(torch.ones(4, 5), torch.ones(4), b)
    assert ops.macs == 5 + 20 + 20 + 20


def test_a_fused_operator_without_a_formula_is_named() -> None:
    with torch.random.fork_rng():
        lstm = torch.nn.LSTM(3, 4)
    with creditbench.count_operations() as ops, torch.no_grad():
        lstm(torch.ones(2, 1, 3))
    assert ops.macs > 0 or ops.unknown


def test_live_bytes_rise_and_fall_with_storages() -> None:
    there = torch.zeros(100)
    with LiveBytes([there, there[:10]]) as memory:
        a = torch.zeros(1000)
        view = a[10:]
        del a
        assert memory.live == 4 * 1100  # the view holds the storage
        del view
        assert memory.live == 400
        torch.zeros(500) + 1.0
    assert memory.live == 400
    assert memory.peak == 4400


def peak(rule: str, depth: int) -> int:
    """Most bytes alive in one step beyond what is there before and after it."""
    model = learner(load_rule(rule)(), width=64, depth=depth)
    batch = toy_batch(samples=256)
    model.step(batch)
    there = [*model.tensors().values(), *model.state.carried.values(), batch.inputs, batch.targets]
    for moments in model.optimizer.optimizer.state.values():
        there += moments.values()
    with LiveBytes(there) as memory:
        standing = memory.live
        model.step(batch)
    return int(memory.peak - standing)


def test_the_memory_of_sigprop_is_flat_in_depth_and_that_of_bp_is_not() -> None:
    """The flat memory that local learning promises survives the harness, because updates stream."""
    assert peak("sigprop", 16) == peak("sigprop", 4)
    assert peak("bp", 16) > 2 * peak("bp", 4)
    assert peak("fa", 16) > 2 * peak("fa", 4)
