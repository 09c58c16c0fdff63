"""Counted operations and bytes against closed forms."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import creditbench
from creditbench.suite.counting.operations import Operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.meters.memory import LiveBytes, step_memory
from creditbench.suite.phases import current_phase
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step
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


# ------------------------------------------------------------------------------- phases

RULES = ("bp", "fa", "dfa", "last-layer", "sigprop")


def step_of(rule: str, batch: int = 9, name: str = "mlp", **options: Any) -> Operations:
    """The counts of one training step, the second."""
    model = learner(load_rule(rule)(), toy_task((1, 4, 4), 3), name, **options)
    samples = toy_batch(samples=batch)
    model.step(samples)
    with creditbench.count_operations(strict=True, parameters=model.tensors().values()) as ops:
        model.step(samples)
    return ops


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 40), st.integers(1, 50), st.integers(1, 4))
def test_the_phases_of_bp_and_dfa_are_those_of_their_equations(batch: int, width: int, depth: int) -> None:
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    forward, units = batch * sum(layers), depth * width
    weights = sum(layers) + units + 3
    for rule, credit in (("bp", 2 * forward - batch * layers[0]), ("dfa", forward + batch * 3 * units)):
        phases = step_of(rule, batch, width=width, depth=depth).by_phase
        assert phases["forward"].macs == forward
        assert phases["forward"].adds == batch * (units + 3)  # bias
        assert phases["forward"].comparisons == batch * units  # relu
        assert phases["credit"].macs == credit
        assert phases["update"].macs == 0
        # Adam without decay; per tensor one addition counts the steps
        assert phases["update"].multiplies == 5 * weights
        assert phases["update"].adds == 5 * weights + 2 * (depth + 1)
        assert phases["update"].transcendentals == weights


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_every_operator_of_every_rule_is_priced_and_counted_alike_twice(rule: str, name: str) -> None:
    first, second = (step_of(rule, name=name, width=8) for _ in range(2))
    assert first == second
    assert first.coverage == 1
    assert first.by_phase["credit"].macs > 0
    assert first.by_phase["update"].parameter_writes == first.parameter_writes > 0
    assert sum(own.bytes_read for own in first.by_phase.values()) == first.bytes_read
    assert 0 < first.compulsory_bytes < first.bytes_read + first.bytes_written
    assert 0 < first.effective_macs < first.macs


def test_a_step_writes_the_weights_it_moves_and_no_others() -> None:
    """All of the last layer's in last-layer; of the hidden ones none."""
    assert step_of("last-layer", width=8, activation="tanh").parameter_writes == 8 * 3 + 3
    assert step_of("bp", width=8, activation="tanh").parameter_writes == (16 + 1 + 8 + 1 + 3) * 8 + 3


@dataclass(frozen=True)
class Marking(LearningRule):
    """Says that it is in the forward phase, across a yield."""

    name: ClassVar[str] = "marking"
    source: ClassVar[str] = "a test"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        last = network.blocks[-1]
        zeros = {key: torch.zeros_like(tensor) for key, tensor in last.parameters.items()}
        _ = zeros["bias"].exp()
        with creditbench.phase("forward"):
            yield last, zeros
            _ = zeros["bias"].exp()
        _ = zeros["bias"].exp()


def test_a_phase_that_a_rule_marks_holds_across_its_yields_and_not_for_the_optimizer() -> None:
    model = learner(Marking(), toy_task((1, 4, 4), 3))
    samples = toy_batch()
    with creditbench.count_operations(strict=True) as ops:
        model.step(samples)
    assert ops.by_phase["forward"].transcendentals == 3
    assert ops.by_phase["credit"].transcendentals == 6
    assert ops.by_phase["update"].transcendentals == 256 * 3 + 3
    assert current_phase() is None


def test_without_the_harness_backward_is_credit_and_an_optimizers_step_update() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with creditbench.count_operations(strict=True) as ops:
        (torch.ones(2, 3) @ weight.T).sum().backward()
        optimizer.step()
        with creditbench.phase("credit"):
            torch.ones(2).exp()
    macs = {name: own.macs for name, own in ops.by_phase.items()}
    assert macs == {"forward": 24, "credit": 24, "update": 0}
    assert ops.by_phase["update"].multiplies == 12
    assert ops.by_phase["credit"].transcendentals == 2


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(CreditbenchError, match=r"no phase 'creditt'. Did you mean 'credit'"):
        creditbench.phase("creditt")


def test_counting_leaves_a_step_as_it_is() -> None:
    plain, counting = (learner(load_rule("bp")(), toy_task((1, 4, 4), 3)) for _ in range(2))
    samples = toy_batch()
    plain.step(samples)
    with creditbench.count_operations():
        counting.step(samples)
    for name, tensor in plain.tensors().items():
        assert torch.equal(tensor, counting.tensors()[name])


# ------------------------------------------------------------------------------- memory


def test_live_bytes_rise_and_fall_with_storages() -> None:
    there = torch.zeros(100)
    with LiveBytes({"batch": [there, there[:10]]}) as memory:
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
    made = step_memory(model, batch).at_peak
    return made["activations"] + made["temporaries"]


def test_the_memory_of_sigprop_is_flat_in_depth_and_that_of_bp_is_not() -> None:
    """The flat memory that local learning promises survives the harness, because updates stream."""
    assert peak("sigprop", 16) == peak("sigprop", 4)
    assert peak("bp", 16) > 2 * peak("bp", 4)
    assert peak("fa", 16) > 2 * peak("fa", 4)
